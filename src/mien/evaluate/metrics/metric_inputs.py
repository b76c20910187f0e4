"""What a metric compares: the columns of a model's scores that it reads, and their targets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mien.errors import DataError
from mien.evaluate.metrics.metric import Metric, unit_weight
from mien.evaluate.metrics.table import default_metrics, resolve_metric
from mien.evaluate.metrics.targets import Columns
from mien.evaluate.scores import SplitScores

__all__ = ["MetricInput", "metric_value", "select_metrics"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MetricInput:
    """A metric, the targets, and one array of scores per training seed."""

    metric: Metric
    targets: Columns
    scores: Sequence[Columns]

    @classmethod
    def from_runs(cls, metric: Metric, runs: Sequence[SplitScores]) -> MetricInput:
        """The columns that the metric reads of these scores; DataError if the model does not predict them."""
        if metric.reads_labels and not all(run.has_labels for run in runs):
            raise _not_predicted(metric, "labels")
        if not metric.reads_dimensions:
            return cls(metric=metric, targets=runs[0].targets, scores=[run.scores for run in runs])
        targets = runs[0].dimension_targets
        scores = [_columns(metric, run.scores, run.dimensions) for run in runs if run.dimensions is not None]
        if len(scores) < len(runs) or targets is None:
            raise _not_predicted(metric, "valence, arousal and dominance")
        return cls(metric=metric, targets=_columns(metric, runs[0].targets, targets), scores=scores)

    @property
    def is_defined(self) -> bool:
        """Whether these samples determine the metric; DataError for invalid columns."""
        weight = unit_weight(len(self.targets))
        return not any(np.isnan(self.metric.values(self.targets, one, weight)).any() for one in self.scores)

    def value(self) -> float:
        """The metric, averaged over seeds; DataError if it is not defined."""
        if not self.scores:
            raise DataError("no scores to evaluate", hint="give the scores of at least one seed")
        return float(np.mean([self.metric.value(self.targets, scores) for scores in self.scores]))


def metric_value(metric: Metric, scores: SplitScores) -> float:
    """The metric of these scores."""
    return MetricInput.from_runs(metric, [scores]).value()


def select_metrics(names: Literal["auto"] | Sequence[str], runs: Sequence[SplitScores]) -> Sequence[str]:
    """The names of metrics that these runs can be rated by; logs the others. DataError if none is left."""
    labels, dimensions = all(run.has_labels for run in runs), all(run.has_dimensions for run in runs)
    label_set = runs[0].label_set
    if names == "auto":
        return default_metrics(label_set, dimensions=dimensions, labels=labels)
    fits = {
        name: resolve_metric(name, label_set).fits(labels=labels, dimensions=dimensions) for name in names
    }
    selected = tuple(name for name, fit in fits.items() if fit)
    omitted = [name for name, fit in fits.items() if not fit]
    missing = "labels" if not labels else "valence, arousal and dominance"
    if not selected:
        raise DataError(
            f"{', '.join(omitted)} on split {runs[0].split!r} need {missing}, which the model does not "
            "predict or the split does not annotate",
            hint='set evaluate.metrics to "auto", or train.heads to "both"',
        )
    if omitted:
        log.warning("omitted on %r: %s, which need %s", runs[0].split, ", ".join(omitted), missing)
    return selected


def _columns(metric: Metric, labels: Columns, dimensions: Columns) -> Columns:
    """The dimensions alone, or after the labels."""
    return np.concatenate((labels, dimensions), axis=1) if metric.reads_labels else dimensions


def _not_predicted(metric: Metric, what: str) -> DataError:
    return DataError(
        f"{metric.name} needs {what}, which the model does not predict",
        hint='train it with [train] heads = "both", or remove the metric from [evaluate] metrics',
    )
