"""The command `mien`: one command per step.

This package alone prints, reads the environment and exits.
"""

from __future__ import annotations

from collections.abc import Sequence

from mien.cli.signals import End
from mien.startup import open_standard_streams, pause_collector_during_imports

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, the one of this process by default, and returns the exit code."""
    if arguments is None:
        open_standard_streams()
        pause_collector_during_imports()
    end = End(exits=arguments is None)
    try:
        with end.at_signals():
            # Late, because a signal may come while it is imported.
            from mien.cli.entry_point import run_command_line

            return run_command_line(arguments)
    except KeyboardInterrupt:
        return end.exit_code
