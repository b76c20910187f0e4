"""From which score on a label holds: one threshold per label, chosen on a split kept for that.

Each label is ranked by score, and cut where the rule is met best. Everything that follows from a cut is
counted in whole numbers of samples, so that nothing depends on two floats being equal. The threshold lies
halfway between the last score above the cut and the first below it, so that rounding elsewhere moves no
sample across. Samples of equal score are never separated. Of equally good cuts the one with the fewest
predictions is taken.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Float64

from mien.errors import unknown_name
from mien.evaluate.metrics.targets import Labels, check_labels, positives

__all__ = ["DEFAULT_THRESHOLD", "ThresholdRule", "decide", "fit_thresholds"]

ThresholdRule = Literal["f1", "precision_recall", "cost"]

DEFAULT_THRESHOLD: Final = 0.5  # for a label that no sample has: nothing says where to cut
_ABOVE_ALL: Final = 1.5


class _Cuts(NamedTuple):
    """What predicting the samples above each cut gives, from few predictions to many."""

    predicted: Float64[np.ndarray, " cut"]
    correct: Float64[np.ndarray, " cut"]
    positive: int
    thresholds: Float64[np.ndarray, " cut"]


def fit_thresholds(
    targets: Labels, scores: Labels, *, rule: ThresholdRule = "f1", cost: float = 1.0
) -> tuple[Float64[np.ndarray, " label"], Bool[np.ndarray, " label"]]:
    """Chooses a threshold for each label.

    Args:
        targets: Targets of the split on which thresholds are chosen, [sample, label].
        scores: Scores in 0..1, [sample, label].
        rule: "f1": the highest F1. "precision_recall": where precision and recall cross, that is, where as
            many are predicted as hold. "cost": the least cost, if a missed label costs `cost` false alarms.
        cost: For the rule "cost".

    Returns:
        The thresholds, and which of them are `DEFAULT_THRESHOLD` because no sample has the label.
    """
    if rule not in get_args(ThresholdRule):
        raise unknown_name("threshold rule", rule, get_args(ThresholdRule))
    check_labels(targets, scores)
    truth = positives(targets)
    without: np.ndarray = np.logical_not(truth.any(axis=0))
    thresholds = np.full(truth.shape[1], DEFAULT_THRESHOLD)
    for label in np.flatnonzero(~without):
        cuts = _cuts(truth[:, label], np.asarray(scores[:, label], dtype=np.float64))
        thresholds[label] = cuts.thresholds[np.argmax(_merit(cuts, rule, cost))]
    return thresholds, without


def decide(
    scores: Labels, thresholds: Float[np.ndarray, " label"] | float
) -> Float64[np.ndarray, "sample label"]:
    """1 where a score reaches its label's threshold, else 0: scores for metrics that cut at 0.5."""
    decisions: np.ndarray = (np.asarray(scores, dtype=np.float64) >= thresholds).astype(np.float64)
    return decisions


def _merit(cuts: _Cuts, rule: ThresholdRule, cost: float) -> Float64[np.ndarray, " cut"]:
    """How good each cut is; only the order counts."""
    missed, false_alarms = cuts.positive - cuts.correct, cuts.predicted - cuts.correct
    merits: dict[ThresholdRule, np.ndarray] = {
        "f1": 2 * cuts.correct / (cuts.predicted + cuts.positive),
        # correct / predicted and correct / positive are equal where the denominators are.
        "precision_recall": -np.abs(cuts.predicted - cuts.positive),
        "cost": -(cost * missed + false_alarms),
    }
    return merits[rule]


def _cuts(truth: Bool[np.ndarray, " sample"], scores: Float64[np.ndarray, " sample"]) -> _Cuts:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of the groups of equal scores
    last, following = ranked[ends], np.append(ranked[ends[:-1] + 1], 0.0)
    middle = (last + following) / 2
    above = (1 + ranked[0]) / 2
    return _Cuts(
        predicted=np.concatenate(([0.0], ends + 1.0)),
        correct=np.concatenate(([0.0], np.cumsum(truth[order])[ends])),
        positive=int(truth.sum()),
        # Between neighboring floats there is none.
        thresholds=np.concatenate(
            ([above if above > ranked[0] else _ABOVE_ALL], np.where(middle > following, middle, last))
        ),
    )
