"""The contract of a metric: one function of targets, scores and sample weights, and what to know about it.

To add a metric, write its function and a `Metric` next to it, and name that `Metric` in one line of
`mien.registry`. A recipe can also name one in another package, as "my_package.my_module:MY_METRIC".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int

from mien.errors import ConfigError, DataError
from mien.evaluate.metrics.targets import (
    Columns,
    Labels,
    check_dimensions,
    check_labels,
    dimension_columns,
    label_columns,
    labels_with_positives,
)
from mien.labels import LabelSet

__all__ = [
    "Metric",
    "MetricFunction",
    "PerResample",
    "SampleWeight",
    "for_each_resample",
    "mean_over_rows",
    "safe_divide",
    "unit_weight",
]

SampleWeight = Float[np.ndarray, "sample resample"]
PerResample = Float64[np.ndarray, " resample"]
MetricFunction = Callable[[Columns, Columns, SampleWeight], PerResample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number for how well scores agree with what annotators saw.

    Attributes:
        name: How recipes and results call it.
        title: What pages call it.
        function: `(targets, scores, sample_weight) -> values`, scikit-learn's convention for many resamples
            at once. `targets` and `scores` are arrays of [sample, column], `sample_weight` of [sample,
            resample] says how often each sample occurs in each resample. Returns one value per resample: the
            metric of a split in which samples are repeated that often, NaN where that is not defined.
        chance: What a model that sees neither image nor text reaches on these targets.
        reads: What the columns are: labels, dimensions, or the labels followed by the three dimensions.
        label_sets: Where it is defined: in label sets of which exactly one label holds ("exclusive"), of
            which any number may hold ("multi"), or in both.
        multi_label: The metric that goes by this name where any number of labels may hold, if it is another.
        higher_is_better: False for errors.
        lowest: The lowest possible value; -inf if there is none.
        highest: The highest possible value; inf if there is none.
        bias_cancels: Whether the bias that resampling adds is the same for two models; see `bootstrap`.
        undefined: Why the value of a whole split may be undefined, for the error message.
        rated_labels: Indices of the labels that count, given the targets.
    """

    name: str
    title: str
    function: MetricFunction
    chance: Callable[[Columns], float]
    reads: Literal["labels", "dimensions", "labels and dimensions"] = "labels"
    label_sets: Literal["any", "exclusive", "multi"] = "any"
    multi_label: Metric | None = None
    higher_is_better: bool = True
    lowest: float = 0.0
    highest: float = 1.0
    bias_cancels: bool = True
    undefined: str = "the samples do not determine it"
    rated_labels: Callable[[Labels], Int[np.ndarray, " rated"]] = labels_with_positives

    @property
    def reads_labels(self) -> bool:
        """Whether it compares scores of labels."""
        return self.reads != "dimensions"

    @property
    def reads_dimensions(self) -> bool:
        """Whether it compares valence, arousal and dominance."""
        return self.reads != "labels"

    def fits(self, *, labels: bool, dimensions: bool) -> bool:
        """Whether a model that predicts labels, dimensions or both can be rated by it."""
        return (labels or not self.reads_labels) and (dimensions or not self.reads_dimensions)

    def for_label_set(self, label_set: LabelSet) -> Metric:
        """The metric as it is computed for this label set; ConfigError if it is not defined there."""
        if not label_set.exclusive and self.multi_label is not None:
            return self.multi_label
        if self.label_sets == ("multi" if label_set.exclusive else "exclusive"):
            number = "exactly one label holds" if label_set.exclusive else "several labels may hold"
            raise ConfigError(
                f"{self.name} is not defined for label set {label_set.name!r}, where {number}",
                hint="use mAP or macro_f1",
            )
        return self

    def values(self, targets: Columns, scores: Columns, sample_weight: SampleWeight) -> PerResample:
        """The metric of each resample, NaN where it is not defined; DataError for invalid columns."""
        self._check(targets, scores)
        return self.function(targets, scores, sample_weight)

    def value(self, targets: Columns, scores: Columns) -> float:
        """The metric of these samples; DataError for invalid columns, or if it is not defined."""
        value = float(self.values(targets, scores, unit_weight(len(targets)))[0])
        if np.isnan(value):
            raise DataError(
                f"{self.name} is not defined: {self.undefined}",
                hint=f"evaluate on more samples, or remove {self.name} from [evaluate] metrics",
            )
        return value

    def _check(self, targets: Columns, scores: Columns) -> None:
        if self.reads == "labels":
            check_labels(targets, scores)
        elif self.reads == "dimensions":
            check_dimensions(targets, scores)
        else:
            check_labels(label_columns(targets), label_columns(scores))
            check_dimensions(dimension_columns(targets), dimension_columns(scores))


def for_each_resample(function: Callable[..., float]) -> MetricFunction:
    """Adapts a function of scikit-learn's form, `(targets, scores, sample_weight=[sample]) -> float`.

    It is called once per resample, which is slow; `ranking` shows how to compute all resamples at once.
    """

    def values(targets: Columns, scores: Columns, sample_weight: SampleWeight) -> PerResample:
        return np.array([float(function(targets, scores, sample_weight=one)) for one in sample_weight.T])

    return values


def unit_weight(num_samples: int) -> SampleWeight:
    """The weights of one resample in which every sample occurs once."""
    return np.ones((num_samples, 1), dtype=np.float32)


def safe_divide(numerator: np.ndarray, denominator: np.ndarray, *, otherwise: float) -> np.ndarray:
    """Elementwise quotient, and `otherwise` where the denominator is 0."""
    result = np.full(np.shape(denominator), otherwise, dtype=np.float64)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def mean_over_rows(values: Float64[np.ndarray, "row resample"], *, otherwise: float = np.nan) -> PerResample:
    """The mean of the values that are defined, and `otherwise` where none is."""
    return safe_divide(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0), otherwise=otherwise)
