"""The metrics once more, for many resamples at once.

Goes in: scores, targets, and how often each sample occurs in each resample. Comes out: the metric of
every resample, equal to the plain metric of a split in which samples are repeated that often. Which labels
are the long tail is settled by the split itself, the same in every resample.
Knows nothing about: how resamples are drawn, or what is done with the values.

What depends on the order of scores is in `ranked`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float64

from mien.evaluate.calibration.reliability import (
    BINS,
    Judged,
    bins_of,
    brier,
    brier_exclusive,
    classwise_calibration_error,
    each_label,
    squared_errors,
    top_label,
    top_label_calibration_error,
)
from mien.evaluate.metrics.average_precision import tail_labels
from mien.evaluate.metrics.dimensions import mean_r2, vad_mae
from mien.evaluate.metrics.rank_kernel import Rankings, Weights, divide
from mien.evaluate.metrics.table import (
    POSITIVE,
    Metric,
    MetricFunction,
    accuracy,
    emotion_recognition_score,
    macro_f1,
    macro_f1_at_half,
    mean_average_precision,
    mean_interpolated_precision,
    mean_roc_auc,
    mean_tail_precision,
    positives,
    true_classes,
)
from mien.types import DIMENSIONS

__all__ = ["Resampled", "Weights", "resampled"]

Values = Float[np.ndarray, "sample column"]
Resampled = Float64[np.ndarray, " resample"]


def resampled(
    metric: Metric,
    scores: Values,
    targets: Values,
    weights: Weights,
    *,
    rankings: Rankings | None = None,
) -> Resampled:
    """The metric of each resample; NaN where it is not defined, as mAP is not without any positive.

    `rankings` may be given again for other weights and other metrics of the same scores, which saves time.
    """
    if metric.function in _BY_RANK:
        return _BY_RANK[metric.function](scores, targets, weights, rankings or Rankings())
    if metric.function in _AT_ONCE:
        return _AT_ONCE[metric.function](scores, targets, weights)
    return _one_by_one(metric.function, scores, targets, weights)


def _one_by_one(function: MetricFunction, scores: Values, targets: Values, weights: Weights) -> Resampled:
    """Any other metric, slowly."""
    times = weights.T.astype(np.int64)
    rows = np.arange(len(scores))
    chosen = (np.repeat(rows, count) for count in times)
    return np.array([function(scores[rows], targets[rows]) for rows in chosen])


def _mean_average_precision(
    scores: Values, targets: Values, weights: Weights, rankings: Rankings
) -> Resampled:
    return _mean_over_labels(rankings.values(scores, targets, weights).average_precision)


def _mean_tail_precision(scores: Values, targets: Values, weights: Weights, rankings: Rankings) -> Resampled:
    of_labels = rankings.values(scores, targets, weights).average_precision
    return _mean_over_labels(of_labels[tail_labels(targets)])


def _mean_interpolated_precision(
    scores: Values, targets: Values, weights: Weights, rankings: Rankings
) -> Resampled:
    return _mean_over_labels(rankings.values(scores, targets, weights).interpolated_precision)


def _mean_roc_auc(scores: Values, targets: Values, weights: Weights, rankings: Rankings) -> Resampled:
    return _mean_over_labels(rankings.values(scores, targets, weights).roc_area)


def _mean_over_labels(values: Float64[np.ndarray, "label resample"]) -> Resampled:
    return divide(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0), otherwise=np.nan)


def _mean_r2(values: Values, targets: Values, weights: Weights) -> Resampled:
    known = np.isfinite(targets)
    counts = weights.astype(np.float64)
    # Around a centre near the mean, sums of squares lose no digits.
    centre = np.nanmean(np.where(known.any(axis=0), targets, 0.0), axis=0)
    truth = np.where(known, targets - centre, 0.0).astype(np.float64)
    missed = np.where(known, np.asarray(values, dtype=np.float64) - centre - truth, 0.0) ** 2
    total = known.T.astype(np.float64) @ counts  # dimension resample
    spread = (truth**2).T @ counts - divide((truth.T @ counts) ** 2, total, otherwise=0.0)
    varied = spread > 1e-12 * np.maximum(total, 1)
    r2 = 1 - divide(missed.T @ counts, np.where(varied, spread, 0.0), otherwise=0.0)
    return divide(np.where(varied, r2, 0.0).sum(axis=0), varied.sum(axis=0), otherwise=np.nan)


def _ers(values: Values, targets: Values, weights: Weights, rankings: Rankings) -> Resampled:
    labels, dimensions = slice(None, -len(DIMENSIONS)), slice(-len(DIMENSIONS), None)
    # As the metrics of the labels alone have them, so that their ranking is found again.
    of_labels = np.ascontiguousarray(values[:, labels])
    ranked = _mean_average_precision(of_labels, targets[:, labels], weights, rankings)
    area = _mean_roc_auc(of_labels, targets[:, labels], weights, rankings)
    score: Resampled = (
        _mean_r2(values[:, dimensions], targets[:, dimensions], weights) + (ranked + area) / 2
    ) / 2
    return score


def _accuracy(scores: Values, targets: Values, weights: Weights) -> Resampled:
    right = np.argmax(scores, axis=1) == true_classes(targets)
    return divide(right @ weights.astype(np.float64), weights.sum(axis=0), otherwise=np.nan)


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
    f1 = divide(2 * both, either, otherwise=0.0)
    return divide(f1.sum(axis=0), (either > 0).sum(axis=0), otherwise=0.0)


def _vad_mae(values: Values, targets: Values, weights: Weights) -> Resampled:
    errors = np.abs(np.asarray(values, dtype=np.float64) - targets)
    counts = weights.astype(np.float64)
    total = (np.nan_to_num(errors).T @ counts).sum(axis=0)
    return divide(total, (~np.isnan(errors)).sum(axis=1) @ counts, otherwise=np.nan)


def _top_label_error(scores: Values, targets: Values, weights: Weights) -> Resampled:
    return _calibration_error(top_label(scores, targets), weights)


def _classwise_error(scores: Values, targets: Values, weights: Weights) -> Resampled:
    return _calibration_error(each_label(scores, targets), weights)


def _calibration_error(judged: Judged, weights: Weights) -> Resampled:
    """Of every bin of every column the sum of (score - truth), by one product of matrices."""
    confidence, came_true = judged
    rows, columns = confidence.shape
    cells = bins_of(confidence) + BINS * np.arange(columns)
    gaps = np.zeros((rows, BINS * columns))
    np.put_along_axis(gaps, cells, confidence - came_true, axis=1)
    used = gaps[:, np.unique(cells)]
    counts = weights.astype(np.float64)
    total = np.abs(used.T @ counts).sum(axis=0)
    return divide(total, columns * counts.sum(axis=0), otherwise=np.nan)


def _brier(scores: Values, targets: Values, weights: Weights) -> Resampled:
    return _mean_loss(squared_errors(scores, targets).mean(axis=1), weights)


def _brier_exclusive(scores: Values, targets: Values, weights: Weights) -> Resampled:
    truth = np.eye(scores.shape[1])[true_classes(targets)]
    return _mean_loss(squared_errors(scores, truth).sum(axis=1), weights)


def _mean_loss(losses: Float64[np.ndarray, " sample"], weights: Weights) -> Resampled:
    counts = weights.astype(np.float64)
    return divide(losses @ counts, counts.sum(axis=0), otherwise=np.nan)


_AT_ONCE: Final[dict[MetricFunction, Callable[[Values, Values, Weights], Resampled]]] = {
    accuracy: _accuracy,
    macro_f1: _macro_f1,
    brier: _brier,
    brier_exclusive: _brier_exclusive,
    classwise_calibration_error: _classwise_error,
    macro_f1_at_half: _macro_f1_at_half,
    mean_r2: _mean_r2,
    top_label_calibration_error: _top_label_error,
    vad_mae: _vad_mae,
}

_BY_RANK: Final[dict[MetricFunction, Callable[[Values, Values, Weights, Rankings], Resampled]]] = {
    emotion_recognition_score: _ers,
    mean_average_precision: _mean_average_precision,
    mean_interpolated_precision: _mean_interpolated_precision,
    mean_roc_auc: _mean_roc_auc,
    mean_tail_precision: _mean_tail_precision,
}
