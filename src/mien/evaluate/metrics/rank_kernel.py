"""Both average precisions and the area under the ROC curve, by label, for many resamples at once.

Goes in: scores, targets, and how often each sample occurs in each resample. Comes out: three arrays of one
row a label and one column a resample; NaN where a resample does not define the value.
Knows nothing about: how resamples are drawn, or what is done with the values.

The scores of a label are sorted once for all resamples. Only the steps at which positives are found count:
in between, recall stands still. All three values come of the same sums at these steps, so that several
metrics of the same scores cost little more than one.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from mien.evaluate.metrics.truth import positives

__all__ = ["RankedValues", "Rankings", "Weights", "divide"]

Values = Float[np.ndarray, "sample column"]
Weights = Float32[np.ndarray, "sample resample"]
Steps = Float[np.ndarray, "step resample"]

# Where positives are denser than this, adding up all samples is faster than adding up between the steps.
_DENSE: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankedValues:
    """What the order of each label's scores says, in every resample."""

    average_precision: Float64[np.ndarray, "label resample"]
    interpolated_precision: Float64[np.ndarray, "label resample"]
    roc_area: Float64[np.ndarray, "label resample"]


class Rankings:
    """Orders of scores, each made once, and the values of the last weights that were asked for."""

    def __init__(self) -> None:
        self._orders: dict[bytes, list[_Order | None]] = {}
        self._weights: Weights | None = None
        self._values: dict[bytes, RankedValues] = {}

    def values(self, scores: Values, targets: Values, weights: Weights) -> RankedValues:
        """The three values of every label in every resample."""
        if weights is not self._weights:
            self._weights, self._values = weights, {}
        truth = positives(targets)
        key = _key(scores, truth)
        if key not in self._orders:
            self._orders[key] = [_order(scores[:, k], truth[:, k]) for k in range(truth.shape[1])]
        if key not in self._values:
            self._values[key] = _values(self._orders[key], weights)
        return self._values[key]


def divide(numerator: np.ndarray, denominator: np.ndarray, *, otherwise: float) -> np.ndarray:
    """Elementwise, and `otherwise` where the denominator is 0."""
    result = np.full(np.shape(denominator), otherwise, dtype=np.float64)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Order:
    """One label's samples, best first; a step is a group of equal scores that holds a positive.

    `hits`: the places of positives; `first_hits`: of each step, its first hit; `ends`: its last place.
    `tied`: the places of those steps that hold several samples, which begin at `tied_starts` of them.
    """

    order: Int[np.ndarray, " sample"]
    hits: Int[np.ndarray, " hit"]
    first_hits: Int[np.ndarray, " step"]
    ends: Int[np.ndarray, " step"]
    tied_steps: Int[np.ndarray, " group"]
    tied_starts: Int[np.ndarray, " group"]
    tied: Int[np.ndarray, " place"]


def _order(scores: Float[np.ndarray, " sample"], truth: Bool[np.ndarray, " sample"]) -> _Order | None:
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


def _values(orders: list[_Order | None], weights: Weights) -> RankedValues:
    shape = (len(orders), weights.shape[1])
    ap, interpolated, area = (np.full(shape, np.nan) for _ in range(3))
    drawn = weights.sum(axis=0, dtype=np.float64)
    for label, order in enumerate(orders):
        if order is not None:
            ap[label], interpolated[label], area[label] = _of_label(order, weights, drawn)
    return RankedValues(average_precision=ap, interpolated_precision=interpolated, roc_area=area)


def _of_label(
    order: _Order, weights: Weights, drawn: Float64[np.ndarray, " resample"]
) -> tuple[Float64[np.ndarray, " resample"], ...]:
    """Sums over the steps; counts of samples are whole numbers, and exact as floats."""
    found = _found(order, weights)
    hits = np.cumsum(found, axis=0)
    passed = _passed(order, weights)
    positive = hits[-1]
    precision = hits / np.maximum(passed, 1)
    ap = divide((found * precision).sum(axis=0), positive, otherwise=np.nan)
    highest = np.maximum.accumulate(precision[::-1], axis=0, out=precision[::-1])[::-1]
    interpolated = divide((found * highest).sum(axis=0), positive, otherwise=np.nan)
    # Of all negatives those below the step: not those passed, but half of those that share its score.
    negative = drawn - positive
    below = np.add(np.subtract(hits, passed, out=passed), negative, out=passed)
    if len(order.tied_steps):
        equal = np.add.reduceat(weights[order.order[order.tied]], order.tied_starts, axis=0)
        below[order.tied_steps] += (equal - found[order.tied_steps]) / 2
    area = divide(np.multiply(found, below, out=below).sum(axis=0), positive * negative, otherwise=np.nan)
    return ap, interpolated, area


def _found(order: _Order, weights: Weights) -> Steps:
    """How many positives each step finds."""
    found: np.ndarray = weights[order.order[order.hits]]
    if len(order.first_hits) < len(order.hits):
        found = np.add.reduceat(found, order.first_hits, axis=0)
    return found.astype(np.float64)


def _passed(order: _Order, weights: Weights) -> Steps:
    """How many samples score at least as high as each step."""
    last = order.ends[-1] + 1
    above = weights[order.order[:last]]
    if len(order.ends) > _DENSE * last:
        every: Steps = np.cumsum(above, axis=0)[order.ends].astype(np.float64)
        return every
    starts = np.concatenate(([0], order.ends[:-1] + 1))
    between = np.add.reduceat(above, starts, axis=0)
    passed: Steps = np.cumsum(between, axis=0, dtype=np.float64)
    return passed


def _key(scores: Values, truth: Bool[np.ndarray, "sample column"]) -> bytes:
    return blake2b(scores.tobytes() + truth.tobytes(), digest_size=16).digest()
