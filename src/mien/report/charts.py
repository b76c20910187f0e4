"""Where things lie on a chart: scales, and places in percent of a chart's width.

Goes in: numbers. Comes out: percentages, so that a drawing fits any width of page without a script.
Knows nothing about: HTML, colours, what the numbers mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Scale", "Tick", "Whisker", "scale_over"]

_STEPS = (1, 2, 2.5, 5, 10)
_MAX_TICKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """A value with its interval, if there is one, in percent of the width."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A linear axis from `low` to `high`, a tick every `step`."""

    low: float
    high: float
    step: float

    def at(self, value: float) -> float:
        """The place of a value, in percent of the width; what is off the axis lies at its end."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def whisker(self, value: float, low: float | None, high: float | None) -> Whisker:
        """The places of a value and of the bounds of its interval."""
        return Whisker(
            value=self.at(value),
            low=None if low is None else self.at(low),
            high=None if high is None else self.at(high),
        )

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """From one end to the other, in as few digits as tell them apart."""
        count = round((self.high - self.low) / self.step)
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        if round(self.step, digits) != round(self.step, 9):
            digits += 1  # steps of 2.5
        values = (round(self.low + index * self.step, 9) + 0.0 for index in range(count + 1))
        return tuple(
            Tick(at=self.at(value), text=f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}"))
            for value in values
        )


def scale_over(values: Iterable[float]) -> Scale:
    """A scale of round numbers that holds zero and every value."""
    known = [0.0, *values]
    span = max(known) - min(known) or 1.0
    step = _round_step(span / (_MAX_TICKS - 1))
    low = step * math.floor(min(known) / step + 1e-9)
    high = step * math.ceil(max(known) / step - 1e-9)
    return Scale(low=low, high=max(high, low + step), step=step)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least this."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))
