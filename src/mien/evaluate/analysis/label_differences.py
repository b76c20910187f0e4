"""Paired differences of two models in the average precision of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.evaluate.bootstrap import RESAMPLES, Interval, resample_weights, resampled_interval
from mien.evaluate.metrics.metric import SampleWeight, unit_weight
from mien.evaluate.metrics.ranking import ranking_values, share_rankings
from mien.evaluate.metrics.targets import positives
from mien.evaluate.results.build import require_same_samples
from mien.evaluate.results.results import MIN_POSITIVES
from mien.evaluate.scores import SplitScores

__all__ = ["LabelDifference", "build_label_differences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDifference:
    """One label: the average precision of model `a`, of model `b`, and a minus b with its 95 % interval.

    `low` and `high` are None if fewer than `MIN_POSITIVES` people have the label, or if the split has one
    image.
    """

    label: str
    a: str
    b: str
    split: str
    value_a: float
    value_b: float
    difference: float
    low: float | None
    high: float | None
    positives: int

    @property
    def excludes_zero(self) -> bool:
        """True if the whole interval lies on one side of zero: the models differ."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def build_label_differences(
    a: tuple[str, Sequence[SplitScores]],
    b: tuple[str, Sequence[SplitScores]],
    *,
    resamples: int = RESAMPLES,
) -> tuple[LabelDifference, ...]:
    """One row per label that some sample has, the most frequent first; none if a model predicts no labels.

    Args:
        a: A model's name, and its scores on one split, one per training seed, over which values are averaged.
        b: Another model's, of the same samples.
        resamples: How many resamples of images the intervals come from.

    Raises:
        DataError: The scores are not of the same samples.
    """
    first = require_same_samples((*a[1], *b[1]))
    if not all(run.has_labels for run in (*a[1], *b[1])):
        return ()
    with share_rankings():
        values_a, values_b = (_precisions(runs, unit_weight(len(first)))[:, 0] for _, runs in (a, b))
        blocks = [
            _precisions(a[1], weight) - _precisions(b[1], weight)
            for weight in resample_weights(first.groups, resamples, 0)
        ]
    drawn = np.concatenate([np.empty((len(values_a), 0)), *blocks], axis=1)
    counts = positives(first.targets).sum(axis=0)
    rows = []
    for index in np.argsort(-counts, kind="stable").tolist():
        if not counts[index]:
            continue
        value = float(values_a[index] - values_b[index])
        found = resampled_interval(value, drawn[index], is_difference=True)
        low, high = _bounds(found, int(counts[index]))
        rows.append(
            LabelDifference(
                label=first.label_set.labels[index],
                a=a[0],
                b=b[0],
                split=first.split,
                value_a=float(values_a[index]),
                value_b=float(values_b[index]),
                difference=value,
                low=low,
                high=high,
                positives=int(counts[index]),
            )
        )
    return tuple(rows)


def _precisions(runs: Sequence[SplitScores], weight: SampleWeight) -> np.ndarray:
    """[label, resample], the mean over seeds."""
    values = [ranking_values(run.targets, run.scores, weight).average_precision for run in runs]
    mean: np.ndarray = np.mean(values, axis=0)
    return mean


def _bounds(found: Interval, positive: int) -> tuple[float | None, float | None]:
    if positive < MIN_POSITIVES or np.isnan(found.low):
        return None, None
    return found.low, found.high
