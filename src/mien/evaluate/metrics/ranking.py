"""Metrics of rankings: both average precisions in use, and the area under the ROC curve.

Samples are ranked by score, highest first, and R(k), P(k) are recall and precision after the k-th distinct
score. Samples of equal score are taken together, as one step, so that no value depends on the order in which
samples are stored.

    AP         = sum over k of (R(k) - R(k-1)) P(k)                     scikit-learn's
    AP_emotic  = sum over k of (R(k) - R(k-1)) max over j >= k of P(j)  interpolated

The second is that of the EMOTIC authors' MATLAB code, and of PASCAL VOC since 2010: precision is replaced by
the highest one at this recall or a later one, and integrated over every step of recall. It is never below the
first. The MATLAB code ranks equal scores in the order in which they are stored; here they are one step.

All three values of a label come from one pass over all resamples. Its scores are sorted once. Only the steps
at which positives are found count, because recall stays constant in between. scikit-learn's functions give
the same values (the tests compare them), but are slow here: they take one resample and one label per call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from mien.data.chance import random_average_precision
from mien.evaluate.metrics.metric import Metric, PerResample, SampleWeight, mean_over_rows, safe_divide
from mien.evaluate.metrics.targets import Labels, labels_with_positives, positives

__all__ = [
    "MAP",
    "MAP_EMOTIC",
    "MAP_TAIL",
    "MEAN_ROC_AUC",
    "RankingValues",
    "mean_average_precision",
    "mean_interpolated_precision",
    "mean_roc_auc",
    "mean_tail_precision",
    "random_average_precisions",
    "random_interpolated_precisions",
    "ranking_values",
    "share_rankings",
    "tail_labels",
]

_RANDOM_RANKS: Final = 200_000  # drawn in total, over all random orders of a label that are tried
# Where positives are denser than this, a running sum of all samples is faster than sums between the steps.
_DENSE: Final = 0.2

LabelValues = Float64[np.ndarray, "label resample"]
Steps = Float[np.ndarray, "step resample"]


# --- Metrics -----------------------------------------------------------------------------------------


def mean_average_precision(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """mAP: the mean average precision over the labels that some sample has."""
    return mean_over_rows(ranking_values(targets, scores, sample_weight).average_precision)


def mean_interpolated_precision(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """mAP_emotic: the mean interpolated average precision over the labels that some sample has."""
    return mean_over_rows(ranking_values(targets, scores, sample_weight).interpolated_precision)


def mean_tail_precision(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """mAP_tail: the mean average precision over `tail_labels`."""
    values = ranking_values(targets, scores, sample_weight).average_precision
    return mean_over_rows(values[tail_labels(targets)])


def mean_roc_auc(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """mRA: the mean area under the ROC curve over the labels that some samples have and others lack."""
    return mean_over_rows(ranking_values(targets, scores, sample_weight).roc_auc)


def tail_labels(targets: Labels) -> Int[np.ndarray, " tail"]:
    """Indices of the long tail: the rarest third, rounded up, of the labels that some sample has.

    Of equally rare labels the first ones belong to it. The tail belongs to the split: it is the same in every
    resample.
    """
    counts = positives(targets).sum(axis=0)
    held = labels_with_positives(targets)
    rarest = held[np.argsort(counts[held], kind="stable")]
    tail: np.ndarray = np.sort(rarest[: -(-len(held) // 3)])
    return tail


# --- Chance ------------------------------------------------------------------------------------------


def random_average_precisions(targets: Labels) -> Float[np.ndarray, " label"]:
    """Average precision of each label, mean over all orders of the samples; NaN for a label without any."""
    num_samples, counts = len(targets), positives(targets).sum(axis=0).tolist()
    return np.array([random_average_precision(count, num_samples) if count else np.nan for count in counts])


def random_interpolated_precisions(targets: Labels) -> Float[np.ndarray, " label"]:
    """Interpolated precision of each label, mean over some random orders, the same ones each time."""
    num_samples, counts = len(targets), positives(targets).sum(axis=0).tolist()
    return np.array([_random_interpolated(num_samples, count) if count else np.nan for count in counts])


@lru_cache(maxsize=4096)  # a table asks for the same few in each of its rows
def _random_interpolated(num_samples: int, num_positives: int) -> float:
    """The mean over random orders without ties."""
    # The fewer positives, the more one order differs from another.
    rng = np.random.default_rng((num_samples, num_positives))
    num_orders = int(np.clip(_RANDOM_RANKS // num_positives, 50, 4000))
    # Recall grows, and precision is highest, at positives: only their ranks matter.
    ranks = np.sort(
        [rng.choice(num_samples, num_positives, replace=False, shuffle=False) for _ in range(num_orders)],
        axis=1,
    )
    precision = np.arange(1, num_positives + 1) / (ranks + 1)
    return float(np.maximum.accumulate(precision[:, ::-1], axis=1).mean())


def _mean_random_precision(targets: Labels) -> float:
    return float(np.nanmean(random_average_precisions(targets)))


# --- The values of each label ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankingValues:
    """Values of each label in each resample; NaN where a resample does not define one."""

    average_precision: LabelValues
    interpolated_precision: LabelValues
    roc_auc: LabelValues


def ranking_values(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> RankingValues:
    """Both average precisions and the ROC area of every label in every resample."""
    return (_shared.get() or _Rankings()).values(targets, scores, sample_weight)


@contextmanager
def share_rankings() -> Iterator[None]:
    """Within this block, metrics of the same scores and weights share one ranking."""
    token = _shared.set(_Rankings())
    try:
        yield
    finally:
        _shared.reset(token)


class _Rankings:
    """Sorted scores, by content, and the values of the last weights."""

    def __init__(self) -> None:
        self._orders: dict[bytes, list[_Order | None]] = {}
        self._weight: SampleWeight | None = None
        self._values: dict[bytes, RankingValues] = {}

    def values(self, targets: Labels, scores: Labels, sample_weight: SampleWeight) -> RankingValues:
        if sample_weight is not self._weight:
            self._weight, self._values = sample_weight, {}
        truth = positives(targets)
        key = _content_key(truth, scores)
        if key not in self._orders:
            self._orders[key] = [_order(truth[:, k], scores[:, k]) for k in range(truth.shape[1])]
        if key not in self._values:
            self._values[key] = _values(self._orders[key], sample_weight)
        return self._values[key]


_shared: ContextVar[_Rankings | None] = ContextVar("shared rankings", default=None)


def _content_key(truth: Bool[np.ndarray, "sample label"], scores: Labels) -> bytes:
    return blake2b(scores.tobytes() + truth.tobytes(), digest_size=16).digest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Order:
    """One label's samples, best first; a step is a group of equal scores that holds a positive.

    `hits`: ranks of the positives; `first_hits`: for each step, its first hit; `ends`: its last rank.
    `tied`: all ranks of the steps with several samples (`tied_steps`), which begin at `tied_starts` of them.
    """

    order: Int[np.ndarray, " sample"]
    hits: Int[np.ndarray, " hit"]
    first_hits: Int[np.ndarray, " step"]
    ends: Int[np.ndarray, " step"]
    tied_steps: Int[np.ndarray, " group"]
    tied_starts: Int[np.ndarray, " group"]
    tied: Int[np.ndarray, " rank"]


def _order(truth: Bool[np.ndarray, " sample"], scores: Float[np.ndarray, " sample"]) -> _Order | None:
    """None for a label that no sample has."""
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    group_ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    group_of = np.searchsorted(group_ends, np.arange(len(ranked)))
    hits = np.flatnonzero(truth[order])
    groups, first_hits = np.unique(group_of[hits], return_index=True)
    ends = group_ends[groups]
    sizes = ends - np.concatenate(([-1], group_ends[:-1]))[groups]
    tied_steps = np.flatnonzero(sizes > 1)
    return _Order(
        order=order,
        hits=hits,
        first_hits=first_hits,
        ends=ends,
        tied_steps=tied_steps,
        tied_starts=np.cumsum(sizes[tied_steps]) - sizes[tied_steps],
        tied=np.flatnonzero(np.isin(group_of, groups[tied_steps])),
    )


def _values(orders: list[_Order | None], sample_weight: SampleWeight) -> RankingValues:
    shape = (len(orders), sample_weight.shape[1])
    precision, interpolated, area = (np.full(shape, np.nan) for _ in range(3))
    total = sample_weight.sum(axis=0, dtype=np.float64)
    for label, order in enumerate(orders):
        if order is not None:
            precision[label], interpolated[label], area[label] = _label_values(order, sample_weight, total)
    return RankingValues(average_precision=precision, interpolated_precision=interpolated, roc_auc=area)


def _label_values(
    order: _Order, sample_weight: SampleWeight, total: PerResample
) -> tuple[PerResample, PerResample, PerResample]:
    """Sums over the steps; counts of samples are whole numbers, and exact as floats."""
    found = _positives_per_step(order, sample_weight)
    hits = np.cumsum(found, axis=0)
    ranked = _ranked_per_step(order, sample_weight)
    positive = hits[-1]
    precision = hits / np.maximum(ranked, 1)
    average = safe_divide((found * precision).sum(axis=0), positive, otherwise=np.nan)
    highest = np.maximum.accumulate(precision[::-1], axis=0, out=precision[::-1])[::-1]
    interpolated = safe_divide((found * highest).sum(axis=0), positive, otherwise=np.nan)
    # The negatives below a step are those not ranked yet, plus half of those that share its score.
    negative = total - positive
    below = np.add(np.subtract(hits, ranked, out=ranked), negative, out=ranked)
    if len(order.tied_steps):
        equal = np.add.reduceat(sample_weight[order.order[order.tied]], order.tied_starts, axis=0)
        below[order.tied_steps] += (equal - found[order.tied_steps]) / 2
    area = safe_divide(
        np.multiply(found, below, out=below).sum(axis=0), positive * negative, otherwise=np.nan
    )
    return average, interpolated, area


def _positives_per_step(order: _Order, sample_weight: SampleWeight) -> Steps:
    found: np.ndarray = sample_weight[order.order[order.hits]]
    if len(order.first_hits) < len(order.hits):
        found = np.add.reduceat(found, order.first_hits, axis=0)
    return found.astype(np.float64)


def _ranked_per_step(order: _Order, sample_weight: SampleWeight) -> Steps:
    """How many samples score at least as high as each step."""
    last = order.ends[-1] + 1
    above = sample_weight[order.order[:last]]
    if len(order.ends) > _DENSE * last:
        running: Steps = np.cumsum(above, axis=0)[order.ends].astype(np.float64)
        return running
    starts = np.concatenate(([0], order.ends[:-1] + 1))
    between = np.add.reduceat(above, starts, axis=0)
    ranked: Steps = np.cumsum(between, axis=0, dtype=np.float64)
    return ranked


# --- The table's rows --------------------------------------------------------------------------------

# Chance of the three precisions is that of a random order. Equal scores for all reach the mean prevalence and
# no more; a random order has more, by an amount that counts where samples or positives are few.
_NO_POSITIVE: Final = "no label has a positive sample"

MAP: Final = Metric(
    name="mAP",
    title="mean average precision, scikit-learn's",
    function=mean_average_precision,
    chance=_mean_random_precision,
    undefined=_NO_POSITIVE,
)
MAP_EMOTIC: Final = Metric(
    name="mAP_emotic",
    title="mean average precision, interpolated as the EMOTIC authors do",
    function=mean_interpolated_precision,
    chance=lambda targets: float(np.nanmean(random_interpolated_precisions(targets))),
    undefined=_NO_POSITIVE,
)
MAP_TAIL: Final = Metric(
    name="mAP_tail",
    title="mean average precision over the rarest third of the labels",
    function=mean_tail_precision,
    chance=lambda targets: _mean_random_precision(targets[:, tail_labels(targets)]),
    undefined=_NO_POSITIVE,
    rated_labels=tail_labels,
)
MEAN_ROC_AUC: Final = Metric(
    name="mRA",
    title="mean area under the ROC curve",
    function=mean_roc_auc,
    chance=lambda _: 0.5,
    undefined="no label has both positive and negative samples",
)
