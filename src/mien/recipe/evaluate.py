"""The section `[evaluate]`: how a trained model is scored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mien.recipe.options import Options

__all__ = ["EvaluateOptions"]


class EvaluateOptions(Options):
    """`[evaluate]`: splits, metrics, intervals, calibration."""

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
