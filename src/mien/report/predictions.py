"""Which labels a model predicts for the people of a split, as all sections of a page count them.

A label is predicted if its score reaches its threshold. Where exactly one label holds, the best one is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.calibration.thresholds import decide
from mien.evaluate.metrics.classification import predicted_labels
from mien.evaluate.scores import SplitScores

__all__ = ["Predictions", "predict_labels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Scores as they are shown, and which labels they predict.

    Attributes:
        scores: Calibrated where thresholds were fitted on another split.
        predicted: Which labels are predicted.
        rule: How a label is predicted, in words.
        fitted_on: The split on which thresholds were fitted; "" without any.
    """

    scores: Float[np.ndarray, "sample label"]
    predicted: Bool[np.ndarray, "sample label"]
    rule: str
    fitted_on: str = ""


def predict_labels(scores: SplitScores, calibration: Calibration | None) -> Predictions:
    """Which labels are predicted for everyone.

    Args:
        scores: Of the split.
        calibration: What was fitted on another split; None if nothing was.
    """
    shown = np.asarray(scores.scores if calibration is None else calibration.apply(scores.scores))
    if scores.label_set.exclusive:
        best = predicted_labels(shown, exclusive=True)
        return Predictions(scores=shown, predicted=best, rule="its score is the highest")
    if calibration is None or calibration.thresholds is None:
        given = predicted_labels(shown, exclusive=False)
        return Predictions(scores=shown, predicted=given, rule="its score is at least 0.5")
    return Predictions(
        scores=shown,
        predicted=decide(shown, np.array(calibration.thresholds)) > 0,
        rule=f"its calibrated score reaches the threshold that was fitted on split {calibration.split}",
        fitted_on=calibration.split,
    )
