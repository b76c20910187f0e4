"""Scales and positions of charts, in percent of the width, so that a chart fits any page without a script."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mien.report.formatting import format_number

__all__ = ["UNIT_SCALE", "Scale", "Tick", "Whisker", "scale_over"]

_STEPS = (1, 2, 2.5, 5, 10)
_MAX_TICKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A labeled position on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """A value and its interval, if it has one, in percent of the width."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A linear axis from `low` to `high` with a tick every `step`."""

    low: float
    high: float
    step: float

    def at(self, value: float) -> float:
        """The position of a value, in percent of the width; values off the axis are clamped to its ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def whisker(self, value: float, low: float | None, high: float | None) -> Whisker:
        """The positions of a value and of the bounds of its interval."""
        return Whisker(
            value=self.at(value),
            low=None if low is None else self.at(low),
            high=None if high is None else self.at(high),
        )

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """From one end to the other, with as few digits as distinguish them."""
        count = round((self.high - self.low) / self.step)
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        if round(self.step, digits) != round(self.step, 9):
            digits += 1  # steps of 2.5
        values = (round(self.low + index * self.step, 9) + 0.0 for index in range(count + 1))
        return tuple(Tick(at=self.at(value), text=format_number(value, digits)) for value in values)


# For scores, shares and probabilities.
UNIT_SCALE = Scale(low=0.0, high=1.0, step=0.2)


def scale_over(
    values: Iterable[float | None], *, with_zero: bool = True, max_ticks: int = _MAX_TICKS
) -> Scale:
    """A scale in round numbers that contains every value, and zero if it should; None counts as nothing."""
    known = [value for value in values if value is not None]
    if with_zero or not known:
        known.append(0.0)
    span = max(known) - min(known) or 1.0
    step = _round_step(span / (max_ticks - 1))
    low = step * math.floor(min(known) / step + 1e-9)
    high = step * math.ceil(max(known) / step - 1e-9)
    return Scale(low=low, high=max(high, low + step), step=step)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least this."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))
