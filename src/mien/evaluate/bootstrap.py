"""How far a score can be trusted: 95 % intervals by resampling the test pictures.

Goes in: the scores of one model, or of two on the same samples, one array a training seed.
Comes out: `Interval`, the value with the range in which it falls for 95 % of resampled test sets.
Knows nothing about: models, files, or how the metric is computed (see `weighted`).

Pictures are drawn with replacement, not people: two people in one photo are not two independent
observations. Over several seeds the metric is averaged within each resample, so an interval is about
the choice of test pictures; it does not cover what other training seeds would have given.

A score gets the basic bootstrap interval (Davison and Hinkley 1997, section 5.2), which turns the
resamples' deviations around: average precision of a label with few positives is too high on average, in
a resample of the test set once more so, and the percentile interval would add that error where the
basic one takes it away. The interval is therefore about what ever more such pictures would give, and a
score from few pictures lies high in it. In a difference of two models the error cancels, and the
percentile interval holds the truth more often; `tests/evaluate/test_bootstrap.py` shows both. It does not
cancel in calibration error, which is too high the more so the better scores are calibrated: its differences
get the basic interval too. R2, which has no lowest value, gets the percentile
interval for scores as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from mien.errors import DataError
from mien.evaluate.metrics.rank_kernel import Rankings, Weights
from mien.evaluate.metrics.table import Metric, average_precisions
from mien.evaluate.metrics.weighted import Resampled, resampled

__all__ = ["RESAMPLES", "Asked", "Interval", "difference", "interval", "intervals", "label_intervals"]

RESAMPLES: Final = 1000
_LEVEL: Final = 0.95
_MAX_WEIGHTS: Final = 500_000  # a block of resamples fits the caches of a core

Columns = Float[np.ndarray, "sample column"]
Arrays = Sequence[Columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value, and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A metric, the scores of each seed as it takes them, and their targets."""

    metric: Metric
    scores: Arrays
    targets: Columns


def interval(
    metric: Metric,
    scores: Arrays,
    targets: Columns,
    *,
    groups: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The metric, averaged over the arrays of `scores` (one a seed), with its interval.

    `groups` names the picture of each sample; whole pictures are resampled.
    """
    asked = Asked(metric=metric, scores=scores, targets=targets)
    return intervals([asked], groups=groups, resamples=resamples, seed=seed)[0]


def intervals(
    asked: Sequence[Asked], *, groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Interval, ...]:
    """`interval` of several metrics of the same samples, in one go: what they share is computed once."""
    values = [_value(item.metric, item.scores, item.targets) for item in asked]
    rankings = Rankings()
    drawn: list[list[Resampled]] = [[] for _ in asked]
    for weights in _draws(groups, resamples, seed):
        for item, kept in zip(asked, drawn, strict=True):
            kept.append(_over_seeds(item.metric, item.scores, item.targets, weights, rankings))
    return tuple(
        _of_score(item.metric, value, np.concatenate(kept))
        for item, value, kept in zip(asked, values, drawn, strict=True)
    )


def difference(
    metric: Metric,
    first: Arrays,
    second: Arrays,
    targets: Columns,
    *,
    groups: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """First minus second, each averaged over its seeds; both are measured on the same resamples."""
    value = _value(metric, first, targets) - _value(metric, second, targets)
    rankings = Rankings()
    drawn = [
        _over_seeds(metric, first, targets, weights, rankings)
        - _over_seeds(metric, second, targets, weights, rankings)
        for weights in _draws(groups, resamples, seed)
    ]
    if metric.bias_cancels:
        return _percentile(value, np.concatenate(drawn))
    return _basic(value, np.concatenate(drawn), lowest=-np.inf, highest=np.inf)


def label_intervals(
    scores: Arrays,
    targets: Columns,
    *,
    groups: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Interval | None, ...]:
    """Average precision of each label with its interval; None for a label that no sample has."""
    values = np.mean([average_precisions(one, targets) for one in scores], axis=0)
    rankings = Rankings()
    blocks = [
        np.mean([rankings.values(one, targets, weights).average_precision for one in scores], axis=0)
        for weights in _draws(groups, resamples, seed)
    ]
    drawn = np.concatenate(blocks, axis=1)  # label resample
    return tuple(
        None if np.isnan(value) else _basic(float(value), of_label)
        for value, of_label in zip(values, drawn, strict=True)
    )


def _value(metric: Metric, scores: Arrays, targets: Columns) -> float:
    if not scores:
        raise DataError("no scores to evaluate", hint="give the scores of at least one seed")
    return float(np.mean([metric.function(one, targets) for one in scores]))


def _over_seeds(
    metric: Metric, scores: Arrays, targets: Columns, weights: Weights, rankings: Rankings
) -> Resampled:
    values: Resampled = np.mean(
        [resampled(metric, one, targets, weights, rankings=rankings) for one in scores], axis=0
    )
    return values


def _of_score(metric: Metric, value: float, drawn: Resampled) -> Interval:
    if np.isfinite(metric.lowest):
        return _basic(value, drawn, lowest=metric.lowest, highest=metric.highest)
    # Turned around, the endless lower tail of R2 would reach a perfect score.
    found = _percentile(value, drawn)
    return Interval(value=value, low=min(found.low, value), high=max(found.high, value))


def _basic(value: float, drawn: Resampled, *, lowest: float = 0.0, highest: float = 1.0) -> Interval:
    """The tails turned around the value, where the metric can be, and never without the value."""
    low, high = _tails(drawn)
    turned_low, turned_high = 2 * value - high, 2 * value - low
    return Interval(
        value=value, low=max(lowest, min(turned_low, value)), high=min(highest, max(turned_high, value))
    )


def _percentile(value: float, drawn: Resampled) -> Interval:
    low, high = _tails(drawn)
    return Interval(value=value, low=low, high=high)


def _tails(drawn: Resampled) -> tuple[float, float]:
    if np.isnan(drawn).all():
        raise DataError("the metric is not defined in any resample", hint="evaluate on more samples")
    tail = 100 * (1 - _LEVEL) / 2
    low, high = np.nanpercentile(drawn, (tail, 100 - tail))
    return float(low), float(high)


def _draws(groups: Sequence[str], resamples: int, seed: int) -> Iterator[Weights]:
    """How often each sample occurs in each resample, in blocks; the same for any size of a block."""
    _, group_of = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    count = int(group_of.max()) + 1 if len(group_of) else 0
    if count < 2:
        raise DataError(
            f"no interval from {count} picture{'' if count == 1 else 's'}",
            hint="evaluate on a split with at least two pictures",
        )
    rng = np.random.default_rng(seed)
    block = max(1, _MAX_WEIGHTS // len(group_of))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        chosen = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(chosen.ravel(), minlength=size * count).reshape(size, count)
        yield np.ascontiguousarray(times[:, group_of].T, dtype=np.float32)
