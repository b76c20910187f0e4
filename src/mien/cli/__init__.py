"""The command `mien`: one command for each room, and the only place that prints, reads the environment
and exits."""

from mien.cli.entry_point import app, main

__all__ = ["app", "main"]
