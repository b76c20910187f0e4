"""What commands share: common arguments, the console, the cache directory."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import UsageError

if TYPE_CHECKING:
    from mien.cli.render.console import Console
    from mien.recipe import Recipe
    from mien.recipe.zero_shot import ZeroShotMethod
    from mien.workflow.experiment import Experiment

__all__ = [
    "AsJson",
    "CalibrationPlace",
    "Method",
    "NewPlaces",
    "Out",
    "Overrides",
    "RecipeFile",
    "Root",
    "Splits",
    "ZeroShotModel",
    "cache_directory",
    "is_first_process",
    "make_console",
    "open_experiment",
    "read_recipe",
    "recipe_of",
    "zero_shot_method",
]

RecipeFile = Annotated[
    Path,
    typer.Argument(metavar="RECIPE", help="Recipe in TOML, such as those in recipes/.", show_default=False),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override a key; repeatable.")
]
NewPlaces = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=PATH", help="New place of moved data or models; repeatable."),
]
Root = Annotated[Path | None, typer.Option("--root", help="Folder of the dataset.", show_default=False)]
ZeroShotModel = Annotated[
    str | None,
    typer.Option(
        "--zero-shot",
        metavar="MODEL",
        help="Score labels without training, by this model: a Hugging Face id or a folder.",
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="likelihood|words|similarity",
        help="With --zero-shot: by the likelihood of answers, the words of descriptions, or the similarity "
        "of image and text.",
        show_default="likelihood",
    ),
]
CalibrationPlace = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="RUN|FILE",
        help="With --zero-shot: use what mien calibrate has written.",
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="Run directory.", show_default="runs/NAME-OF-RECIPE")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Use only this split; repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


def read_recipe(path: Path, overrides: Sequence[str] | None) -> Recipe:
    """Loads a recipe with the overrides of `--set`."""
    from mien.recipe import load_recipe

    return load_recipe(path, overrides or ())


def recipe_of(
    what: str,
    root: Path | None = None,
    options: Sequence[str] | None = None,
    overrides: Sequence[str] | None = None,
) -> Recipe:
    """The recipe in a file, or a minimal one for a dataset; root and options override it."""
    from mien.names import plain_name_fault
    from mien.recipe.load import parse_recipe
    from mien.registry import registered_names

    given = [f"data.options.{option}" for option in options or ()]
    if what.endswith(".toml"):
        recipe = read_recipe(Path(what), [*(overrides or ()), *given])
    elif what not in registered_names("dataset") and os.path.lexists(what):
        raise UsageError(
            f"{what!r} is a path, not the name of a dataset",
            hint=f"give it with --root, after the name of its layout: manifest --root {shlex.quote(what)}",
        )
    else:
        name = what.replace(":", "-")
        # A name that no dataset has is refused when the dataset is opened.
        table = {"name": "dataset" if plain_name_fault(name) else name, "data": {"name": what}}
        recipe = parse_recipe(table, [*(overrides or ()), *given], where="the command line")
    if root is None:
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": root})})


def open_experiment(recipe: Path, overrides: Sequence[str] | None, out: Path | None) -> Experiment:
    """Opens the experiment of a recipe with the values of `--set` and `--out`."""
    from mien.workflow import experiment

    return experiment.open_experiment(read_recipe(recipe, overrides), out=out, cache=cache_directory())


def zero_shot_method(name: str | None) -> ZeroShotMethod | None:
    """The method of this name; UnknownNameError if there is none."""
    from mien.errors import unknown_name
    from mien.recipe.zero_shot import METHODS

    found = next((method for method in METHODS if method == name), None)
    if name is not None and found is None:
        raise unknown_name("zero-shot method", name, METHODS)
    return found


def cache_directory() -> Path:
    """The cache directory; imported late, because `--help` must be fast."""
    from mien import files

    return files.cache_directory()


def make_console(as_json: bool) -> Console:
    """The console of this process; of the processes that torchrun starts, only the first one prints."""
    from mien.cli.render.console import Console

    return Console(
        as_json=as_json,
        live=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
        out=typer.echo if is_first_process() else _discard,
        encoding=sys.stdout.encoding,
    )


def is_first_process() -> bool:
    """Whether this is the only process, or the first one that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def _discard(*_: object, **__: object) -> None: ...
