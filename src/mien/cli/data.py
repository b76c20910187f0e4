"""The commands about data sets: what is in one, what is wrong with it, what is missing from it.

Goes in: a recipe or the name of a data set and its folder. Comes out: tables, JSON, files.
Knows nothing about: any data set's files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.cli.shared import AsJson, Overrides, cache_folder, make_console, read_recipe
from mien.errors import DataError, unknown_name

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.recipe import Recipe

__all__ = ["data", "doctor"]

data = typer.Typer(help="What is in a data set, and what is wrong with it.", rich_markup_mode=None)

What = Annotated[
    str, typer.Argument(metavar="RECIPE|NAME", help="A recipe, or a data set's name.", show_default=False)
]
Root = Annotated[Path | None, typer.Option("--root", help="Where the data set lies.", show_default=False)]
Option = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="K=VALUE", help="An option of the data set; may be repeated."),
]
Target = Annotated[Path, typer.Option("--out", help="The file to write.", show_default=False)]
LAYOUTS: Final = {
    "bold": "mien.playhouse.layouts.bold",
    "caers": "mien.playhouse.layouts.caers",
    "emotic": "mien.playhouse.layouts.emotic",
}


@data.command()
def summary(
    what: What,
    root: Root = None,
    options: Option = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Count people, pictures and labels of every split, and the chance level; opens no picture."""
    from mien.cli.render_data import show_summary
    from mien.data.audit.summary import summarize

    console = make_console(as_json)
    found = summarize(_dataset(what, root, options, overrides))
    console.result(found.to_json(), None)
    if not as_json:
        typer.echo(show_summary(found))


@data.command()
def verify(
    what: What,
    root: Root = None,
    options: Option = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where the report goes.", show_default="runs/NAME-audit"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Pictures at once.", show_default="all cores")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Open every picture and clip, find what is wrong and what is there twice, write a report."""
    from mien.cli.render_data import show_verdict
    from mien.data.audit.agreement import measure_agreement
    from mien.data.audit.summary import summarize
    from mien.data.audit.verify import verify as check
    from mien.report.audit.page import write_audit

    console = make_console(as_json)
    recipe = _described(what, root, options, overrides)
    try:
        dataset = _open(recipe)
        verified = check(dataset, workers=workers, on_progress=console.checking)
    except DataError as error:
        # Whoever reads the document learns of this fault as of any other.
        fault = {"kind": "unreadable", "file": str(recipe.data.root), "message": str(error)}
        console.result({"dataset": recipe.data.name, "images": 0, "subjects": 0, "problems": [fault]}, None)
        raise
    console.settle()
    folder = out or Path("runs") / f"{recipe.name}-audit"
    page, table = write_audit(folder, dataset, summarize(dataset), measure_agreement(dataset), verified)
    problems = [{"kind": one.kind, "file": one.file, "message": one.message} for one in verified.problems]
    console.result(
        {
            "dataset": dataset.card.name,
            "images": verified.num_images,
            "subjects": verified.num_subjects,
            "problems": problems,
            "report": str(page),
            "table": str(table),
        },
        None,
    )
    if not as_json:
        typer.echo(show_verdict(verified, page))
    if problems:
        raise DataError(f"{len(problems)} problems in {recipe.name}", hint=f"they are listed in {page}")


@data.command()
def export(
    what: What,
    split: Annotated[str, typer.Option("--split", help="The split to write.", show_default=False)],
    out: Target,
    root: Root = None,
    options: Option = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write one JSON line a subject: pictures, boxes, labels, dimensions."""
    from mien.data.export import export as write

    count = write(_dataset(what, root, options, overrides), split, out)
    table = {"subjects": count, "file": str(out)}
    make_console(as_json).result(table, table)


@data.command()
def dedup(
    what: What,
    out: Target,
    root: Root = None,
    options: Option = None,
    overrides: Overrides = None,
    drop_copies: Annotated[
        bool, typer.Option("--drop-copies", help="Keep one of equal files, leave out the others.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Pictures at once.", show_default="all cores")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a split file that keeps equal and nearly equal pictures on one side, for data.split_file."""
    from mien.data.audit.near_duplicate_splits import write_split_file

    console = make_console(as_json)
    changes = write_split_file(
        _dataset(what, root, options, overrides),
        out,
        workers=workers,
        drop_copies=drop_copies,
        on_progress=console.checking,
    )
    table = changes.to_json()
    console.result(table, table)


@data.command()
def playhouse(
    layout: Annotated[
        str, typer.Argument(help="emotic, caers or bold.", metavar="LAYOUT", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to fill.", show_default=False)],
    train: Annotated[int, typer.Option("--train", min=1, help="Scenes to train on.")] = 60,
    val: Annotated[int, typer.Option("--val", min=1, help="Scenes to stop by.")] = 20,
    test: Annotated[int, typer.Option("--test", min=1, help="Scenes to test on.")] = 40,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, other scenes.")] = 2024,
    as_json: AsJson = False,
) -> None:
    """Write drawn scenes in the official layout of a data set, for dry runs without it."""
    import importlib

    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not an empty folder", hint="give another folder with --out")
    importlib.import_module(LAYOUTS[layout]).write(out, train=train, val=val, test=test, seed=seed)
    table = {"layout": layout, "root": str(out)}
    make_console(as_json).result(table, table)


def doctor(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="A data set's name.", show_default=False)],
    root: Root = None,
    options: Option = None,
    as_json: AsJson = False,
) -> None:
    """Say what of a data set is there, what is missing, where to ask for it, what its licence allows."""
    from mien.cli.render_diagnosis import render_diagnosis
    from mien.data.audit.doctor import diagnose

    chosen = _described(name, root, options, None).data
    diagnosis = diagnose(name, root, cache=cache_folder(), options=chosen.options)
    make_console(as_json).result(diagnosis.to_json(), None)
    if not as_json:
        typer.echo(render_diagnosis(diagnosis))
    if not diagnosis.is_ready:
        first = next(iter(diagnosis.advice), "see what it says above")
        raise DataError(f"this copy of {name} is not ready", hint=first)


def _dataset(what: str, root: Path | None, options: list[str] | None, overrides: list[str] | None) -> Dataset:
    return _open(_described(what, root, options, overrides))


def _described(
    what: str, root: Path | None, options: list[str] | None, overrides: list[str] | None
) -> Recipe:
    """The recipe in a file, or the least one that names a data set; with root and options on top."""
    from mien.recipe.load import parse_recipe

    given = [f"data.options.{option}" for option in options or ()]
    if what.endswith(".toml"):
        recipe = read_recipe(Path(what), [*(overrides or ()), *given])
    else:
        table = {"name": what.replace(":", "-"), "data": {"name": what}}
        recipe = parse_recipe(table, [*(overrides or ()), *given], where="the command line")
    if root is None:
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": root})})


def _open(recipe: Recipe) -> Dataset:
    from mien.workflow.experiment import open_data

    return open_data(recipe, cache=cache_folder())
