"""The section `[evaluate]`: how a trained model is scored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mien.recipe.options import Options

__all__ = ["EvaluateOptions"]


class EvaluateOptions(Options):
    """`[evaluate]`: splits, metrics, intervals, calibration, prediction sets."""

    splits: tuple[str, ...] = ("test",)
    """Splits to score."""

    metrics: Literal["auto"] | tuple[str, ...] = "auto"
    """Metrics. `auto`: those that fit the label set."""

    bootstrap: int = Field(default=1000, gt=0)
    """Number of bootstrap resamples behind each interval."""

    calibration: Literal["temperature", "platt", "none"] = "temperature"
    """How scores become probabilities; fitted on the split that stops training."""

    thresholds: Literal["f1", "precision_recall", "cost"] = "f1"
    """Rule that chooses each label's threshold, on the split that stops training."""

    cost: float = Field(default=1.0, gt=0)
    """Cost of a missed label, in false alarms, for `thresholds = "cost"`."""

    coverage: float = Field(default=0.9, gt=0, lt=1)
    """Coverage of prediction sets: the share of people with a label who are to have it in their sets."""

    answered: float = Field(default=0.8, gt=0, le=1)
    """Share of people who are to get an answer; of the others, the model is not sure."""
