"""The command `mien`: one command per step.

This package alone prints, reads the environment and exits.
"""

from mien.cli.entry_point import app, main

__all__ = ["app", "main"]
