"""What commands share: their common arguments, the console, the cache folder.

Goes in: the environment. Comes out: what a command hands to the rooms.
Knows nothing about: any command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from mien.cli.console import Console
    from mien.recipe import Recipe

__all__ = [
    "SCHEMA",
    "AsJson",
    "Out",
    "Overrides",
    "RecipeFile",
    "RunFolder",
    "Splits",
    "cache_folder",
    "make_console",
    "read_recipe",
]

SCHEMA: Final = 1

RecipeFile = Annotated[Path, typer.Argument(help="A recipe in TOML, as in recipes/.", show_default=False)]
RunFolder = Annotated[
    Path, typer.Argument(help="A run directory that mien train filled.", show_default=False)
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override one key; may be repeated.")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="The run directory.", show_default="runs/NAME-OF-RECIPE")
]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Only this split; may be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


def read_recipe(path: Path, overrides: Sequence[str] | None) -> Recipe:
    from mien.recipe import load_recipe

    return load_recipe(path, overrides or ())


def cache_folder() -> Path:
    """Where what can be made again is kept, as the desktop's convention has it."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "mien"


def make_console(as_json: bool) -> Console:
    from mien.cli.console import Console

    plain = not sys.stderr.isatty() or bool(os.environ.get("NO_COLOR"))
    # Of the processes that torchrun starts, one speaks.
    speaks = os.environ.get("RANK", "0") == "0"
    return Console(as_json=as_json, schema=SCHEMA, live=not plain, out=typer.echo if speaks else _silent)


def _silent(*_: object, **__: object) -> None: ...
