"""Smooths the scores of people over time, exponentially and by the time that really passed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from mien.types import Prediction

__all__ = ["Smoother"]


class Smoother:
    """The smoothed predictions of one person.

    A new reading x after t seconds moves a score s to s + (1 - exp(-t / time_constant)) (x - s). So the
    result depends on when readings were made, not on how many: two half steps forget as much as a whole one.

    Args:
        time_constant: In seconds; 0 for no smoothing.
    """

    def __init__(self, time_constant: float) -> None:
        self._time_constant = time_constant
        self._time = 0.0
        self._last: Prediction | None = None

    def update(self, time: float, reading: Prediction) -> Prediction:
        """The reading with smoothed scores and dimensions; its description and thresholds stay.

        A prediction set does not: its coverage is stated for photos, and for scores that are not smoothed.

        Args:
            time: In seconds; not before the last one.
            reading: What the model predicts at this time.
        """
        last, weight = self._last, self._weight(time)
        reading = replace(reading, prediction_set=None, coverage=None)
        if last is not None and last.scores.keys() == reading.scores.keys():
            dimensions = reading.dimensions
            if dimensions is not None and last.dimensions is not None:
                dimensions = _mix(last.dimensions, dimensions, weight)
            reading = replace(
                reading, scores=_mix(last.scores, reading.scores, weight), dimensions=dimensions
            )
        self._time, self._last = time, reading
        return reading

    def _weight(self, time: float) -> float:
        """The share of the new reading."""
        if not self._time_constant:
            return 1.0
        return -math.expm1(-(time - self._time) / self._time_constant)


def _mix(old: Mapping[str, float], new: Mapping[str, float], weight: float) -> dict[str, float]:
    # Rounding may exceed 1.
    return {name: min(1.0, (1 - weight) * old[name] + weight * value) for name, value in new.items()}
