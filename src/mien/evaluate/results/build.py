"""Builds the rows of results from the scores of one training seed or several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mien.errors import DataError
from mien.evaluate.bootstrap import (
    INTERVAL_KIND,
    MIN_IMAGES,
    RESAMPLES,
    Interval,
    difference,
    interval,
    intervals,
    label_intervals,
)
from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.calibration.thresholds import decide
from mien.evaluate.metrics.classification import f1_by_label, predicted_labels, true_labels
from mien.evaluate.metrics.dimensions import VAD_MAE, r2_by_dimension
from mien.evaluate.metrics.metric import unit_weight
from mien.evaluate.metrics.metric_inputs import MetricInput, select_metrics
from mien.evaluate.metrics.ranking import ranking_values
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.metrics.targets import positives
from mien.evaluate.results.results import (
    MIN_POSITIVES,
    CalibrationRow,
    Difference,
    DimensionRow,
    Evaluation,
    LabelRow,
    ResultRow,
)
from mien.evaluate.scores import SplitScores
from mien.types import DIMENSIONS

__all__ = [
    "build_calibration_rows",
    "build_difference",
    "build_dimension_rows",
    "build_label_rows",
    "build_score_rows",
    "describe_intervals",
    "mark_uncalibrated",
    "require_same_samples",
]

log = logging.getLogger(__name__)


def build_score_rows(
    name: str,
    runs: Sequence[SplitScores],
    *,
    seeds: Sequence[int],
    metrics: Literal["auto"] | Sequence[str] = "auto",
    resamples: int = RESAMPLES,
) -> tuple[ResultRow, ...]:
    """One row per metric for the model `name`; `runs` are its scores on one split, one per training seed.

    Metrics that these samples do not determine are omitted, with a warning in the log; DataError if all are.
    """
    first = require_same_samples(runs)
    names = select_metrics("auto", runs) if metrics == "auto" else metrics
    items = _defined(
        [MetricInput.from_runs(resolve_metric(one, first.label_set), runs) for one in names], first.split
    )
    found = intervals(items, groups=first.groups, resamples=resamples)
    return tuple(
        ResultRow(
            name=name,
            metric=item.metric.name,
            split=first.split,
            **_bounds(one),
            chance=item.metric.chance(item.targets),
            n=len(first),
            seeds=tuple(seeds),
            labels=len(item.metric.rated_labels(first.targets)) if item.metric.reads_labels else None,
        )
        for item, one in zip(items, found, strict=True)
    )


def describe_intervals(scores: SplitScores) -> Evaluation:
    """Of which kind the intervals of a split are, and why they are approximate or missing."""
    split, images = scores.split, len(set(scores.groups))
    if images == 1:
        reason = f"no intervals on {split}: it has one image, and an interval comes from resampling images"
        return Evaluation(notes=(reason,))
    if images < MIN_IMAGES:
        reason = f"intervals on {split} are approximate: it has {images} images, and 95 % needs {MIN_IMAGES}"
        return Evaluation(interval=INTERVAL_KIND, approximate=(split,), notes=(reason,))
    return Evaluation(interval=INTERVAL_KIND)


def mark_uncalibrated(names: Sequence[str]) -> Evaluation:
    """Says of models that score without training and were not calibrated what their scores do not say."""
    return Evaluation(
        uncalibrated=tuple(names),
        notes=tuple(
            f"{name} is uncalibrated: its scores rank labels and people, and are not probabilities"
            for name in names
        ),
    )


def build_difference(
    a: tuple[str, Sequence[SplitScores]],
    b: tuple[str, Sequence[SplitScores]],
    *,
    metric: str,
    resamples: int = RESAMPLES,
) -> Difference:
    """Model a minus model b, each as its name and its scores on one split, one per training seed."""
    first = require_same_samples((*a[1], *b[1]))
    item = resolve_metric(metric, first.label_set)
    found = difference(
        MetricInput.from_runs(item, a[1]),
        MetricInput.from_runs(item, b[1]),
        groups=first.groups,
        resamples=resamples,
    )
    return Difference(a=a[0], b=b[0], metric=item.name, split=first.split, **_bounds(found))


def build_label_rows(
    runs: Sequence[SplitScores],
    *,
    name: str = "",
    resamples: int = RESAMPLES,
    calibration: Calibration | None = None,
) -> tuple[LabelRow, ...]:
    """One row per label that some sample has, the mean over `runs`.

    `calibration` is that of the only run, for its thresholds. A model that predicts no labels has no rows.
    """
    first = require_same_samples(runs)
    if not all(run.has_labels for run in runs):
        return ()
    counts = positives(first.targets).sum(axis=0)
    found = label_intervals(
        first.targets, [run.scores for run in runs], groups=first.groups, resamples=resamples
    )
    values = _label_values(runs, calibration)
    return tuple(
        LabelRow(
            label=label,
            split=first.split,
            value=one.value,
            low=None if counts[index] < MIN_POSITIVES else _number_or_none(one.low),
            high=None if counts[index] < MIN_POSITIVES else _number_or_none(one.high),
            prevalence=float(counts[index] / len(first)),
            positives=int(counts[index]),
            name=name,
            n=len(first),
            train_size=None,
            **{field: _number_or_none(of_labels[index]) for field, of_labels in values.items()},
        )
        for index, (label, one) in enumerate(zip(first.label_set.labels, found, strict=True))
        if one is not None
    )


def build_dimension_rows(
    runs: Sequence[SplitScores], *, name: str = "", resamples: int = RESAMPLES
) -> tuple[DimensionRow, ...]:
    """One row per dimension that was predicted and annotated: valence, arousal, dominance."""
    first = require_same_samples(runs)
    if not all(run.has_dimensions for run in runs) or first.dimension_targets is None:
        return ()
    known = np.isfinite(first.dimension_targets).sum(axis=0)
    weight = unit_weight(len(first))
    rows = []
    for index in np.flatnonzero(known):
        targets = first.dimension_targets[:, [index]]
        values = [run.dimensions[:, [index]] for run in runs if run.dimensions is not None]
        item = MetricInput(metric=VAD_MAE, targets=targets, scores=values)
        rows.append(
            DimensionRow(
                name=name,
                dimension=DIMENSIONS[index],
                split=first.split,
                **_bounds(interval(item, groups=first.groups, resamples=resamples)),
                chance=VAD_MAE.chance(targets),
                r2=_number_or_none(np.mean([r2_by_dimension(targets, one, weight)[0, 0] for one in values])),
                n=int(known[index]),
            )
        )
    return tuple(rows)


def build_calibration_rows(
    scores: SplitScores, calibration: Calibration, *, name: str = "", resamples: int = RESAMPLES
) -> tuple[CalibrationRow, ...]:
    """What a calibration changes, one row per metric; none on the split it was fitted on."""
    if scores.split == calibration.split:
        return ()
    calibrated = calibration.apply(scores.scores)
    after = {"ECE": calibrated, "Brier": calibrated}
    if calibration.thresholds is not None:
        after["macro_f1"] = decide(calibrated, np.array(calibration.thresholds))
    rows = []
    for metric_name, changed in after.items():
        metric = resolve_metric(metric_name, scores.label_set)
        before_item, after_item = (
            MetricInput(metric=metric, targets=scores.targets, scores=[one])
            for one in (scores.scores, changed)
        )
        if not (before_item.is_defined and after_item.is_defined):
            continue
        found = difference(after_item, before_item, groups=scores.groups, resamples=resamples)
        rows.append(
            CalibrationRow(
                name=name,
                metric=metric.name,
                split=scores.split,
                before=before_item.value(),
                after=after_item.value(),
                low=_number_or_none(found.low),
                high=_number_or_none(found.high),
                fitted_on=calibration.split,
                n=len(scores),
            )
        )
    return tuple(rows)


def _label_values(
    runs: Sequence[SplitScores], calibration: Calibration | None
) -> Mapping[str, Sequence[float]]:
    """Values without an interval, by field of `LabelRow`; NaN where one is not defined."""
    exclusive, targets = runs[0].label_set.exclusive, runs[0].targets
    truth, weight = true_labels(targets, exclusive=exclusive), unit_weight(len(targets))
    ranked = [ranking_values(targets, run.scores, weight) for run in runs]
    found = {
        "ap_emotic": [values.interpolated_precision for values in ranked],
        "auc": [values.roc_auc for values in ranked],
        "f1": [f1_by_label(truth, predicted_labels(run.scores, exclusive=exclusive), weight) for run in runs],
    }
    if calibration is not None and calibration.thresholds is not None:
        thresholds = np.array(calibration.thresholds)
        found["threshold"] = [thresholds[:, None]]
        found["f1_at_threshold"] = [
            f1_by_label(truth, decide(calibration.apply(run.scores), thresholds) > 0, weight) for run in runs
        ]
    return {field: np.mean(values, axis=0)[:, 0].tolist() for field, values in found.items()}


def _defined(items: Sequence[MetricInput], split: str) -> list[MetricInput]:
    """The metrics that these samples determine; logs the others. DataError if there are only others."""
    defined = [item for item in items if item.is_defined]
    if items and not defined:
        items[0].value()  # raises
    for item in items:
        if item not in defined:
            log.warning(
                "omitted on %r: %s is not defined, %s", split, item.metric.name, item.metric.undefined
            )
    return defined


def require_same_samples(runs: Sequence[SplitScores]) -> SplitScores:
    """The first of the runs; DataError if they are not of the same samples, labels and targets."""
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


def _bounds(found: Interval) -> dict[str, Any]:
    return {
        "value": found.value,
        "low": _number_or_none(found.low),
        "high": _number_or_none(found.high),
    }


def _number_or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
