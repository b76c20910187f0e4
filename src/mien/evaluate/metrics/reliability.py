"""Whether scores are probabilities: calibration error, Brier score, and the bins of a reliability diagram.

Where exactly one label holds, the highest score is judged (top-label calibration, Guo et al. 2017). Where any
number may hold, every score of every label is, each label for itself (classwise calibration, Kull et al.
2019), averaged over all labels of the set, also over those that no sample has. There are 15 bins of equal
width, closed below: [0, 1/15), [1/15, 2/15), ... [14/15, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from mien.errors import DataError
from mien.evaluate.metrics.metric import Metric, PerResample, SampleWeight, safe_divide
from mien.evaluate.metrics.targets import Labels, check_labels, positives, true_classes

__all__ = [
    "BINS",
    "BRIER",
    "EXPECTED_CALIBRATION_ERROR",
    "Bin",
    "brier",
    "brier_exclusive",
    "classwise_calibration_error",
    "reliability_bins",
    "top_label_calibration_error",
]

BINS: Final = 15

Judged = tuple[Bool[np.ndarray, "sample column"], Float64[np.ndarray, "sample column"]]


# --- Metrics -----------------------------------------------------------------------------------------


def top_label_calibration_error(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """ECE where exactly one label holds: the sum over bins of their share times |mean score - accuracy|."""
    return _calibration_error(_top_label(targets, scores), sample_weight)


def classwise_calibration_error(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """ECE where any number of labels may hold: the mean of each label's own over all labels."""
    return _calibration_error(_each_label(targets, scores), sample_weight)


def brier(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """Mean over samples and labels of (score - truth) squared, truth being 0 or 1; 0 at best, 1 at worst."""
    truth, confidence = _each_label(targets, scores)
    return _mean_loss(((confidence - truth) ** 2).mean(axis=1), sample_weight)


def brier_exclusive(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """Brier's original: the mean over samples of the sum over classes of squared errors; 2 at worst."""
    _check_unit_interval(scores)
    truth = np.eye(scores.shape[1])[true_classes(targets)]
    return _mean_loss(((np.asarray(scores, dtype=np.float64) - truth) ** 2).sum(axis=1), sample_weight)


# --- Reliability diagrams ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The scores of one bin: how many, their mean, and the share of them that came true."""

    low: float
    high: float
    count: int
    score: float
    share: float


def reliability_bins(targets: Labels, scores: Labels, *, exclusive: bool) -> tuple[Bin, ...]:
    """The bins that hold scores; where any number of labels may hold, of all labels together."""
    check_labels(targets, scores)
    judged = _top_label(targets, scores) if exclusive else _each_label(targets, scores)
    truth, confidence = (values.ravel() for values in judged)
    indices = _bin_indices(confidence[:, None])[:, 0]
    counts = np.bincount(indices, minlength=BINS)
    totals = np.bincount(indices, weights=confidence, minlength=BINS)
    hits = np.bincount(indices, weights=truth, minlength=BINS)
    return tuple(
        Bin(
            low=index / BINS,
            high=(index + 1) / BINS,
            count=int(counts[index]),
            score=float(totals[index] / counts[index]),
            share=float(hits[index] / counts[index]),
        )
        for index in np.flatnonzero(counts)
    )


# --- What is judged ----------------------------------------------------------------------------------


def _top_label(targets: Labels, scores: Labels) -> Judged:
    """The highest score of each sample, and whether it is at the true label; of equal ones the first."""
    _check_unit_interval(scores)
    correct = np.argmax(scores, axis=1) == true_classes(targets)
    return correct[:, None], np.max(scores, axis=1, keepdims=True).astype(np.float64)


def _each_label(targets: Labels, scores: Labels) -> Judged:
    """Every score, and whether the label holds."""
    _check_unit_interval(scores)
    return positives(targets), np.asarray(scores, dtype=np.float64)


def _bin_indices(scores: Float[np.ndarray, "sample column"]) -> Int[np.ndarray, "sample column"]:
    indices: np.ndarray = np.minimum((np.asarray(scores, dtype=np.float64) * BINS).astype(np.int64), BINS - 1)
    return indices


def _calibration_error(judged: Judged, sample_weight: SampleWeight) -> PerResample:
    """A bin's share times its gap is |sum of (score - truth)| over the number of samples."""
    truth, confidence = judged
    rows, columns = confidence.shape
    cells = _bin_indices(confidence) + BINS * np.arange(columns)
    gaps = np.zeros((rows, BINS * columns))
    np.put_along_axis(gaps, cells, confidence - truth, axis=1)
    used = gaps[:, np.unique(cells)]
    counts = sample_weight.astype(np.float64)
    total = np.abs(used.T @ counts).sum(axis=0)
    return safe_divide(total, columns * counts.sum(axis=0), otherwise=np.nan)


def _mean_loss(losses: Float64[np.ndarray, " sample"], sample_weight: SampleWeight) -> PerResample:
    counts = sample_weight.astype(np.float64)
    return safe_divide(losses @ counts, counts.sum(axis=0), otherwise=np.nan)


def _check_unit_interval(scores: Labels) -> None:
    if np.min(scores) < 0 or np.max(scores) > 1 + 1e-6:  # a softmax may round to slightly above 1
        raise DataError(
            "calibration is not defined: scores lie outside of 0 to 1",
            hint="give probabilities, such as a sigmoid or a softmax returns",
        )


# --- The table's rows --------------------------------------------------------------------------------


def _brier_of_prevalence(targets: Labels) -> float:
    share = positives(targets).mean(axis=0)
    return float((share * (1 - share)).mean())


def _brier_of_frequencies(targets: Labels) -> float:
    share = np.bincount(true_classes(targets), minlength=targets.shape[1]) / len(targets)
    return float((share * (1 - share)).sum())


# Chance of both is that of always answering the prevalence, which is well calibrated and of no use.
EXPECTED_CALIBRATION_ERROR: Final = Metric(
    name="ECE",
    title="expected calibration error of the highest score, 15 bins of equal width",
    function=top_label_calibration_error,
    chance=lambda _: 0.0,
    higher_is_better=False,
    bias_cancels=False,
    multi_label=Metric(
        name="ECE",
        title="expected calibration error, mean over labels, 15 bins of equal width",
        function=classwise_calibration_error,
        chance=lambda _: 0.0,
        higher_is_better=False,
        bias_cancels=False,
    ),
)
BRIER: Final = Metric(
    name="Brier",
    title="Brier score, summed over classes",
    function=brier_exclusive,
    chance=_brier_of_frequencies,
    higher_is_better=False,
    highest=2.0,
    multi_label=Metric(
        name="Brier",
        title="Brier score, mean over labels",
        function=brier,
        chance=_brier_of_prevalence,
        higher_is_better=False,
    ),
)
