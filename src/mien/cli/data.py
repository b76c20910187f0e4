"""`mien data` and `mien doctor`: the contents of a dataset, its problems, and what is missing from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.cli.shared import AsJson, Overrides, Root, Splits, cache_directory, make_console, recipe_of
from mien.errors import DataError, UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.cli.documents.data import (
        DataProblem,
        DrawnDataset,
        ExportedPeople,
        ExportedSplit,
        VerifiedDataset,
    )
    from mien.data.dataset import Dataset
    from mien.recipe import Recipe

__all__ = ["data", "doctor"]

data = typer.Typer(help="Inspect, check, export and split datasets.", rich_markup_mode=None)

Source = Annotated[
    str, typer.Argument(metavar="RECIPE|NAME", help="Recipe, or name of a dataset.", show_default=False)
]
Option = Annotated[
    list[str] | None, typer.Option("--option", metavar="K=VALUE", help="Option of the dataset; repeatable.")
]
Target = Annotated[Path, typer.Option("--out", help="File to write.", show_default=False)]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Images to read in parallel.", show_default="all cores"),
]
_LAYOUTS: Final = {
    "bold": "mien.playhouse.layouts.bold",
    "caers": "mien.playhouse.layouts.caers",
    "emotic": "mien.playhouse.layouts.emotic",
}


@data.command()
def summary(
    what: Source,
    root: Root = None,
    options: Option = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Count images, subjects and labels.

    Counts per split, without opening images.
    """
    from mien.cli.render.data import render_summary
    from mien.data.audit.summary import summarize

    found = summarize(_open_dataset(what, root, options, overrides))
    make_console(as_json).print_result(found.to_json(), render_summary(found))


@data.command()
def verify(
    what: Source,
    root: Root = None,
    options: Option = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the report.", show_default="runs/NAME-audit"),
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Find problems and near-duplicates.

    Opens every image and clip, and writes a report.
    """
    from mien.cli.render.data import render_verification
    from mien.data.audit.agreement import measure_agreement
    from mien.data.audit.summary import summarize
    from mien.data.audit.verify import verify as check
    from mien.report.audit.page import write_audit_report
    from mien.report.formatting import count_noun

    console = make_console(as_json)
    recipe = recipe_of(what, root, options, overrides)
    try:
        dataset = _open(recipe)
        verified = check(dataset, workers=workers, on_progress=console.show_verifying)
    except DataError as error:
        # The document lists this problem like any other.
        fault: DataProblem = {
            "kind": "unreadable",
            "file": str(recipe.data.root),
            "message": str(error),
        }
        document: VerifiedDataset = {
            "dataset": recipe.data.name,
            "images": 0,
            "subjects": 0,
            "problems": [fault],
        }
        console.print_result(document, None)
        raise
    console.end_progress()
    folder = out or Path("runs") / f"{recipe.name}-audit"
    page, table = write_audit_report(
        folder, dataset, summarize(dataset), measure_agreement(dataset), verified
    )
    problems: list[DataProblem] = [
        {"kind": one.kind, "file": one.file, "message": one.message} for one in verified.problems
    ]
    document = {
        "dataset": dataset.card.name,
        "images": verified.num_images,
        "subjects": verified.num_subjects,
        "problems": problems,
        "report": str(page),
        "table": str(table),
    }
    console.print_result(document, render_verification(verified, page))
    if problems:
        raise DataError(
            f"{count_noun(len(problems), 'problem')} in {recipe.name}", hint=f"see the list in {page}"
        )


@data.command()
def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|NAME|RUN|FILE",
            help="Recipe, or name of a dataset; or an evaluated run, or a file of mien predict.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File or folder to write.", show_default=False)],
    splits: Splits = None,
    images: Annotated[
        bool, typer.Option("--images", help="Of a run or a file: put the images into the folder.")
    ] = False,
    root: Root = None,
    options: Option = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Export a split as JSON lines, or predictions as a Hugging Face dataset.

    Of a recipe or a dataset: one line per subject of one split, with images, boxes, labels, dimensions. Of a
    run or a file of predictions: a folder for datasets.load_dataset, with boxes, annotators, descriptions,
    scores, and a card. Images are only named there, without --images.
    """
    if _has_predictions(what):
        _export_predictions(
            Path(what),
            out,
            splits=splits,
            images=images,
            root=root,
            options=options,
            overrides=overrides,
            as_json=as_json,
        )
        return
    from mien.data.export import export_split

    if images:
        raise UsageError("--images is of a run or a file of predictions", hint="leave it out")
    if splits is None or len(splits) != 1:
        raise UsageError("a file has one split", hint="give one: --split test")
    count = export_split(_open_dataset(what, root, options, overrides), splits[0], out)
    written: ExportedSplit = {"subjects": count, "file": str(out)}
    make_console(as_json).print_table(written)


def _has_predictions(what: str) -> bool:
    """Whether this is a run directory, or a file that is not a recipe."""
    from mien.registry import registered_names
    from mien.runs import MANIFEST

    path = Path(what)
    if what in registered_names("dataset"):
        return (path / MANIFEST).is_file()
    return path.is_dir() or path.suffix.lower() in (".jsonl", ".parquet", ".csv")


def _export_predictions(
    source: Path,
    out: Path,
    *,
    splits: list[str] | None,
    images: bool,
    root: Path | None,
    options: list[str] | None,
    overrides: list[str] | None,
    as_json: bool,
) -> None:
    from mien.cli.render.console import render_table
    from mien.export.hf_dataset import write_dataset
    from mien.export.predictions import read_predictions

    if options:
        raise UsageError("a run has the options of its dataset", hint="leave out --option")
    places = [*(overrides or ()), *([] if root is None else [f"data.root={root}"])]
    predictions = read_predictions(source, cache=cache_directory(), splits=splits, overrides=places)
    found = write_dataset(predictions, out, images=images)
    console = make_console(as_json)
    for note in predictions.notes:
        console.note(f"note: {note}")
    if found.images:
        terms = "" if predictions.card is None else f" ({predictions.card.license})"
        console.note(f"note: {out} contains images; check their terms before you pass it on{terms}")
    document: ExportedPeople = {
        "folder": str(found.path),
        "people": dict(found.splits),
        "images": found.images,
        "left_out": found.left_out,
    }
    table = {
        **document,
        "people": _counts(found.splits),
        "images": found.images or "none, only their names (see --images)",
    }
    console.print_result(document, render_table(table))


def _counts(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} in {split}" for split, count in splits.items())


@data.command()
def dedup(
    what: Source,
    out: Target,
    root: Root = None,
    options: Option = None,
    overrides: Overrides = None,
    drop_copies: Annotated[
        bool, typer.Option("--drop-copies", help="Of identical files, keep only one.")
    ] = False,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Write splits without near-duplicates.

    In the split file, near-duplicates are always in the same split. Use it as data.split_file.
    """
    from mien.data.audit.near_duplicate_splits import write_split_file

    console = make_console(as_json)
    changes = write_split_file(
        _open_dataset(what, root, options, overrides),
        out,
        workers=workers,
        drop_copies=drop_copies,
        on_progress=console.show_verifying,
    )
    console.print_table(changes.to_json())


@data.command()
def playhouse(
    layout: Annotated[
        str, typer.Argument(help="emotic, caers or bold.", metavar="LAYOUT", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to fill.", show_default=False)],
    train: Annotated[int, typer.Option("--train", min=1, help="Scenes in the training split.")] = 60,
    val: Annotated[int, typer.Option("--val", min=1, help="Scenes in the validation split.")] = 20,
    test: Annotated[int, typer.Option("--test", min=1, help="Scenes in the test split.")] = 40,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the scenes.")] = 2024,
    as_json: AsJson = False,
) -> None:
    """Draw a dataset for dry runs.

    Writes drawn scenes in the layout of an official dataset.
    """
    import importlib

    from mien.files import atomic_folder, require_new_folder

    if layout not in _LAYOUTS:
        raise unknown_name("layout", layout, _LAYOUTS)
    require_new_folder(out, hint="give another folder with --out")
    with atomic_folder(out) as folder:
        importlib.import_module(_LAYOUTS[layout]).write(folder, train=train, val=val, test=test, seed=seed)
    drawn: DrawnDataset = {"layout": layout, "root": str(out)}
    make_console(as_json).print_table(drawn)


def doctor(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset.", show_default=False)],
    root: Root = None,
    options: Option = None,
    as_json: AsJson = False,
) -> None:
    """Check whether a dataset is complete.

    Prints what is present, what is missing, where to request it, and what its license allows.
    """
    from mien.cli.render.diagnosis import render_diagnosis
    from mien.data.audit.doctor import diagnose

    chosen = recipe_of(name, root, options, None).data
    diagnosis = diagnose(name, root, cache=cache_directory(), options=chosen.options)
    make_console(as_json).print_result(diagnosis.to_json(), render_diagnosis(diagnosis))
    if not diagnosis.is_ready:
        first = next(iter(diagnosis.advice), "see the output above")
        raise DataError(f"this copy of {name} is not ready", hint=first)


def _open_dataset(
    what: str, root: Path | None, options: list[str] | None, overrides: list[str] | None
) -> Dataset:
    return _open(recipe_of(what, root, options, overrides))


def _open(recipe: Recipe) -> Dataset:
    from mien.workflow.experiment import open_recipe_dataset

    return open_recipe_dataset(recipe, cache=cache_directory())
