"""`mien report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.shared import AsJson, make_console

__all__ = ["report"]


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run directory with results.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Write an HTML page about a run.

    The page is self-contained.
    """
    from mien.report.run.page import CURVE, write_report

    files = {"report": write_report(run), "curve": run / CURVE}
    make_console(as_json).print_table({name: str(path) for name, path in files.items() if path.exists()})
