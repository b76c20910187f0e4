"""Results: scores with their intervals and chance levels, differences between models, one row a label.

Goes in: the `SplitScores` of one training seed or several. Comes out: rows, and the JSON file of them.
Knows nothing about: how the scores were made, or how rows are shown.

The same format serves one run (`evaluation.json`) and a comparison of many (`results.json`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from mien.errors import DataError, RunError
from mien.evaluate.bootstrap import RESAMPLES, Interval, difference, interval, label_intervals
from mien.evaluate.metrics import Metric, chance, default_metrics, metric, positives
from mien.evaluate.scores import SplitScores
from mien.runs import atomic_write_json

__all__ = [
    "EVALUATION",
    "FEW",
    "RESULTS",
    "Difference",
    "LabelRow",
    "ResultRow",
    "Results",
    "compare",
    "label_rows",
    "read_results",
    "score_rows",
    "write_results",
]

EVALUATION: Final = "evaluation.json"
RESULTS: Final = "results.json"
FEW: Final = 5
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One model's score on one split: the mean over `seeds`, its 95 % interval, the chance level, n samples.

    `labels` is how many labels count: those that some sample of the split has.
    """

    name: str
    metric: str
    split: str
    value: float
    low: float
    high: float
    chance: float
    n: int
    seeds: tuple[int, ...]
    labels: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Score of `a` minus score of `b` on the same samples, with its paired 95 % interval."""

    a: str
    b: str
    metric: str
    split: str
    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True where the whole interval lies on one side of zero: the difference is there."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """Average precision of one label by the model `name`, and its prevalence, which is its chance level.

    Where fewer than `FEW` samples have the label, resampling them says nothing, and there is no interval.
    """

    label: str
    split: str
    value: float
    low: float | None
    high: float | None
    prevalence: float
    positives: int
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a results file holds."""

    rows: tuple[ResultRow, ...] = ()
    differences: tuple[Difference, ...] = ()
    labels: tuple[LabelRow, ...] = ()


# --- Making ------------------------------------------------------------------------------------------


def score_rows(
    name: str,
    runs: Sequence[SplitScores],
    *,
    seeds: Sequence[int],
    metrics: Literal["auto"] | Sequence[str] = "auto",
    resamples: int = RESAMPLES,
) -> tuple[ResultRow, ...]:
    """One row a metric for the model `name`; `runs` are its scores on one split, one a training seed."""
    first = _same_samples(runs)
    with_dimensions = all(run.has_dimensions for run in runs)
    wanted = default_metrics(first.label_set, dimensions=with_dimensions) if metrics == "auto" else metrics
    rows = []
    for item in (metric(one, first.label_set) for one in wanted):
        answers, targets = _columns(item, runs)
        found = interval(item, answers, targets, groups=first.groups, resamples=resamples)
        rows.append(
            ResultRow(
                name=name,
                metric=item.name,
                split=first.split,
                **_bounds(found),
                chance=chance(item.name, targets),
                n=len(first),
                seeds=tuple(seeds),
                labels=int(positives(first.targets).any(axis=0).sum()) if item.of_labels else None,
            )
        )
    return tuple(rows)


def compare(
    a: tuple[str, Sequence[SplitScores]],
    b: tuple[str, Sequence[SplitScores]],
    *,
    metric_name: str,
    resamples: int = RESAMPLES,
) -> Difference:
    """Model a minus model b, each as its name and its scores on one split, one a training seed."""
    first = _same_samples((*a[1], *b[1]))
    item = metric(metric_name, first.label_set)
    here, targets = _columns(item, a[1])
    there, _ = _columns(item, b[1])
    found = difference(item, here, there, targets, groups=first.groups, resamples=resamples)
    return Difference(a=a[0], b=b[0], metric=item.name, split=first.split, **_bounds(found))


def label_rows(
    runs: Sequence[SplitScores], *, name: str = "", resamples: int = RESAMPLES
) -> tuple[LabelRow, ...]:
    """Average precision by label, the mean over `runs`; labels without a positive sample are left out."""
    first = _same_samples(runs)
    truth = positives(first.targets)
    found = label_intervals(
        [run.scores for run in runs], first.targets, groups=first.groups, resamples=resamples
    )
    counts = truth.sum(axis=0)
    return tuple(
        LabelRow(
            label=label,
            split=first.split,
            value=one.value,
            low=None if count < FEW else one.low,
            high=None if count < FEW else one.high,
            prevalence=float(count / len(first)),
            positives=int(count),
            name=name,
        )
        for label, one, count in zip(first.label_set.labels, found, counts, strict=True)
        if one is not None
    )


def _same_samples(runs: Sequence[SplitScores]) -> SplitScores:
    if not runs:
        raise DataError("no scores to evaluate", hint="give the scores of at least one seed")
    first = runs[0]
    for run in runs[1:]:
        same = run.ids == first.ids and run.label_set == first.label_set and run.split == first.split
        if not (same and np.array_equal(run.targets, first.targets)):
            raise DataError(
                f"scores of {len(run)} and {len(first)} samples are not of the same samples and targets",
                hint="compare models on the same split of the same data",
            )
    return first


def _columns(item: Metric, runs: Sequence[SplitScores]) -> tuple[list[np.ndarray], np.ndarray]:
    if not item.of_dimensions:
        return [run.scores for run in runs], runs[0].targets
    answers = [_answers(item, run, run.dimensions) for run in runs if run.dimensions is not None]
    if len(answers) < len(runs) or runs[0].dimension_targets is None:
        raise DataError(
            f"{item.name} needs valence, arousal and dominance, which the model does not estimate",
            hint="train it with [train] dimensions = true, or take the metric out of [evaluate] metrics",
        )
    if not item.of_labels:
        return answers, runs[0].dimension_targets
    return answers, np.concatenate((runs[0].targets, runs[0].dimension_targets), axis=1)


def _answers(item: Metric, run: SplitScores, dimensions: np.ndarray) -> np.ndarray:
    """The dimensions alone, or behind the labels' scores."""
    return np.concatenate((run.scores, dimensions), axis=1) if item.of_labels else dimensions


def _bounds(found: Interval) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}


# --- Files -------------------------------------------------------------------------------------------


def write_results(path: Path, results: Results) -> None:
    """Writes `{"schema": 1, "rows": [...], "differences": [...], "labels": [...]}`."""
    atomic_write_json(path, {"schema": _SCHEMA, **asdict(results)})


def read_results(path: Path) -> Results:
    """What is in a results file; keys that are not known here are left aside. RunError if damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != _SCHEMA:
            raise ValueError(f"schema {found['schema']!r}, not {_SCHEMA}")
        return Results(
            rows=tuple(_row(item) for item in found["rows"]),
            differences=tuple(Difference(**_known(Difference, item)) for item in found["differences"]),
            labels=tuple(LabelRow(**_known(LabelRow, item)) for item in found.get("labels", ())),
        )
    except FileNotFoundError as error:
        raise RunError(f"no results at {path}", hint="make them with mien evaluate") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read: {error}", hint="make it again with mien evaluate") from error


def _row(item: dict[str, Any]) -> ResultRow:
    known = _known(ResultRow, item)
    return ResultRow(**{**known, "seeds": tuple(known["seeds"])})


def _known(kind: type[ResultRow | Difference | LabelRow], item: dict[str, Any]) -> dict[str, Any]:
    return {field.name: item[field.name] for field in fields(kind) if field.name in item}
