"""The commands about descriptions that are stored: what is there, what it is worth, in and out of the store.

Goes in: parsed arguments. Comes out: tables, JSON, files.
Knows nothing about: stores' files, or how a description is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mien.cli.shared import (
    AsJson,
    Out,
    Overrides,
    RecipeFile,
    Splits,
    cache_folder,
    make_console,
    read_recipe,
)
from mien.errors import ItemsFailedError, StoreError, UsageError

if TYPE_CHECKING:
    from mien.evaluate.descriptions.description_audit import WordsAudit
    from mien.workflow.experiment import Experiment

__all__ = ["commands"]

_SHOWN: Final = 20  # ids in a document; all are counted


class Prefer(StrEnum):
    """How a conflict is decided."""

    FIRST = "first"


def status(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Out = None,
    splits: Splits = None,
    as_json: AsJson = False,
) -> None:
    """Count what is described, failed and missing in every split."""
    from mien.cli.render_data import show_status
    from mien.describe.requests import Questioner
    from mien.workflow import descriptions

    console = make_console(as_json)
    experiment = _experiment(recipe, overrides, out)
    stocks = descriptions.status(experiment, splits)
    path = experiment.store
    facts = {
        "store": str(path),
        "bytes": path.stat().st_size if path.exists() else 0,
        "engine": Questioner(**experiment.asking).engine,
        "prompt": experiment.recipe.describe.prompt,
        "to_describe": sum(stock.missing for stock in stocks.values()),
        "to_retry": sum(stock.num_failed for stock in stocks.values()),
    }
    console.result(facts | {"splits": {split: asdict(stock) for split, stock in stocks.items()}}, facts)
    if not as_json:
        typer.echo(f"\n{show_status(stocks)}")


def export(
    what: Annotated[
        Path, typer.Argument(metavar="RECIPE|STORE", help="A recipe, or a store's file.", show_default=False)
    ],
    target: Annotated[
        Path, typer.Option("--out", help="The file to write: .parquet, .jsonl or .csv.", show_default=False)
    ],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write all descriptions of a store to a file for other programs."""
    from mien.describe.store.export import write_export
    from mien.describe.store.store import Store

    path = _experiment(what, overrides, None).store if what.suffix == ".toml" else what
    with Store(path, writable=False) as store:
        table = {"descriptions": write_export(target, store), "store": str(path), "file": str(target)}
    make_console(as_json).result(table, table)


def import_(
    recipe: RecipeFile,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.jsonl", help="Lines with id and text.", show_default=False)
    ],
    overrides: Overrides = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Take in descriptions that were made elsewhere, for a recipe with describe.engine = "foreign"."""
    from mien.workflow import descriptions

    experiment = _experiment(recipe, overrides, out)
    found = descriptions.import_file(experiment, file)
    table = {
        "imported": found.new,
        "there_already": found.present,
        "subjects_without": len(found.without),
        "of_no_subject": len(found.unknown),
        "store": str(experiment.store),
    }
    ids = {"without": found.without[:_SHOWN], "unknown": found.unknown[:_SHOWN]}
    make_console(as_json).result(table | ids, table)
    if found.unknown:
        raise ItemsFailedError(
            f"{len(found.unknown)} ids of {file} are of no subject; the first: {found.unknown[0]!r}",
            hint="mien data export shows the ids of a data set; the other descriptions were taken in",
        )


def merge(
    stores: Annotated[list[Path], typer.Argument(help="Stores, which are only read.", show_default=False)],
    target: Annotated[
        Path, typer.Option("--out", help="The store to write; what it has is kept.", show_default=False)
    ],
    prefer: Annotated[
        Prefer | None, typer.Option("--prefer", help="Of answers that differ take the first store's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put several stores, such as those of shards, together into one."""
    from mien.describe.store.merge import merge as put_together

    console = make_console(as_json)
    found = put_together(stores, target, prefer_first=prefer is Prefer.FIRST)
    table = {
        "descriptions": found.descriptions,
        "failures": found.failures,
        "conflicts": found.num_conflicts,
        "store": str(target),
    }
    listed = [
        {"key": one.key, "id": one.subject_id, "stores": [str(one.first), str(one.other)]}
        for one in found.conflicts
    ]
    console.result(table | {"written": found.written, "listed": listed}, table if found.written else None)
    for one in found.conflicts:
        console.note(f"differs: {one.subject_id} in {one.first} and {one.other} (key {one.key[:12]})")
    if not found.written:
        raise StoreError(
            f"{found.num_conflicts} questions have different answers; nothing was written",
            hint="find out why (another library, another card?), or take the first store's: --prefer first",
        )


def models(as_json: AsJson = False) -> None:
    """Show models that are known to describe well; any other image-text-to-text model works too."""
    from mien.cli.render_data import show_models
    from mien.describe.local.known_models import list_models

    found = list_models()
    make_console(as_json).result({"models": found}, None)
    if not as_json:
        typer.echo(show_models(found))


def prompts(as_json: AsJson = False) -> None:
    """Show the prompts that a recipe may name."""
    from mien.cli.render_data import show_prompts
    from mien.describe.prompts import listing

    found = listing()
    make_console(as_json).result({"prompts": found}, None)
    if not as_json:
        typer.echo(show_prompts(found))


def audit(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE]", help="A recipe in TOML.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    out: Out = None,
    splits: Splits = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="Instead of a recipe: JSON lines with id, text, label.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--label-set", help="Of --answers: emotic, caers or bold.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find out what the words are worth, and whether they were told the answer."""
    from mien.cli.render_data import show_words

    console = make_console(as_json)
    found = _audit(recipe, overrides, out, splits, answers, labels)
    console.result(found.to_json(), None)
    if not as_json:
        typer.echo(show_words(found))


def _audit(
    recipe: Path | None,
    overrides: list[str] | None,
    out: Path | None,
    splits: list[str] | None,
    answers: Path | None,
    labels: str | None,
) -> WordsAudit:
    from mien.workflow import descriptions

    if (recipe is None) == (answers is None):
        raise UsageError(
            "give a recipe, or --answers with --label-set", hint="see mien describe audit --help"
        )
    if recipe is not None:
        return descriptions.audit(_experiment(recipe, overrides, out), splits)
    if labels is None:
        raise UsageError("--answers needs --label-set", hint="name the labels' set: emotic, caers or bold")
    assert answers is not None
    return descriptions.audit_answers(answers, labels)


def _experiment(recipe: Path, overrides: list[str] | None, out: Path | None) -> Experiment:
    from mien.workflow.experiment import open_experiment

    return open_experiment(read_recipe(recipe, overrides), out=out, cache=cache_folder())


commands: Final[tuple[Callable[..., Any], ...]] = (status, export, import_, merge, models, prompts, audit)
