"""The section of a page on how far to trust an answer: accuracy by who gets one, and prediction sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mien.evaluate.results.results import AbstentionRow, SetRow
from mien.report.charts import Scale, scale_over
from mien.report.formatting import format_count, format_interval, format_number

__all__ = ["AnsweredPoint", "SetLine", "UncertaintySection", "uncertainty_section"]

_SHARES: Final = Scale(low=0.0, high=1.0, step=0.2)
_MAX_TICKS: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredPoint:
    """A point of the curve: its place from the left and the top in percent, and its line in the table."""

    left: float
    top: float
    low: float | None
    high: float | None
    who: str
    answered: str
    people: str
    accuracy: str
    interval: str
    gain: str
    gain_interval: str
    is_clear: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLine:
    """The prediction sets of one coverage, as text."""

    stated: str
    found: str
    interval: str
    likely: str
    size: str
    single: str
    complete: str
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintySection:
    """Accuracy by the share of people who get an answer, and prediction sets.

    Attributes:
        split: The split that is shown.
        fitted_on: The split on which the lowest confidence or the sets were fitted; "" without a calibration.
        min_confidence: The score from which on the model is sure; "" without one.
        scale: Of the accuracy.
        shares: Of the share of people.
        points: From few people to all of them.
        fitted: The people of whom the model is sure; None without calibration.
        everyone_top: Where the accuracy for everyone lies, in percent from the top.
        text: The curve in words.
        sets: A line per coverage.
        exclusive: Whether exactly one label holds.
        labels: How many labels there are.
    """

    split: str
    fitted_on: str
    min_confidence: str
    scale: Scale
    shares: Scale
    points: tuple[AnsweredPoint, ...]
    fitted: AnsweredPoint | None
    everyone_top: float
    text: str
    sets: tuple[SetLine, ...]
    exclusive: bool
    labels: int


def uncertainty_section(
    abstention: Sequence[AbstentionRow], sets: Sequence[SetRow], *, split: str, exclusive: bool
) -> UncertaintySection | None:
    """The section for a split; rows of other splits are ignored. None without any of this split."""
    rows = [row for row in abstention if row.split == split]
    set_rows = [row for row in sets if row.split == split]
    curve = sorted((row for row in rows if not row.fitted_on), key=lambda row: row.answered)
    if not curve:
        return None
    scale = scale_over(
        [value for row in rows for value in (row.low, row.high, row.value)],
        with_zero=False,
        max_ticks=_MAX_TICKS,
    )
    points = tuple(_point(row, scale) for row in curve)
    fitted = next((row for row in rows if row.fitted_on), None)
    confidence = None if fitted is None else fitted.min_confidence
    return UncertaintySection(
        split=split,
        fitted_on=fitted.fitted_on if fitted is not None else "",
        min_confidence="" if confidence is None else format_number(confidence),
        scale=scale,
        shares=_SHARES,
        points=points,
        fitted=None if fitted is None else _point(fitted, scale),
        everyone_top=points[-1].top,
        text="; ".join(f"{point.who}: {point.accuracy}" for point in reversed(points)),
        sets=tuple(map(_set_line, set_rows)),
        exclusive=exclusive,
        labels=max((row.labels for row in set_rows), default=0),
    )


def _point(row: AbstentionRow, scale: Scale) -> AnsweredPoint:
    who = "everyone" if row.answered == 1 else f"the surest {row.answered:.0%}"
    if row.min_confidence is not None:
        who = f"score from {format_number(row.min_confidence)} on"
    is_everyone = row.answered == 1 and row.min_confidence is None
    return AnsweredPoint(
        left=_SHARES.at(row.answered),
        top=_top(scale, row.value),
        low=None if row.low is None else _top(scale, row.low),
        high=None if row.high is None else _top(scale, row.high),
        who=who,
        answered=f"{row.answered:.0%}",
        people=format_count(row.n),
        accuracy=format_number(row.value),
        interval=format_interval(row.low, row.high),
        gain="" if is_everyone else format_number(row.gain, signed=True),
        gain_interval="" if is_everyone else format_interval(row.gain_low, row.gain_high, signed=True),
        is_clear=row.gain_low is not None and row.gain_high is not None and row.gain_low * row.gain_high > 0,
    )


def _top(scale: Scale, value: float) -> float:
    return round(100 - scale.at(value), 2)


def _set_line(row: SetRow) -> SetLine:
    return SetLine(
        stated=f"{row.coverage:.0%}",
        found=format_number(row.value),
        interval=format_interval(row.low, row.high),
        likely=format_interval(row.likely_low, row.likely_high),
        size=format_number(row.size, 1),
        single=f"{row.single:.0%}",
        complete=f"{row.complete:.0%}",
        is_default=row.is_default,
    )
