"""Horizontal bars of the highest labels of each person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mien.predict.annotate import person_color
from mien.predict.charts.chart import INK, PALE, Chart, draw_chart, heading, text, text_width

if TYPE_CHECKING:
    from mien.predict.results import Person

__all__ = ["bar_chart"]

# Sizes in pixels.
_BAR: Final = 252
_ROW: Final = 22
_LABEL: Final = 150  # at least
_VALUE: Final = 50


def bar_chart(people: Sequence[Person], *, top: int) -> Chart:
    """Horizontal bars from 0 to 1, one group per person; a tick marks the decision threshold of a label."""
    parts: list[str] = []
    y = 8
    names = [label for person in people for label, _ in person.top(top)]
    left = max([_LABEL, *(round(text_width(name)) + 16 for name in names)])
    for person in people:
        y = _person_bars(person, parts, left, y, top) + 14
    title = f"Scores of {len(people)} {'person' if len(people) == 1 else 'people'}"
    return draw_chart(parts, width=left + _BAR + _VALUE + 8, height=max(y, 40), title=title)


def _person_bars(person: Person, parts: list[str], left: int, y: int, top: int) -> int:
    """Appends the bars of a person, and returns where the next may begin."""
    parts.append(text(8, y + 14, heading(person), bold=True))
    y += _ROW
    thresholds = {} if person.prediction is None else person.prediction.thresholds or {}
    for label, score in person.top(top):
        parts.append(
            f"{text(left - 8, y + 15, label, anchor='end')}"
            f'<rect x="{left}" y="{y + 3}" width="{_BAR}" height="{_ROW - 7}" fill="#eef1f4"/>'
            f'<rect x="{left}" y="{y + 3}" width="{_BAR * score:.1f}" height="{_ROW - 7}" '
            f'fill="{person_color(person.id)}"/>'
            f"{text(left + _BAR + 6, y + 15, f'{score:.2f}')}"
        )
        if label in thresholds:
            x = left + _BAR * thresholds[label]
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y + 1}" y2="{y + _ROW - 2}" stroke="{INK}" '
                f'stroke-width="2"><title>threshold {thresholds[label]:.2f}</title></line>'
            )
        y += _ROW
    if person.prediction is not None and person.dimensions is not None:
        # Too wide to begin where the bars do.
        parts.append(text(8, y + 15, person.prediction.dimensions_text(), color=PALE))
        y += _ROW
    return y
