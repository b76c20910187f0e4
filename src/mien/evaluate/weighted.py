"""The metrics once more, for many resamples at once.

Goes in: scores, targets, and how often each sample occurs in each resample. Comes out: the metric of
every resample, equal to the plain metric of a split in which samples are repeated that often.
Knows nothing about: how resamples are drawn, or what is done with the values.

The scores are sorted once for all resamples, not once for each: a matter of a blink instead of minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from mien.evaluate.dimensions import mean_r2, vad_mae
from mien.evaluate.metrics import (
    POSITIVE,
    Metric,
    MetricFunction,
    accuracy,
    emotion_recognition_score,
    macro_f1,
    macro_f1_at_half,
    mean_average_precision,
    mean_roc_auc,
    positives,
    true_classes,
)
from mien.types import DIMENSIONS

__all__ = ["Resampled", "Weights", "resampled", "resampled_average_precisions"]

Values = Float[np.ndarray, "sample column"]
Weights = Float32[np.ndarray, "sample resample"]
Resampled = Float64[np.ndarray, " resample"]


def resampled(metric: Metric, scores: Values, targets: Values, weights: Weights) -> Resampled:
    """The metric of each resample; NaN where it is not defined, as mAP is not without any positive."""
    if metric.function in _AT_ONCE:
        return _AT_ONCE[metric.function](scores, targets, weights)
    return _one_by_one(metric.function, scores, targets, weights)


def _one_by_one(function: MetricFunction, scores: Values, targets: Values, weights: Weights) -> Resampled:
    """Any other metric, slowly."""
    times = weights.T.astype(np.int64)
    rows = np.arange(len(scores))
    chosen = (np.repeat(rows, count) for count in times)
    return np.array([function(scores[rows], targets[rows]) for rows in chosen])


def resampled_average_precisions(
    scores: Values, targets: Values, weights: Weights
) -> Float64[np.ndarray, "label resample"]:
    """Average precision of each label in each resample; NaN where no sample of a resample has the label."""
    truth = positives(targets)
    values = np.full((truth.shape[1], weights.shape[1]), np.nan)
    for label in np.flatnonzero(truth.any(axis=0)):
        values[label] = _average_precision(scores[:, label], truth[:, label], weights)
    return values


def _mean_average_precision(scores: Values, targets: Values, weights: Weights) -> Resampled:
    values = resampled_average_precisions(scores, targets, weights)
    return _divide(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0), otherwise=np.nan)


def _average_precision(
    scores: Float[np.ndarray, " sample"], truth: Bool[np.ndarray, " sample"], weights: Weights
) -> Resampled:
    """Sum over the thresholds at which positives are found: their share, times the precision there."""
    order = np.argsort(-scores, kind="stable")
    hits = np.flatnonzero(truth[order])
    # Samples of equal score stand or fall together: each hit counts where its group of equals ends.
    ends, first_hits = np.unique(_ends_of_equals(scores[order])[hits], return_index=True)
    found = np.add.reduceat(weights[order[hits]], first_hits, axis=0).astype(np.float64)  # threshold resample
    starts = np.concatenate(([0], ends[:-1] + 1))
    passed = np.add.reduceat(weights[order[: ends[-1] + 1]], starts, axis=0).astype(np.float64)
    precision = _divide(np.cumsum(found, axis=0), np.cumsum(passed, axis=0), otherwise=0.0)
    return _divide((found * precision).sum(axis=0), found.sum(axis=0), otherwise=np.nan)


def _ends_of_equals(ordered: Float[np.ndarray, " sample"]) -> Int[np.ndarray, " sample"]:
    """For each place in a sorted array, the last place that holds the same value."""
    last = np.append(ordered[1:] != ordered[:-1], True)
    ends = np.flatnonzero(last)
    found: np.ndarray = ends[np.searchsorted(ends, np.arange(len(ordered)))]
    return found


def _mean_roc_auc(scores: Values, targets: Values, weights: Weights) -> Resampled:
    truth = positives(targets)
    mixed = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
    if not len(mixed):
        return np.full(weights.shape[1], np.nan)
    values = np.stack([_roc_auc(scores[:, label], truth[:, label], weights) for label in mixed])
    return _divide(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0), otherwise=np.nan)


def _roc_auc(
    scores: Float[np.ndarray, " sample"], truth: Bool[np.ndarray, " sample"], weights: Weights
) -> Resampled:
    """The share of pairs (positive, negative) in which the positive scores higher; ties count half."""
    order = np.argsort(scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) > 0, True))  # of the groups of equal scores
    starts = np.concatenate(([0], ends[:-1] + 1))
    drawn, positive = weights[order], truth[order, None]
    ups = np.add.reduceat(np.where(positive, drawn, 0), starts, axis=0).astype(np.float64)
    downs = np.add.reduceat(np.where(positive, 0, drawn), starts, axis=0).astype(np.float64)
    below = np.cumsum(downs, axis=0) - downs / 2
    return _divide((ups * below).sum(axis=0), ups.sum(axis=0) * downs.sum(axis=0), otherwise=np.nan)


def _mean_r2(values: Values, targets: Values, weights: Weights) -> Resampled:
    known = np.isfinite(targets)
    counts = weights.astype(np.float64)
    # Around a centre near the mean, sums of squares lose no digits.
    centre = np.nanmean(np.where(known.any(axis=0), targets, 0.0), axis=0)
    truth = np.where(known, targets - centre, 0.0).astype(np.float64)
    missed = np.where(known, np.asarray(values, dtype=np.float64) - centre - truth, 0.0) ** 2
    total = known.T.astype(np.float64) @ counts  # dimension resample
    spread = (truth**2).T @ counts - _divide((truth.T @ counts) ** 2, total, otherwise=0.0)
    varied = spread > 1e-12 * np.maximum(total, 1)
    r2 = 1 - _divide(missed.T @ counts, np.where(varied, spread, 0.0), otherwise=0.0)
    return _divide(np.where(varied, r2, 0.0).sum(axis=0), varied.sum(axis=0), otherwise=np.nan)


def _ers(values: Values, targets: Values, weights: Weights) -> Resampled:
    labels, dimensions = slice(None, -len(DIMENSIONS)), slice(-len(DIMENSIONS), None)
    ranked = _mean_average_precision(values[:, labels], targets[:, labels], weights)
    area = _mean_roc_auc(values[:, labels], targets[:, labels], weights)
    score: Resampled = (
        _mean_r2(values[:, dimensions], targets[:, dimensions], weights) + (ranked + area) / 2
    ) / 2
    return score


def _accuracy(scores: Values, targets: Values, weights: Weights) -> Resampled:
    right = np.argmax(scores, axis=1) == true_classes(targets)
    return _divide(right @ weights.astype(np.float64), weights.sum(axis=0), otherwise=np.nan)


def _macro_f1(scores: Values, targets: Values, weights: Weights) -> Resampled:
    labels = np.arange(scores.shape[1])
    predicted = np.argmax(scores, axis=1)[:, None] == labels
    return _mean_f1(predicted, true_classes(targets)[:, None] == labels, weights)


def _macro_f1_at_half(scores: Values, targets: Values, weights: Weights) -> Resampled:
    return _mean_f1(scores >= POSITIVE, positives(targets), weights)


def _mean_f1(
    predicted: Bool[np.ndarray, "sample label"], truth: Bool[np.ndarray, "sample label"], weights: Weights
) -> Resampled:
    counts = weights.astype(np.float64)
    both = (predicted & truth).T @ counts  # label resample
    either = predicted.T @ counts + truth.T @ counts
    f1 = _divide(2 * both, either, otherwise=0.0)
    return _divide(f1.sum(axis=0), (either > 0).sum(axis=0), otherwise=0.0)


def _vad_mae(values: Values, targets: Values, weights: Weights) -> Resampled:
    errors = np.abs(np.asarray(values, dtype=np.float64) - targets)
    counts = weights.astype(np.float64)
    total = (np.nan_to_num(errors).T @ counts).sum(axis=0)
    return _divide(total, (~np.isnan(errors)).sum(axis=1) @ counts, otherwise=np.nan)


def _divide(numerator: np.ndarray, denominator: np.ndarray, *, otherwise: float) -> np.ndarray:
    """Elementwise, and `otherwise` where the denominator is 0."""
    result = np.full(np.shape(denominator), otherwise, dtype=np.float64)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


_AT_ONCE: Final[dict[MetricFunction, Callable[[Values, Values, Weights], Resampled]]] = {
    accuracy: _accuracy,
    macro_f1: _macro_f1,
    macro_f1_at_half: _macro_f1_at_half,
    emotion_recognition_score: _ers,
    mean_average_precision: _mean_average_precision,
    mean_r2: _mean_r2,
    mean_roc_auc: _mean_roc_auc,
    vad_mae: _vad_mae,
}
