"""Results: scores with their intervals and chance levels, differences between models, rows of labels.

Goes in: the `SplitScores` of one training seed or several. Comes out: rows.
Knows nothing about: how the scores were made, or how rows are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mien.errors import DataError
from mien.evaluate.bootstrap import (
    RESAMPLES,
    Interval,
    difference,
    interval,
    intervals,
    label_intervals,
)
from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.calibration.thresholds import decide
from mien.evaluate.metrics.average_precision import interpolated_precisions, tail_labels
from mien.evaluate.metrics.by_label import f1_scores, predicted_labels, roc_areas, true_labels
from mien.evaluate.metrics.dimensions import explained
from mien.evaluate.metrics.metric_inputs import asked_of, metrics_of
from mien.evaluate.metrics.table import METRICS, Metric, chance, metric, positives
from mien.evaluate.results.results import (
    FEW,
    CalibrationRow,
    Difference,
    DimensionRow,
    LabelRow,
    Look,
    ResultRow,
    Results,
)
from mien.evaluate.results.results_file import EVALUATION, RESULTS, read_results, write_results
from mien.evaluate.scores import SplitScores
from mien.types import DIMENSIONS

__all__ = [
    "EVALUATION",
    "FEW",
    "RESULTS",
    "CalibrationRow",
    "Difference",
    "DimensionRow",
    "LabelRow",
    "Look",
    "ResultRow",
    "Results",
    "calibration_rows",
    "compare",
    "dimension_rows",
    "label_rows",
    "read_results",
    "score_rows",
    "write_results",
]


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
    label_set = first.label_set
    wanted = metrics_of("auto", runs) if metrics == "auto" else metrics
    asked = [asked_of(metric(one, label_set), runs) for one in wanted]
    found = intervals(asked, groups=first.groups, resamples=resamples)
    return tuple(
        ResultRow(
            name=name,
            metric=item.metric.name,
            split=first.split,
            **_bounds(one),
            chance=chance(item.metric.name, item.targets, exclusive=label_set.exclusive),
            n=len(first),
            seeds=tuple(seeds),
            labels=_num_labels(item.metric, first),
        )
        for item, one in zip(asked, found, strict=True)
    )


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
    here, there = asked_of(item, a[1]), asked_of(item, b[1])
    found = difference(
        item, here.scores, there.scores, here.targets, groups=first.groups, resamples=resamples
    )
    return Difference(a=a[0], b=b[0], metric=item.name, split=first.split, **_bounds(found))


def label_rows(
    runs: Sequence[SplitScores],
    *,
    name: str = "",
    resamples: int = RESAMPLES,
    calibration: Calibration | None = None,
) -> tuple[LabelRow, ...]:
    """Every label by itself, the mean over `runs`; labels without a positive sample are left out, and all
    of a model that does not estimate labels.

    `calibration`: of the only run, for its thresholds.
    """
    first = _same_samples(runs)
    if not all(run.has_labels for run in runs):
        return ()
    counts = positives(first.targets).sum(axis=0)
    found = label_intervals(
        [run.scores for run in runs], first.targets, groups=first.groups, resamples=resamples
    )
    more = _more_of_labels(runs, calibration)
    return tuple(
        LabelRow(
            label=label,
            split=first.split,
            value=one.value,
            low=None if counts[at] < FEW else one.low,
            high=None if counts[at] < FEW else one.high,
            prevalence=float(counts[at] / len(first)),
            positives=int(counts[at]),
            name=name,
            n=len(first),
            **{field: _number(values[at]) for field, values in more.items()},
        )
        for at, (label, one) in enumerate(zip(first.label_set.labels, found, strict=True))
        if one is not None
    )


def dimension_rows(
    runs: Sequence[SplitScores], *, name: str = "", resamples: int = RESAMPLES
) -> tuple[DimensionRow, ...]:
    """Valence, arousal and dominance each by itself, so far as they were estimated and annotated."""
    first = _same_samples(runs)
    if not all(run.has_dimensions for run in runs) or first.dimension_targets is None:
        return ()
    known = np.isfinite(first.dimension_targets).sum(axis=0)
    rows = []
    for at in np.flatnonzero(known):
        targets = first.dimension_targets[:, [at]]
        answers = [run.dimensions[:, [at]] for run in runs if run.dimensions is not None]
        found = interval(METRICS["vad_mae"], answers, targets, groups=first.groups, resamples=resamples)
        rows.append(
            DimensionRow(
                name=name,
                dimension=DIMENSIONS[at],
                split=first.split,
                **_bounds(found),
                chance=chance("vad_mae", targets),
                r2=_number(np.mean([explained(one, targets)[0] for one in answers])),
                n=int(known[at]),
            )
        )
    return tuple(rows)


def calibration_rows(
    scores: SplitScores, calibration: Calibration, *, name: str = "", resamples: int = RESAMPLES
) -> tuple[CalibrationRow, ...]:
    """What a calibration changes on a split other than its own; nothing on that one, where it is fitted."""
    if scores.split == calibration.split:
        return ()
    calibrated = calibration.apply(scores.scores)
    pairs = {"ECE": (scores.scores, calibrated), "Brier": (scores.scores, calibrated)}
    if calibration.thresholds is not None:
        pairs["macro_f1"] = (scores.scores, decide(calibrated, np.array(calibration.thresholds)))
    rows = []
    for item, (before, after) in ((metric(one, scores.label_set), pairs[one]) for one in pairs):
        found = difference(item, [after], [before], scores.targets, groups=scores.groups, resamples=resamples)
        rows.append(
            CalibrationRow(
                name=name,
                metric=item.name,
                split=scores.split,
                before=item.function(before, scores.targets),
                after=item.function(after, scores.targets),
                low=found.low,
                high=found.high,
                fitted_on=calibration.split,
                n=len(scores),
            )
        )
    return tuple(rows)


def _more_of_labels(
    runs: Sequence[SplitScores], calibration: Calibration | None
) -> dict[str, Sequence[float]]:
    """Values without an interval, by field of `LabelRow`; NaN where one is not defined."""
    exclusive, targets = runs[0].label_set.exclusive, runs[0].targets
    truth = true_labels(targets, exclusive=exclusive)
    found = {
        "ap_emotic": [interpolated_precisions(run.scores, targets) for run in runs],
        "auc": [roc_areas(run.scores, targets) for run in runs],
        "f1": [f1_scores(predicted_labels(run.scores, exclusive=exclusive), truth) for run in runs],
    }
    if calibration is not None and calibration.thresholds is not None:
        thresholds = np.array(calibration.thresholds)
        found["threshold"] = [thresholds]
        found["f1_at_threshold"] = [
            f1_scores(decide(calibration.apply(run.scores), thresholds) > 0, truth) for run in runs
        ]
    return {field: np.mean(values, axis=0).tolist() for field, values in found.items()}


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


def _num_labels(item: Metric, of: SplitScores) -> int | None:
    """Over how many labels the metric is taken."""
    if item.name == "mAP_tail":
        return len(tail_labels(of.targets))
    return int(positives(of.targets).any(axis=0).sum()) if item.of_labels else None


def _bounds(found: Interval) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
