"""What a metric compares: the columns of a model's scores that it is about, beside their truth.

Goes in: a metric, the scores of one or more seeds on one split. Comes out: arrays for its function, or
its value.
Knows nothing about: intervals, pages, how scores were made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.errors import DataError
from mien.evaluate.bootstrap import Asked
from mien.evaluate.metrics import Metric
from mien.evaluate.scores import SplitScores

__all__ = ["asked_of", "value_of"]


def asked_of(item: Metric, runs: Sequence[SplitScores]) -> Asked:
    """The answers of each seed, the truth; DataError if the metric needs dimensions that are not there."""
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


def value_of(item: Metric, scores: SplitScores) -> float:
    """The metric of these scores."""
    asked = asked_of(item, [scores])
    return float(item.function(asked.scores[0], asked.targets))


def _answers(item: Metric, run: SplitScores, dimensions: np.ndarray) -> np.ndarray:
    """The dimensions alone, or behind the labels' scores."""
    return np.concatenate((run.scores, dimensions), axis=1) if item.of_labels else dimensions
