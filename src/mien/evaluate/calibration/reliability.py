"""Whether scores are probabilities: calibration error, Brier score, and the bins of a reliability diagram.

Goes in: scores in 0..1 and targets. Comes out: floats, or bins. Targets count as positive from 0.5.
Knows nothing about: how scores are calibrated (see `calibrate`), pages.

Where exactly one label holds, what is judged is the highest score (top-label calibration, Guo et al. 2017);
where any number may hold, every score of every label, each label for itself (classwise calibration, Kull et
al. 2019), averaged over all labels of the set, also over those that no sample has. There are 15 bins of
equal width, closed below: [0, 1/15), [1/15, 2/15), ... [14/15, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from mien.errors import DataError
from mien.evaluate.metrics.truth import Labels, check, positives, true_classes

__all__ = [
    "BINS",
    "Bin",
    "Judged",
    "bins_of",
    "brier",
    "brier_exclusive",
    "classwise_calibration_error",
    "each_label",
    "reliability",
    "squared_errors",
    "top_label",
    "top_label_calibration_error",
]

BINS: Final = 15

Judged = tuple[Float[np.ndarray, "sample column"], Bool[np.ndarray, "sample column"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The scores of one bin: how many, their mean, and the share of them that came true."""

    low: float
    high: float
    count: int
    score: float
    share: float


def top_label(scores: Labels, targets: Labels) -> Judged:
    """The highest score of each sample, and whether it is at the true label; of equal ones the first."""
    _check_unit(scores, targets)
    right = np.argmax(scores, axis=1) == true_classes(targets)
    return np.max(scores, axis=1, keepdims=True).astype(np.float64), right[:, None]


def each_label(scores: Labels, targets: Labels) -> Judged:
    """Every score, and whether the label holds."""
    _check_unit(scores, targets)
    return np.asarray(scores, dtype=np.float64), positives(targets)


def bins_of(scores: Float[np.ndarray, "sample column"]) -> Int[np.ndarray, "sample column"]:
    """The bin of each score, counted from 0."""
    found: np.ndarray = np.minimum((np.asarray(scores, dtype=np.float64) * BINS).astype(np.int64), BINS - 1)
    return found


def top_label_calibration_error(scores: Labels, targets: Labels) -> float:
    """ECE where exactly one label holds: the sum over bins of their share times |mean score - accuracy|."""
    return _calibration_error(top_label(scores, targets))


def classwise_calibration_error(scores: Labels, targets: Labels) -> float:
    """ECE where any number of labels may hold: each label's own, averaged over all labels."""
    return _calibration_error(each_label(scores, targets))


def brier(scores: Labels, targets: Labels) -> float:
    """Mean over samples and labels of (score - truth) squared, truth being 0 or 1; 0 at best, 1 at worst."""
    return float(squared_errors(scores, targets).mean())


def brier_exclusive(scores: Labels, targets: Labels) -> float:
    """Brier's own: the mean over samples of the sum over classes of squared errors; 2 at worst."""
    _check_unit(scores, targets)
    classes = np.arange(scores.shape[1])
    truth = (true_classes(targets)[:, None] == classes).astype(np.float64)
    return float(((np.asarray(scores, dtype=np.float64) - truth) ** 2).sum(axis=1).mean())


def squared_errors(scores: Labels, targets: Labels) -> Float[np.ndarray, "sample label"]:
    """(score - truth) squared, by sample and label."""
    _check_unit(scores, targets)
    found: np.ndarray = (np.asarray(scores, dtype=np.float64) - positives(targets)) ** 2
    return found


def reliability(scores: Labels, targets: Labels, *, exclusive: bool) -> tuple[Bin, ...]:
    """The bins that hold scores; where any number of labels may hold, of all labels together."""
    judge: Callable[[Labels, Labels], Judged] = top_label if exclusive else each_label
    confidence, came_true = (values.ravel() for values in judge(scores, targets))
    at = bins_of(confidence[:, None])[:, 0]
    counts = np.bincount(at, minlength=BINS)
    totals = np.bincount(at, weights=confidence, minlength=BINS)
    hits = np.bincount(at, weights=came_true, minlength=BINS)
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


def _calibration_error(judged: Judged) -> float:
    """A bin's share times its gap is |sum of (score - truth)| over the number of samples."""
    confidence, came_true = judged
    columns = confidence.shape[1]
    cells = (bins_of(confidence) + BINS * np.arange(columns)).ravel()
    gaps = np.bincount(cells, weights=(confidence - came_true).ravel(), minlength=BINS * columns)
    return float(np.abs(gaps).sum() / confidence.size)


def _check_unit(scores: Labels, targets: Labels) -> None:
    check(scores, targets)
    if np.min(scores) < 0 or np.max(scores) > 1 + 1e-6:  # a softmax may round to a hair above 1
        raise DataError(
            "calibration is not defined: scores lie outside of 0 to 1",
            hint="give probabilities, such as a sigmoid or a softmax makes",
        )
