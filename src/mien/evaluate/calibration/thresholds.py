"""From which score on a label is said to hold: one threshold a label, chosen on a split of its own.

Goes in: scores and targets of the split on which thresholds are chosen. Comes out: a threshold a label.
Knows nothing about: which split that is, how scores are calibrated, files.

Each label is ranked by score, and cut where the rule is met best; all that follows from a cut is counted in
whole numbers of samples, so that nothing hangs on two floats being equal. The threshold stands halfway
between the last score above the cut and the first below it: rounding elsewhere moves nobody across. Samples
of equal score are never parted. Of cuts that are equally good the one with fewest predictions is taken.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Float64

from mien.errors import unknown_name
from mien.evaluate.metrics.truth import Labels, check, positives

__all__ = ["DEFAULT_THRESHOLD", "ThresholdRule", "decide", "fit_thresholds"]

ThresholdRule = Literal["f1", "precision_recall", "cost"]

DEFAULT_THRESHOLD: Final = 0.5  # of a label that no sample has: nothing says where to cut
_NEVER: Final = 1.5  # above every score


class _Cuts(NamedTuple):
    """What predicting the samples above each cut gives, from few predictions to many."""

    predicted: Float64[np.ndarray, " cut"]
    right: Float64[np.ndarray, " cut"]
    positive: int
    thresholds: Float64[np.ndarray, " cut"]


def fit_thresholds(
    scores: Labels, targets: Labels, *, rule: ThresholdRule = "f1", cost: float = 1.0
) -> tuple[Float64[np.ndarray, " label"], Bool[np.ndarray, " label"]]:
    """A threshold for each label, and for which of them it is `DEFAULT_THRESHOLD`, as no sample has them.

    "f1": the highest F1. "precision_recall": where precision and recall cross, which is where as many are
    predicted as hold. "cost": the least cost, if a missed label costs `cost` false alarms.
    """
    if rule not in get_args(ThresholdRule):
        raise unknown_name("threshold rule", rule, get_args(ThresholdRule))
    check(scores, targets)
    truth = positives(targets)
    without: np.ndarray = np.logical_not(truth.any(axis=0))
    found = np.full(truth.shape[1], DEFAULT_THRESHOLD)
    for label in np.flatnonzero(~without):
        cuts = _cuts(np.asarray(scores[:, label], dtype=np.float64), truth[:, label])
        found[label] = cuts.thresholds[np.argmax(_merit(cuts, rule, cost))]
    return found, without


def decide(
    scores: Labels, thresholds: Float[np.ndarray, " label"] | float
) -> Float64[np.ndarray, "sample label"]:
    """1 where a score reaches its label's threshold, else 0: scores that are cut at a half alike."""
    found: np.ndarray = (np.asarray(scores, dtype=np.float64) >= thresholds).astype(np.float64)
    return found


def _merit(cuts: _Cuts, rule: ThresholdRule, cost: float) -> Float64[np.ndarray, " cut"]:
    """How good each cut is; only the order counts."""
    missed, false_alarms = cuts.positive - cuts.right, cuts.predicted - cuts.right
    merits: dict[ThresholdRule, np.ndarray] = {
        "f1": 2 * cuts.right / (cuts.predicted + cuts.positive),
        # right / predicted and right / positive are equal where the denominators are.
        "precision_recall": -np.abs(cuts.predicted - cuts.positive),
        "cost": -(cost * missed + false_alarms),
    }
    return merits[rule]


def _cuts(scores: Float64[np.ndarray, " sample"], truth: Bool[np.ndarray, " sample"]) -> _Cuts:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of the groups of equal scores
    last, following = ranked[ends], np.append(ranked[ends[:-1] + 1], 0.0)
    middle = (last + following) / 2
    above = (1 + ranked[0]) / 2
    return _Cuts(
        predicted=np.concatenate(([0.0], ends + 1.0)),
        right=np.concatenate(([0.0], np.cumsum(truth[order])[ends])),
        positive=int(truth.sum()),
        # Between neighbouring floats there is none.
        thresholds=np.concatenate(
            ([above if above > ranked[0] else _NEVER], np.where(middle > following, middle, last))
        ),
    )
