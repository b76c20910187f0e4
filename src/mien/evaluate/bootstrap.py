"""How far a score can be trusted: 95 % intervals by resampling the test images.

Images are drawn with replacement, not people: two people in one image are not two independent observations.
Over several seeds the metric is averaged within each resample, so an interval is about the choice of test
images; it does not cover what other training seeds would have given.

An interval is about the mean score of test sets with as many images. A score gets the value plus the tails of
the resamples relative to their own mean ("centered percentile interval"). Average precision of a label with
few positives is too high on average, and too high once more in a resample, which repeats positives; relative
to their mean, only how much the resamples vary counts. The chance level is that of test sets of this size,
too. In a difference of two models the bias cancels, and the percentile interval covers the truth more often.
It does not cancel in calibration error, whose bias grows with how well the scores are calibrated: its
differences are centered, too.

The score of endlessly many people, which is lower where positives are few, is not what the interval covers:
resampling shows only about half of the bias. `docs/explanation/intervals.md` has the coverage of both, by
`benchmarks/intervals.py`, and says why intervals of fewer than `MIN_IMAGES` images are not called 95 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mien.evaluate.metrics.metric import PerResample, SampleWeight, unit_weight
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.ranking import ranking_values, share_rankings
from mien.evaluate.metrics.targets import Labels, check_labels

__all__ = [
    "INTERVAL_KIND",
    "MIN_IMAGES",
    "RESAMPLES",
    "Interval",
    "difference",
    "interval",
    "intervals",
    "label_intervals",
    "resample_weights",
    "resampled_interval",
]

RESAMPLES: Final = 1000
INTERVAL_KIND: Final = (
    "percentile bootstrap over images, centered for scores, about the mean of test sets of this size"
)
MIN_IMAGES: Final = 100  # with fewer, the nominal 95 % may cover 90 % or less
_LEVEL: Final = 0.95
_MAX_WEIGHTS: Final = 500_000  # a block of resamples fits the caches of a core


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value, and the bounds of its 95 % interval; NaN if resampling the images says nothing about it."""

    value: float
    low: float
    high: float


def interval(
    item: MetricInput, *, groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The metric, averaged over seeds, with its interval; one image gives none.

    Args:
        item: The metric, the targets, and the scores of each seed.
        groups: The image of each sample; whole images are resampled.
        resamples: How many resamples are drawn.
        seed: Seed of the resampling.

    Raises:
        DataError: There are no scores, or the metric is not defined.
    """
    return intervals([item], groups=groups, resamples=resamples, seed=seed)[0]


def intervals(
    items: Sequence[MetricInput], *, groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Interval, ...]:
    """`interval` of several metrics of the same samples, in one pass: what they share is computed once."""
    blocks: list[list[PerResample]] = [[] for _ in items]
    with share_rankings():
        values = [item.value() for item in items]
        for weight in resample_weights(groups, resamples, seed):
            for item, block in zip(items, blocks, strict=True):
                block.append(_mean_over_seeds(item, weight))
    return tuple(
        _centered(value, _joined(block), lowest=item.metric.lowest, highest=item.metric.highest)
        for item, value, block in zip(items, values, blocks, strict=True)
    )


def difference(
    first: MetricInput,
    second: MetricInput,
    *,
    groups: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """First minus second in the same metric and on the same resamples, each averaged over its seeds."""
    with share_rankings():
        value = first.value() - second.value()
        drawn = _joined(
            [
                _mean_over_seeds(first, weight) - _mean_over_seeds(second, weight)
                for weight in resample_weights(groups, resamples, seed)
            ]
        )
    if not first.metric.bias_cancels:
        return _centered(value, drawn, lowest=-np.inf, highest=np.inf)
    low, high = _tails(drawn[~np.isnan(drawn)])
    return Interval(value=value, low=low, high=high)


def label_intervals(
    targets: Labels,
    scores: Sequence[Labels],
    *,
    groups: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Interval | None, ...]:
    """Average precision of each label with its interval; None for a label that no sample has.

    `scores` has one array per training seed, over which the values are averaged.
    """
    with share_rankings():
        values = _mean_average_precisions(targets, scores, unit_weight(len(targets)))[:, 0]
        blocks = [
            _mean_average_precisions(targets, scores, weight)
            for weight in resample_weights(groups, resamples, seed)
        ]
    drawn = np.concatenate([np.empty((len(values), 0)), *blocks], axis=1)  # label resample
    return tuple(
        None if np.isnan(value) else _centered(float(value), of_label, lowest=0.0, highest=1.0)
        for value, of_label in zip(values, drawn, strict=True)
    )


def resampled_interval(value: float, drawn: PerResample, *, is_difference: bool = False) -> Interval:
    """The interval of a share from its resamples, for what is not a metric of targets and scores.

    Args:
        value: The value of all samples, from 0 to 1.
        drawn: Its resamples, from `resample_weights`; none of them for one image.
        is_difference: Whether it is a difference of two shares of the same samples.
    """
    if not is_difference:
        return _centered(value, drawn, lowest=0.0, highest=1.0)
    low, high = _tails(drawn[~np.isnan(drawn)])
    return Interval(value=value, low=low, high=high)


def _mean_average_precisions(
    targets: Labels, scores: Sequence[Labels], sample_weight: SampleWeight
) -> np.ndarray:
    """[label, resample]"""
    values = []
    for one in scores:
        check_labels(targets, one)
        values.append(ranking_values(targets, one, sample_weight).average_precision)
    mean: np.ndarray = np.mean(values, axis=0)
    return mean


def _mean_over_seeds(item: MetricInput, sample_weight: SampleWeight) -> PerResample:
    values = [item.metric.values(item.targets, scores, sample_weight) for scores in item.scores]
    mean: PerResample = np.mean(values, axis=0)
    return mean


def _centered(value: float, drawn: PerResample, *, lowest: float, highest: float) -> Interval:
    """The value plus the tails' distances from the mean, within the metric's bounds and around the value."""
    drawn = drawn[~np.isnan(drawn)]
    low, high = _tails(drawn)
    if np.isnan(low):
        return Interval(value=value, low=low, high=high)
    shift = value - float(drawn.mean())
    return Interval(
        value=value,
        low=min(value, max(lowest, low + shift)),
        high=max(value, min(highest, high + shift)),
    )


def _tails(drawn: PerResample) -> tuple[float, float]:
    """NaN if there are no resamples."""
    if not len(drawn):
        return np.nan, np.nan
    tail = 100 * (1 - _LEVEL) / 2
    low, high = np.percentile(drawn, (tail, 100 - tail))
    return float(low), float(high)


def _joined(blocks: Sequence[PerResample]) -> PerResample:
    """The values of all resamples; of one image there are none."""
    return np.concatenate([np.empty(0), *blocks])


def resample_weights(groups: Sequence[str], resamples: int, seed: int) -> Iterator[SampleWeight]:
    """How often each sample occurs in each resample, in blocks; the same for any size of a block.

    None at all for one image: every resample of it is the same.
    """
    _, group_of = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    count = int(group_of.max()) + 1 if len(group_of) else 0
    if count < 2:
        return
    rng = np.random.default_rng(seed)
    block = max(1, _MAX_WEIGHTS // len(group_of))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        chosen = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(chosen.ravel(), minlength=size * count).reshape(size, count)
        yield np.ascontiguousarray(times[:, group_of].T, dtype=np.float32)
