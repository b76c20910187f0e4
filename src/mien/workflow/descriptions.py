"""The descriptions of a recipe's subjects: which exist, what the others will take, imports, and their audit.

Describing itself is in `steps`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.describe.engine import Engine
from mien.describe.preflight import Preflight, Rates, Survey, estimate, survey
from mien.describe.progress import DescribeSummary
from mien.describe.requests import RequestBuilder
from mien.describe.shards import Shard
from mien.describe.store.imported import ImportedEngine, ImportSummary, import_descriptions, is_imported
from mien.describe.store.lookup import StoreStatus, count_by_status, iterate_status
from mien.describe.store.store import Store
from mien.errors import ConfigError, DataError
from mien.locks import lock_run
from mien.runs import append_event, command_event, read_events
from mien.types import Failure, Subject
from mien.workflow.experiment import Experiment, find_descriptions

if TYPE_CHECKING:
    from mien.evaluate.descriptions.description_audit import AuditRow, DescriptionAudit

__all__ = [
    "audit_descriptions",
    "audit_file",
    "estimate_run",
    "failures",
    "import_file",
    "iterate_subjects",
    "lock_for_describing",
    "preflight",
    "record_rate",
    "require_imported",
    "status",
    "store_path",
]

_log = logging.getLogger(__name__)
_DESCRIBED: Final = "described"
# Some published copies of CAER-S name one folder, and so one label, differently.
_LABEL_ALIASES: Final = {"caers": {"Angry": "Anger"}}


def store_path(experiment: Experiment, shard: Shard | None) -> Path:
    """The store that a run, or one shard of it, writes."""
    return experiment.store if shard is None else shard.store_path(experiment.store)


@contextmanager
def lock_for_describing(experiment: Experiment) -> Iterator[None]:
    """Locks the run that holds the store, but for other shards; a store elsewhere has a lock of its own."""
    if not experiment.store.is_relative_to(experiment.out):
        yield
        return
    with lock_run(experiment.out, shared=True):
        yield


def iterate_subjects(
    experiment: Experiment, splits: Sequence[str] | None = None, shard: Shard | None = None
) -> Iterator[Subject]:
    """The subjects of these splits (all by default), or of one shard of them, without their labels."""
    for split in splits or experiment.dataset.splits:
        for sample in experiment.dataset.samples(split):
            if shard is None or shard.contains(sample.subject):
                yield sample.subject


def failures(
    experiment: Experiment, splits: Sequence[str] | None = None, shard: Shard | None = None
) -> tuple[Failure, ...]:
    """The failures of these splits (all by default), or of one shard of them: one per subject."""
    subjects = iterate_subjects(experiment, splits, shard)
    with _open_if_exists(store_path(experiment, shard)) as store:
        # Two subjects may share a key, and so a failure.
        return tuple(
            replace(state, subject_id=subject.id)
            for subject, state in iterate_status(subjects, experiment.open_request_builder(), store)
            if isinstance(state, Failure)
        )


def status(experiment: Experiment, splits: Sequence[str] | None = None) -> dict[str, StoreStatus]:
    """How many subjects of each split (all by default) are described, failed or missing."""
    request_builder = experiment.open_request_builder()
    with _open_if_exists(experiment.store) as store:
        return {
            split: count_by_status(iterate_subjects(experiment, [split]), request_builder, store)
            for split in splits or experiment.dataset.splits
        }


def preflight(
    experiment: Experiment,
    *,
    splits: Sequence[str] | None = None,
    shard: Shard | None = None,
    retry_failed: bool = False,
) -> Preflight:
    """What `steps.describe` with these arguments will take, with every subject looked up; writes nothing."""
    request_builder = experiment.open_request_builder()
    with _open_if_exists(store_path(experiment, shard)) as store:
        found = survey(
            partial(iterate_subjects, experiment, splits, shard),
            request_builder,
            store,
            retry_failed=retry_failed,
            all_looked_up=True,
        )
        return estimate_run(experiment, found, request_builder, store, shard)


def estimate_run(
    experiment: Experiment,
    found: Survey,
    request_builder: RequestBuilder,
    store: Store | None,
    shard: Shard | None,
) -> Preflight:
    """What it takes to describe what a survey found, at the rate of the last run and the recipe's prices."""
    recipe, path = experiment.recipe, store_path(experiment, shard)
    engine = request_builder.engine
    return estimate(
        found,
        request_builder,
        store,
        store_path=path,
        rates=Rates(
            image_size=engine.image_size,
            max_new_tokens=recipe.describe.max_new_tokens,
            per_second=_last_rate(path, engine),
            price=recipe.run.price_per_million_tokens,
        ),
    )


@contextmanager
def _open_if_exists(path: Path) -> Iterator[Store | None]:
    """The store, for reading, or None if there is none yet."""
    if not path.exists():
        yield None
        return
    with Store(path, writable=False) as store:
        yield store


# --- Imported descriptions -----------------------------------------------------------------------------


def import_file(experiment: Experiment, path: Path) -> ImportSummary:
    """Imports descriptions from JSON Lines with "id" and "text" into the experiment's store.

    Raises:
        ConfigError: The recipe's engine is not "imported".
        DataError: A line is not valid, or gives another text than the store.
    """
    if not is_imported(experiment.recipe.describe):
        raise ConfigError(
            f"the recipe's engine is {experiment.recipe.describe.engine!r}, which makes its own descriptions",
            hint='set describe.engine = "imported" and describe.options.name to what made them',
        )
    with lock_for_describing(experiment), Store(experiment.store) as store:
        return import_descriptions(
            path,
            iterate_subjects(experiment),
            request_builder=experiment.open_request_builder(),
            store=store,
        )


def require_imported(experiment: Experiment, splits: Sequence[str] | None = None) -> None:
    """EngineError if the recipe's descriptions are imported, and some of these splits are missing."""
    recipe = experiment.recipe
    if is_imported(recipe.describe):
        num_missing = sum(counts.missing for counts in status(experiment, splits).values())
        if num_missing:
            raise ImportedEngine.open(recipe.describe, recipe.run).missing_error(num_missing)


# --- The rate of earlier runs --------------------------------------------------------------------------


def record_rate(store: Path, engine: Engine, summary: DescribeSummary) -> None:
    """Records next to the store an engine's speed, for the estimate of the next run, its model and tokens."""
    if not summary.done:
        return
    try:
        append_event(
            _events_file(store),
            _DESCRIBED,
            **({} if engine.origin is None else {"model": engine.origin}),
            engine=engine.name,
            done=summary.done,
            seconds=round(summary.seconds, 3),
            batch_size=summary.batch_size,
            **({} if summary.tokens is None else {"tokens": asdict(summary.tokens)}),
            **({"command": command["line"]} if (command := command_event()) else {}),
        )
    except DataError as error:  # the descriptions are safe; a missing estimate is not worth a failure
        _log.warning("the rate of this run could not be recorded: %s", error)


def _last_rate(store: Path, engine: Engine) -> float | None:
    events = read_events(_events_file(store)).named(_DESCRIBED)
    rates = [event["done"] / event["seconds"] for event in events if _has_rate(event, engine.name)]
    return rates[-1] if rates else None


def _has_rate(event: dict[str, Any], engine: str) -> bool:
    numbers = (event.get("done"), event.get("seconds"))
    return event.get("engine") == engine and all(isinstance(n, int | float) and n > 0 for n in numbers)


def _events_file(store: Path) -> Path:
    return store.with_name(f"{store.name}.events.jsonl")


# --- The audit -----------------------------------------------------------------------------------------


def audit_descriptions(experiment: Experiment, splits: Sequence[str] | None = None) -> DescriptionAudit:
    """Audits the descriptions of these splits (all by default): are they fit to learn from?

    The audit compares descriptions with labels, which no engine sees. The result is also written to the run
    directory.
    """
    from mien.evaluate.descriptions.description_audit import write_audit

    with lock_run(experiment.out, shared=True):  # descriptions may be written at the same time
        result = _audit_descriptions(experiment, splits or experiment.dataset.splits)
        write_audit(experiment.out, result)
    return result


def _audit_descriptions(experiment: Experiment, splits: Sequence[str]) -> DescriptionAudit:
    from mien.evaluate.descriptions.description_audit import AuditRow, audit_texts

    rows: list[AuditRow] = []
    all_failures: list[Failure] = []
    for split in splits:
        samples = experiment.samples(split)
        found = find_descriptions(experiment, samples)
        all_failures += found.failures
        for sample in samples:
            item = found.descriptions.get(sample.subject.id)
            rows.append(
                AuditRow(
                    id=sample.subject.id,
                    text=None if item is None else item.text,
                    finish=None if item is None else item.finish,
                    gold=None if sample.target is None else sample.target.labels,
                )
            )
    return audit_texts(experiment.dataset.label_set, rows, failures=all_failures)


def audit_file(path: Path, label_set_name: str) -> DescriptionAudit:
    """Audits descriptions without a recipe: JSON Lines with "id", "text" (or "description") and "label"."""
    from mien.evaluate.descriptions.description_audit import audit_texts
    from mien.labels import label_set

    return audit_texts(label_set(label_set_name), _read_rows(path, _LABEL_ALIASES.get(label_set_name, {})))


def _read_rows(path: Path, label_aliases: Mapping[str, str]) -> list[AuditRow]:
    rows = []
    try:
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            if line.strip():
                rows.append(_parse_row(path, number, line, label_aliases))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="give a file of JSON Lines"
        ) from error
    return rows


def _parse_row(path: Path, number: int, line: bytes, label_aliases: Mapping[str, str]) -> AuditRow:
    from mien.evaluate.descriptions.description_audit import AuditRow

    try:
        row = json.loads(line.decode("utf-8-sig"))
        text, label = row.get("text", row.get("description")), row.get("label")
        labels = [label] if isinstance(label, str) else label
        gold = None if labels is None else {label_aliases.get(name, name): 1.0 for name in labels}
        return AuditRow(id=str(row["id"]), text=None if text is None else str(text), gold=gold)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"line {number} of {path} is not a description: {error!r}",
            hint='a line looks like {"id": "a", "text": "The person appears calm.", "label": "Neutral"}',
        ) from error
