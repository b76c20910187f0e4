"""Average precision, in both definitions that circulate, by label and as a mean.

Goes in: scores and targets. Comes out: values in 0..1; NaN for a label that no sample has.
Knows nothing about: intervals, which metric a recipe asks for.

Samples are ranked by score, highest first, and R(k), P(k) are recall and precision after the k-th distinct
score. Samples of equal score are taken together, as one step, so that neither definition depends on the
order in which samples are stored.

    AP         = sum over k of (R(k) - R(k-1)) P(k)                     scikit-learn's
    AP_emotic  = sum over k of (R(k) - R(k-1)) max over j >= k of P(j)  interpolated

The second is that of the EMOTIC authors' MATLAB code, and of PASCAL VOC since 2010: precision is replaced by
the highest one at this recall or a later one, and integrated over every step of recall. It is never below
the first. The MATLAB code ranks equal scores as they happen to be stored; here they are one step.

The long tail is the rarest third of the labels that some sample has. It belongs to a split, not to a draw
from it: whoever resamples a split keeps the tail of the whole.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from mien.chance import random_precision
from mien.errors import DataError
from mien.evaluate.metrics.truth import Labels, check, positives, rate_labels

__all__ = [
    "average_precisions",
    "interpolated_precisions",
    "mean_average_precision",
    "mean_interpolated_precision",
    "mean_tail_precision",
    "random_interpolated_precisions",
    "random_precisions",
    "tail_labels",
]

_LOTS: Final = 200_000  # ranks in all the random orders of a label that are tried


def average_precisions(scores: Labels, targets: Labels) -> Float[np.ndarray, " label"]:
    """Average precision of each label, scikit-learn's; NaN for a label that no sample has."""
    from sklearn.metrics import average_precision_score

    check(scores, targets)
    truth = positives(targets)
    return rate_labels(average_precision_score, truth, scores, rated=truth.any(axis=0))


def interpolated_precisions(scores: Labels, targets: Labels) -> Float[np.ndarray, " label"]:
    """Average precision of each label as the EMOTIC authors take it; NaN for a label that no sample has."""
    check(scores, targets)
    truth = positives(targets)
    return rate_labels(_interpolated, truth, scores, rated=truth.any(axis=0))


def mean_average_precision(scores: Labels, targets: Labels) -> float:
    """mAP: the mean of `average_precisions` over the labels that some sample has; DataError if none."""
    return _mean(average_precisions(scores, targets))


def mean_interpolated_precision(scores: Labels, targets: Labels) -> float:
    """mAP_emotic: the mean of `interpolated_precisions` over the labels that some sample has."""
    return _mean(interpolated_precisions(scores, targets))


def random_precisions(targets: Labels) -> Float[np.ndarray, " label"]:
    """What `average_precisions` are on average over all orders of the samples."""
    truth = positives(targets)
    counts = truth.sum(axis=0).tolist()
    return np.array([random_precision(count, len(truth)) if count else np.nan for count in counts])


def random_interpolated_precisions(targets: Labels) -> Float[np.ndarray, " label"]:
    """What `interpolated_precisions` are on average over some random orders, the same each time."""
    truth = positives(targets)
    counts = truth.sum(axis=0).tolist()
    return np.array([_random_interpolated(len(truth), count) if count else np.nan for count in counts])


def tail_labels(targets: Labels) -> Int[np.ndarray, " tail"]:
    """Places of the rarest third, rounded up, of the labels that some sample has, in the label set's order.

    Of labels that are equally rare the first ones belong to it.
    """
    counts = positives(targets).sum(axis=0)
    held = np.flatnonzero(counts)
    rarest = held[np.argsort(counts[held], kind="stable")]
    found: np.ndarray = np.sort(rarest[: -(-len(held) // 3)])
    return found


def mean_tail_precision(scores: Labels, targets: Labels) -> float:
    """mAP_tail: the mean of `average_precisions` over `tail_labels`; DataError if no sample has a label."""
    check(scores, targets)
    tail = tail_labels(targets)
    return mean_average_precision(scores[:, tail], targets[:, tail])


def _interpolated(truth: Bool[np.ndarray, " sample"], scores: Float[np.ndarray, " sample"]) -> float:
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of the groups of equal scores
    found = np.cumsum(truth[order])[ends]
    precision = np.maximum.accumulate((found / (ends + 1))[::-1])[::-1]
    return float((np.diff(found, prepend=0) * precision).sum() / found[-1])


@lru_cache(maxsize=4096)  # a table asks for the same few in each of its rows
def _random_interpolated(rows: int, count: int) -> float:
    """The average over random orders of so many samples, so many of which have the label; no ties."""
    # The fewer have it, the more one order differs from another.
    lots, tries = np.random.default_rng((rows, count)), int(np.clip(_LOTS // count, 50, 4000))
    # Recall grows, and precision is highest, at samples that have the label: only their ranks matter.
    ranks = np.sort([lots.choice(rows, count, replace=False, shuffle=False) for _ in range(tries)], axis=1)
    precisions = np.arange(1, count + 1) / (ranks + 1)
    return float(np.maximum.accumulate(precisions[:, ::-1], axis=1).mean())


def _mean(values: Float[np.ndarray, " label"]) -> float:
    if np.isnan(values).all():
        raise DataError(
            "mAP is not defined: no label has a positive sample", hint="evaluate on a split with labels"
        )
    return float(np.nanmean(values))
