"""What commands share: common arguments, the console, the cache directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mien.cli.console import Console
    from mien.recipe import Recipe
    from mien.workflow.experiment import Experiment

__all__ = [
    "AsJson",
    "NewPlaces",
    "Out",
    "Overrides",
    "RecipeFile",
    "RunFolder",
    "Splits",
    "cache_directory",
    "make_console",
    "open_experiment",
    "read_recipe",
]

RecipeFile = Annotated[
    Path,
    typer.Argument(metavar="RECIPE", help="Recipe in TOML, such as those in recipes/.", show_default=False),
]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run directory of a trained model.", show_default=False)
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override a key; repeatable.")
]
NewPlaces = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=PATH", help="New place of moved data or models; repeatable."),
]
Out = Annotated[Path | None, typer.Option("--out", help="Run directory.", show_default="runs/NAME-OF-RECIPE")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Use only this split; repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


def read_recipe(path: Path, overrides: Sequence[str] | None) -> Recipe:
    """Loads a recipe with the overrides of `--set`."""
    from mien.recipe import load_recipe

    return load_recipe(path, overrides or ())


def open_experiment(recipe: Path, overrides: Sequence[str] | None, out: Path | None) -> Experiment:
    """Opens the experiment of a recipe with the values of `--set` and `--out`."""
    from mien.workflow import experiment

    return experiment.open_experiment(read_recipe(recipe, overrides), out=out, cache=cache_directory())


def cache_directory() -> Path:
    """The cache directory; imported late, because `--help` must be fast."""
    from mien import files

    return files.cache_directory()


def make_console(as_json: bool) -> Console:
    """The console of this process; of the processes that torchrun starts, only the first one prints."""
    from mien.cli.console import Console

    is_first = os.environ.get("RANK", "0") == "0"
    return Console(
        as_json=as_json,
        live=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
        out=typer.echo if is_first else _discard,
        encoding=sys.stdout.encoding,
    )


def _discard(*_: object, **__: object) -> None: ...
