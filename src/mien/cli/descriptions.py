"""The commands of `mien describe` on existing descriptions: status, check, audit, export, import, merge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mien.cli.render.console import render_table
from mien.cli.shared import AsJson, Out, Overrides, RecipeFile, Splits, make_console, open_experiment
from mien.errors import DamagedStoreError, ItemsFailedError, StoreError, UsageError

if TYPE_CHECKING:
    from mien.cli.documents.describe import (
        CheckedStore,
        DescribeStatus,
        DifferingDescription,
        ExportedDescriptions,
        ImportedDescriptions,
        KnownModels,
        KnownPrompts,
        ListedRow,
        MergedStore,
    )
    from mien.describe.store.rows import DamagedRow
    from mien.evaluate.descriptions.description_audit import DescriptionAudit

__all__ = ["commands"]

_MAX_IDS: Final = 20  # ids in a document; all are counted


class Prefer(StrEnum):
    """Which of two conflicting descriptions to keep."""

    FIRST = "first"


def status(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Out = None,
    splits: Splits = None,
    as_json: AsJson = False,
) -> None:
    """Count described, failed and missing subjects."""
    from mien.cli.render.descriptions import render_status
    from mien.workflow import descriptions

    experiment = open_experiment(recipe, overrides, out)
    counts = descriptions.status(experiment, splits)
    path = experiment.store
    document: DescribeStatus = {
        "store": str(path),
        "bytes": path.stat().st_size if path.exists() else 0,
        "engine": experiment.open_request_builder().engine_id,
        "prompt": experiment.recipe.describe.prompt,
        "to_describe": sum(count.missing for count in counts.values()),
        "to_retry": sum(count.num_failed for count in counts.values()),
        "splits": dict(counts),
    }
    if num_damaged := sum(count.damaged for count in counts.values()):
        document["damaged"] = num_damaged
    make_console(as_json).print_result(
        document, f"{render_table(_without_lists(document))}\n\n{render_status(counts)}"
    )


def export(
    what: Annotated[
        Path, typer.Argument(metavar="RECIPE|STORE", help="Recipe, or file of a store.", show_default=False)
    ],
    target: Annotated[
        Path, typer.Option("--out", help="File to write: .parquet, .jsonl or .csv.", show_default=False)
    ],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Export all descriptions of a store.

    Writes a Parquet, JSONL or CSV file.
    """
    from mien.describe.store.export import write_export
    from mien.describe.store.store import Store

    path = open_experiment(what, overrides, None).store if what.suffix == ".toml" else what
    with Store(path, writable=False) as store:
        count = write_export(target, store)
        damaged = store.damaged_rows
    document: ExportedDescriptions = {
        "descriptions": count,
        "store": str(path),
        "file": str(target),
        "left_out": _listed(damaged),
    }
    if damaged:
        document["damaged"] = len(damaged)
    make_console(as_json).print_result(document, render_table(_without_lists(document)))
    if damaged:
        raise ItemsFailedError(
            f"{len(damaged)} damaged rows of {path} were left out; the first: {damaged[0].subject_id!r}: "
            f"{damaged[0].reason}",
            hint=f"describe them again with mien describe RECIPE; list them with: mien describe check {path}",
        )


def _listed(rows: Sequence[DamagedRow]) -> list[ListedRow]:
    return [{"key": row.key, "id": row.subject_id, "reason": row.reason} for row in rows[:_MAX_IDS]]


def _without_lists(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a person wants to see of a document: the values that fit in a line."""
    return {name: value for name, value in document.items() if isinstance(value, str | int)}


def check(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="File of a store.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Check a store for damage.

    Reads every row and changes nothing. Ends with exit code 4 if the store is damaged.
    """
    from mien.describe.store.check import check_store

    console = make_console(as_json)
    found = check_store(store)
    document: CheckedStore = {
        "descriptions": found.descriptions,
        "failures": found.failures,
        "damaged": len(found.damaged),
        "without_digest": found.unverified,
        "file": found.problems[0]
        if found.problems
        else "the index of keys is damaged"
        if found.has_damaged_index
        else "ok",
        "store": str(store),
        "problems": list(found.problems),
        "listed": _listed(found.damaged),
        "repair": found.repair,
    }
    table = {name: value for name, value in _without_lists(document).items() if name != "repair"}
    console.print_result(document, render_table(table))
    if found.unverified:
        console.note("note: rows get digests when the store is written next, as by mien describe RECIPE")
    for row in found.damaged[:_MAX_IDS]:
        console.note(f"damaged: {row.subject_id} (key {row.key[:12]}): {row.reason}")
    if found.is_damaged:
        raise DamagedStoreError(f"store {store} is damaged", hint=found.how_to_repair)


def import_(
    recipe: RecipeFile,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.jsonl", help="JSON lines with id and text.", show_default=False)
    ],
    overrides: Overrides = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Import descriptions made elsewhere.

    The recipe must have describe.engine = "imported".
    """
    from mien.workflow import descriptions

    experiment = open_experiment(recipe, overrides, out)
    found = descriptions.import_file(experiment, file)
    document: ImportedDescriptions = {
        "imported": found.new,
        "existing": found.existing,
        "subjects_without": len(found.missing_ids),
        "unmatched": len(found.unknown_ids),
        "store": str(experiment.store),
        "without": list(found.missing_ids[:_MAX_IDS]),
        "unknown": list(found.unknown_ids[:_MAX_IDS]),
    }
    make_console(as_json).print_result(document, render_table(_without_lists(document)))
    if found.unknown_ids:
        raise ItemsFailedError(
            f"{len(found.unknown_ids)} ids of {file} belong to no subject; the first: "
            f"{found.unknown_ids[0]!r}",
            hint="list the ids of the dataset with: mien data export; all other descriptions were imported",
        )


def merge(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORE", help="Stores to read.", show_default=False)
    ],
    target: Annotated[
        Path,
        typer.Option("--out", help="Store to write; existing descriptions are kept.", show_default=False),
    ],
    prefer: Annotated[
        Prefer | None,
        typer.Option("--prefer", help="On a conflict, keep what the first store has."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Merge stores, such as those of shards."""
    from mien.describe.store.merge import merge_stores

    console = make_console(as_json)
    found = merge_stores(stores, target, prefer_first=prefer is Prefer.FIRST)
    listed: list[DifferingDescription] = [
        {"key": one.key, "id": one.subject_id, "stores": [str(one.first), str(one.second)]}
        for one in found.conflicts
    ]
    document: MergedStore = {
        "descriptions": found.descriptions,
        "failures": found.failures,
        "conflicts": found.num_conflicts,
        "store": str(target),
        "written": found.written,
        "listed": listed,
        "left_out": {str(path): _listed(rows) for path, rows in found.damaged.items()},
        "recovered_from": {str(path): number for path, number in found.recovered.items()},
    }
    if found.num_damaged:
        document["damaged"] = found.num_damaged
    if found.recovered:
        document["recovered"] = sum(found.recovered.values())
    table = {name: value for name, value in _without_lists(document).items() if name != "written"}
    console.print_result(document, render_table(table) if found.written else None)
    for one in found.conflicts:
        console.note(f"differs: {one.subject_id} in {one.first} and {one.second} (key {one.key[:12]})")
    if not found.written:
        raise StoreError(
            f"{found.num_conflicts} descriptions differ between stores; nothing was written",
            hint="find out why (another library or GPU?), or keep the first store's with --prefer first",
        )
    if found.num_damaged or found.recovered:
        damaged_stores = list(dict.fromkeys([*found.recovered, *found.damaged]))
        first = damaged_stores[0]
        raise ItemsFailedError(
            f"stores are damaged: {', '.join(map(str, damaged_stores))}; what is intact in them was merged",
            hint="describe what is missing now with mien describe RECIPE; see also: mien describe check "
            f"{first}",
        )


def models(as_json: AsJson = False) -> None:
    """List models that describe well.

    Any other image-text-to-text model works too.
    """
    from mien.cli.render.descriptions import render_models
    from mien.describe.local.known_models import list_models

    found = list_models()
    document: KnownModels = {"models": found}
    make_console(as_json).print_result(document, render_models(found))


def prompts(as_json: AsJson = False) -> None:
    """List the prompts that a recipe can use."""
    from mien.cli.render.descriptions import render_prompts
    from mien.describe.prompts import list_prompts

    found = list_prompts()
    document: KnownPrompts = {"prompts": found}
    make_console(as_json).print_result(document, render_prompts(found))


def audit(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE]", help="Recipe in TOML.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    out: Out = None,
    splits: Splits = None,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", help="JSON lines (id, text, label) instead of a recipe."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--label-set", help="Label set of --answers: emotic, caers or bold.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Audit descriptions.

    Measures their quality, and whether labels leaked into them.
    """
    from mien.cli.render.descriptions import render_audit

    found = _audit(recipe, overrides, out, splits, answers, labels)
    make_console(as_json).print_result(found.to_json(), render_audit(found))


def _audit(
    recipe: Path | None,
    overrides: list[str] | None,
    out: Path | None,
    splits: list[str] | None,
    answers: Path | None,
    labels: str | None,
) -> DescriptionAudit:
    from mien.workflow import descriptions

    if (recipe is None) == (answers is None):
        raise UsageError(
            "give a recipe, or --answers with --label-set", hint="see mien describe audit --help"
        )
    if recipe is not None:
        return descriptions.audit_descriptions(open_experiment(recipe, overrides, out), splits)
    if labels is None:
        raise UsageError("--answers needs --label-set", hint="give one of emotic, caers, bold")
    assert answers is not None
    return descriptions.audit_file(answers, labels)


commands: Final[tuple[Callable[..., Any], ...]] = (
    status,
    check,
    export,
    import_,
    merge,
    models,
    prompts,
    audit,
)
