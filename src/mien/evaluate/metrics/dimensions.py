"""Metrics of valence, arousal and dominance (0 to 1); NaN targets were not annotated and do not count."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float, Float64

from mien.evaluate.metrics.metric import (
    Metric,
    PerResample,
    SampleWeight,
    mean_over_rows,
    safe_divide,
    unit_weight,
)
from mien.evaluate.metrics.ranking import MAP, MEAN_ROC_AUC, mean_average_precision, mean_roc_auc
from mien.evaluate.metrics.targets import Columns, dimension_columns, label_columns

__all__ = [
    "EMOTION_RECOGNITION_SCORE",
    "MEAN_R2",
    "VAD_MAE",
    "emotion_recognition_score",
    "mean_r2",
    "r2_by_dimension",
    "vad_mae",
]

Dimensions = Float[np.ndarray, "sample dimension"]


def vad_mae(targets: Dimensions, values: Dimensions, sample_weight: SampleWeight) -> PerResample:
    """Mean absolute error over samples and dimensions (published errors are often out of 10)."""
    errors = np.abs(np.asarray(values, dtype=np.float64) - targets)
    counts = sample_weight.astype(np.float64)
    total = (np.nan_to_num(errors).T @ counts).sum(axis=0)
    return safe_divide(total, (~np.isnan(errors)).sum(axis=1) @ counts, otherwise=np.nan)


def mean_r2(targets: Dimensions, values: Dimensions, sample_weight: SampleWeight) -> PerResample:
    """mR2: the mean over dimensions of 1 - (squared error) / (squared distance from the mean).

    1 at best, 0 for always answering the mean, negative for worse. A dimension on which all annotated samples
    agree has no R2, and is left out.
    """
    return mean_over_rows(r2_by_dimension(targets, values, sample_weight))


def r2_by_dimension(
    targets: Dimensions, values: Dimensions, sample_weight: SampleWeight
) -> Float64[np.ndarray, "dimension resample"]:
    """R2 of each dimension; NaN where all annotated samples agree."""
    known = np.isfinite(targets)
    truth = np.where(known, targets, 0.0).astype(np.float64)
    # Around a center near the mean, sums of squares lose no digits.
    center = safe_divide(truth.sum(axis=0), known.sum(axis=0), otherwise=0.0)
    truth = np.where(known, truth - center, 0.0)
    error = np.where(known, np.asarray(values, dtype=np.float64) - center - truth, 0.0) ** 2
    counts = sample_weight.astype(np.float64)
    total = known.T.astype(np.float64) @ counts
    spread = (truth**2).T @ counts - safe_divide((truth.T @ counts) ** 2, total, otherwise=0.0)
    varies = spread > 1e-12 * np.maximum(total, 1)  # what rounding leaves counts as none
    return np.where(
        varies, 1 - safe_divide(error.T @ counts, np.where(varies, spread, 0.0), otherwise=0.0), np.nan
    )


def emotion_recognition_score(targets: Columns, values: Columns, sample_weight: SampleWeight) -> PerResample:
    """ERS of the BoLD challenge: (mR2 + (mAP + mRA) / 2) / 2. The last columns are the dimensions."""
    labels = label_columns(targets), label_columns(values), sample_weight
    ranked = (mean_average_precision(*labels) + mean_roc_auc(*labels)) / 2
    r2 = mean_r2(dimension_columns(targets), dimension_columns(values), sample_weight)
    score: PerResample = (r2 + ranked) / 2
    return score


def _median_error(targets: Dimensions) -> float:
    """The error of always answering each dimension's median, the best constant."""
    medians = np.broadcast_to(np.nanmedian(targets, axis=0), targets.shape)
    return float(vad_mae(targets, medians, unit_weight(len(targets)))[0])


def _recognition_chance(targets: Columns) -> float:
    labels = label_columns(targets)
    return (MEAN_R2.chance(targets) + (MAP.chance(labels) + MEAN_ROC_AUC.chance(labels)) / 2) / 2


VAD_MAE: Final = Metric(
    name="vad_mae",
    title="mean absolute error of valence, arousal, dominance (0 to 1)",
    function=vad_mae,
    chance=_median_error,
    reads="dimensions",
    higher_is_better=False,
    highest=np.inf,  # an estimate may leave 0..1
)
MEAN_R2: Final = Metric(
    name="mR2",
    title="mean R2 of valence, arousal, dominance",
    function=mean_r2,
    chance=lambda _: 0.0,  # of always answering the mean
    reads="dimensions",
    lowest=-np.inf,
    undefined="no dimension differs between samples",
)
EMOTION_RECOGNITION_SCORE: Final = Metric(
    name="ERS",
    title="emotion recognition score: (mR2 + (mAP + mRA) / 2) / 2",
    function=emotion_recognition_score,
    chance=_recognition_chance,
    reads="labels and dimensions",
    lowest=-np.inf,
    undefined="no label has both positive and negative samples, or no dimension differs between samples",
)
