"""What the descriptions of a recipe's subjects are: which are there, which are missing, what they are worth.

In: an experiment. Out: counts, estimates, an audit; and descriptions that were made elsewhere, taken in.
Knows nothing about: printing, the environment, how any room works. Describing itself is in `pipeline`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.describe.engine import Engine
from mien.describe.preflight import SAMPLE, Preflight, Rates, look_ahead
from mien.describe.progress import DescribeSummary
from mien.describe.requests import Questioner
from mien.describe.shards import Shard
from mien.describe.store.imported import ForeignEngine, Imported, import_answers
from mien.describe.store.status import Stock, outcomes, take_stock
from mien.describe.store.store import Store
from mien.errors import ConfigError, DataError
from mien.runs import append_event, read_events
from mien.types import Failure, Subject
from mien.workflow.experiment import Experiment, find_descriptions

if TYPE_CHECKING:
    from mien.evaluate.descriptions.description_audit import WordsAudit, WordsRow

__all__ = [
    "audit",
    "audit_answers",
    "estimate",
    "failures_of",
    "import_file",
    "note_rate",
    "preflight",
    "require_imported",
    "status",
    "store_of",
    "subjects_in",
]

_log = logging.getLogger(__name__)
_DESCRIBED: Final = "described"
_FOREIGN: Final = "foreign"
# Copies of CAER-S that go round name one folder, and so one label, in another way.
_ALIASES: Final = {"caers": {"Angry": "Anger"}}


def store_of(experiment: Experiment, shard: Shard | None) -> Path:
    """The file of descriptions that a run, or one shard of it, writes."""
    return experiment.store if shard is None else shard.store(experiment.store)


def subjects_in(
    experiment: Experiment, splits: Sequence[str] | None = None, shard: Shard | None = None
) -> Iterator[Subject]:
    """The subjects of these splits (all by default). From here on nobody who describes sees a label."""
    for split in splits or experiment.dataset.splits:
        for sample in experiment.dataset.samples(split):
            if shard is None or shard.holds(sample.subject):
                yield sample.subject


def failures_of(
    experiment: Experiment, splits: Sequence[str] | None = None, shard: Shard | None = None
) -> tuple[Failure, ...]:
    """The subjects of these splits (all by default), or of a shard of them, that could not be described."""
    with _reading(store_of(experiment, shard)) as store:
        found = outcomes(
            subjects_in(experiment, splits, shard), questioner=Questioner(**experiment.asking), store=store
        )
        # Two subjects may share a question, and so a failure.
        return tuple(
            replace(outcome, subject_id=subject.id)
            for subject, outcome in found
            if isinstance(outcome, Failure)
        )


def status(experiment: Experiment, splits: Sequence[str] | None = None) -> dict[str, Stock]:
    """Of each split, how many subjects are described, failed, or missing."""
    questioner = Questioner(**experiment.asking)
    with _reading(experiment.store) as store:
        return {
            split: take_stock(subjects_in(experiment, [split]), questioner=questioner, store=store)
            for split in splits or experiment.dataset.splits
        }


def preflight(
    experiment: Experiment,
    *,
    splits: Sequence[str] | None = None,
    shard: Shard | None = None,
    retry_failed: bool = False,
) -> Preflight:
    """What describing would take, every subject counted; nothing is written."""
    with _reading(store_of(experiment, shard)) as store:
        chosen = subjects_in(experiment, splits, shard)
        return estimate(
            experiment, chosen, experiment.asking, store, shard, retry_failed=retry_failed, sample=None
        )


def estimate(
    experiment: Experiment,
    subjects: Iterable[Subject],
    asking: Mapping[str, Any],
    store: Store | None,
    shard: Shard | None,
    *,
    retry_failed: bool,
    sample: int | None = SAMPLE,
) -> Preflight:
    """What describing these subjects will take; at most `sample` of them are looked up (None: all)."""
    recipe, path = experiment.recipe, store_of(experiment, shard)
    engine: Engine = asking["engine"]
    return look_ahead(
        subjects,
        questioner=Questioner(**asking),
        store=store,
        path=path,
        rates=Rates(
            image_size=engine.image_size,
            max_new_tokens=recipe.describe.max_new_tokens,
            per_second=_last_rate(path, engine),
            price=recipe.run.price_per_million_tokens,
        ),
        retry_failed=retry_failed,
        sample=sample,
    )


@contextmanager
def _reading(path: Path) -> Iterator[Store | None]:
    """A store to read, or None where there is none yet."""
    if not path.exists():
        yield None
        return
    with Store(path, writable=False) as store:
        yield store


def import_file(experiment: Experiment, path: Path) -> Imported:
    """Takes descriptions from a file of JSON lines with id and text; ConfigError for another engine."""
    if experiment.recipe.describe.engine != _FOREIGN:
        raise ConfigError(
            f"the recipe's engine is {experiment.recipe.describe.engine!r}, which makes its own descriptions",
            hint='set describe.engine = "foreign" and describe.options.name to what made them',
        )
    with Store(experiment.store) as store:
        return import_answers(
            path, subjects_in(experiment), questioner=Questioner(**experiment.asking), store=store
        )


def require_imported(experiment: Experiment, splits: Sequence[str] | None = None) -> None:
    """EngineError if the recipe's descriptions are made elsewhere and some of them are not here yet."""
    recipe = experiment.recipe
    if recipe.describe.engine == _FOREIGN:
        missing = sum(stock.missing for stock in status(experiment, splits).values())
        if missing:
            raise ForeignEngine.open(recipe.describe, recipe.run).refusal(missing)


# --- How fast it went ----------------------------------------------------------------------------------


def note_rate(store: Path, engine: Engine, summary: DescribeSummary) -> None:
    """Keeps beside the store how fast an engine was, for the estimate of the next run."""
    if not summary.done:
        return
    try:
        append_event(
            _events(store),
            _DESCRIBED,
            engine=engine.name,
            done=summary.done,
            seconds=round(summary.seconds, 3),
        )
    except OSError as error:  # the descriptions are safe; an estimate is not worth a failure
        _log.warning("the rate of this run could not be kept: %s", error)


def _last_rate(store: Path, engine: Engine) -> float | None:
    events = read_events(_events(store)).named(_DESCRIBED)
    rates = [event["done"] / event["seconds"] for event in events if _tells(event, engine.name)]
    return rates[-1] if rates else None


def _tells(event: dict[str, Any], engine: str) -> bool:
    numbers = (event.get("done"), event.get("seconds"))
    return event.get("engine") == engine and all(isinstance(n, int | float) and n > 0 for n in numbers)


def _events(store: Path) -> Path:
    return store.with_name(f"{store.name}.events.jsonl")


# --- The words -----------------------------------------------------------------------------------------


def audit(experiment: Experiment, splits: Sequence[str] | None = None) -> WordsAudit:
    """Whether the descriptions of these splits (all by default) are fit to be learned from.

    Sees labels, as nobody does who describes; what is found is kept in the run directory.
    """
    from mien.evaluate.descriptions.description_audit import WordsRow, audit_words, write_words

    rows: list[WordsRow] = []
    failures: list[Failure] = []
    for split in splits or experiment.dataset.splits:
        samples = experiment.samples(split)
        found = find_descriptions(experiment, samples)
        failures += found.failures
        for sample in samples:
            item = found.descriptions.get(sample.subject.id)
            rows.append(
                WordsRow(
                    id=sample.subject.id,
                    text=None if item is None else item.text,
                    finish=None if item is None else item.finish,
                    gold=None if sample.target is None else sample.target.labels,
                )
            )
    result = audit_words(experiment.dataset.label_set, rows, failures=failures)
    experiment.out.mkdir(parents=True, exist_ok=True)
    write_words(experiment.out, result)
    return result


def audit_answers(path: Path, labels: str) -> WordsAudit:
    """The same without a recipe: of JSON lines with id, text (or description) and label."""
    from mien.evaluate.descriptions.description_audit import audit_words
    from mien.labels import label_set

    return audit_words(label_set(labels), _answers(path, _ALIASES.get(labels, {})))


def _answers(path: Path, aliases: Mapping[str, str]) -> list[WordsRow]:
    rows = []
    try:
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            if line.strip():
                rows.append(_answer(path, number, line, aliases))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="give a file of JSON lines"
        ) from error
    return rows


def _answer(path: Path, number: int, line: bytes, aliases: Mapping[str, str]) -> WordsRow:
    from mien.evaluate.descriptions.description_audit import WordsRow

    try:
        row = json.loads(line.decode("utf-8-sig"))
        text, label = row.get("text", row.get("description")), row.get("label")
        labels = [label] if isinstance(label, str) else label
        gold = None if labels is None else {aliases.get(name, name): 1.0 for name in labels}
        return WordsRow(id=str(row["id"]), text=None if text is None else str(text), gold=gold)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"line {number} of {path} is no answer: {error!r}",
            hint='a line looks like {"id": "a", "text": "The person appears calm.", "label": "Neutral"}',
        ) from error
