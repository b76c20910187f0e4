"""What a metric compares: the columns of a model's scores that it is about, beside their truth.

Goes in: a metric, the scores of one or more seeds on one split. Comes out: arrays for its function, or
its value.
Knows nothing about: intervals, pages, how scores were made.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mien.errors import DataError
from mien.evaluate.bootstrap import Asked
from mien.evaluate.metrics.table import Metric, default_metrics, metric
from mien.evaluate.scores import SplitScores

__all__ = ["asked_of", "metrics_of", "value_of"]

log = logging.getLogger(__name__)


def asked_of(item: Metric, runs: Sequence[SplitScores]) -> Asked:
    """The answers of each seed, the truth; DataError if the metric needs what is not estimated."""
    if item.of_labels and not all(run.has_labels for run in runs):
        raise DataError(
            f"{item.name} needs labels, which the model does not estimate",
            hint='train it with [train] heads = "both", or take the metric out of [evaluate] metrics',
        )
    if not item.of_dimensions:
        return Asked(metric=item, scores=[run.scores for run in runs], targets=runs[0].targets)
    answers = [_answers(item, run, run.dimensions) for run in runs if run.dimensions is not None]
    if len(answers) < len(runs) or runs[0].dimension_targets is None:
        raise DataError(
            f"{item.name} needs valence, arousal and dominance, which the model does not estimate",
            hint='train it with [train] heads = "both", or take the metric out of [evaluate] metrics',
        )
    targets = runs[0].dimension_targets
    if item.of_labels:
        targets = np.concatenate((runs[0].targets, targets), axis=1)
    return Asked(metric=item, scores=answers, targets=targets)


def metrics_of(asked: Literal["auto"] | Sequence[str], runs: Sequence[SplitScores]) -> tuple[str, ...]:
    """The metrics asked for that can be taken of these runs; others are told of. DataError if none can."""
    labels, dimensions = all(run.has_labels for run in runs), all(run.has_dimensions for run in runs)
    label_set = runs[0].label_set
    if asked == "auto":
        return default_metrics(label_set, dimensions=dimensions, labels=labels)
    fits = {name: metric(name, label_set).fits(labels=labels, dimensions=dimensions) for name in asked}
    kept = tuple(name for name, fit in fits.items() if fit)
    left_out = [name for name, fit in fits.items() if not fit]
    lacking = "labels" if not labels else "valence, arousal and dominance"
    if not kept:
        raise DataError(
            f"{', '.join(left_out)} on split {runs[0].split!r} need {lacking}, which the model does not "
            "estimate or nobody annotated",
            hint='set evaluate.metrics to "auto", or train.heads to "both"',
        )
    if left_out:
        log.warning("left out on %r: %s, for lack of %s", runs[0].split, ", ".join(left_out), lacking)
    return kept


def value_of(item: Metric, scores: SplitScores) -> float:
    """The metric of these scores."""
    asked = asked_of(item, [scores])
    return float(item.function(asked.scores[0], asked.targets))


def _answers(item: Metric, run: SplitScores, dimensions: np.ndarray) -> np.ndarray:
    """The dimensions alone, or behind the labels' scores."""
    return np.concatenate((run.scores, dimensions), axis=1) if item.of_labels else dimensions
