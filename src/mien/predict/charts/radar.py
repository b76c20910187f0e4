"""A radar of the highest labels for each person, on the same axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mien.predict.annotate import person_color
from mien.predict.charts.chart import INK, PALE, Chart, draw_chart, heading, line, text, text_width

if TYPE_CHECKING:
    from mien.predict.results import Person

__all__ = ["radar_chart"]

# Sizes in pixels.
_RADIUS: Final = 92
_HEIGHT: Final = 316
_WIDE: Final = 500  # of two radars next to each other, at most
_RINGS: Final = (0.25, 0.5, 0.75, 1.0)
_MIN_AXES: Final = 3


def radar_chart(people: Sequence[Person], *, top: int) -> Chart:
    """One radar per person, from 0 in the middle to 1; a short line marks a label's decision threshold.

    All have the same axes: the `top` labels whose score is highest for any of the people, at least three, in
    the order of the label set.
    """
    labels = _axes(people, max(top, _MIN_AXES))
    width = 2 * math.ceil(1.1 * _RADIUS + max([80.0, *map(text_width, labels)]) + 8)
    columns = 2 if width <= _WIDE and len(people) > 1 else 1
    parts: list[str] = []
    for index, person in enumerate(people):
        left, up = width * (index % columns), _HEIGHT * (index // columns)
        radar = _Radar(labels, width / 2)
        parts.append(f'<g transform="translate({left:g},{up})">{"".join(radar.draw(person))}</g>')
    rows = -(-len(people) // columns)
    title = f"Scores of {len(people)} {'person' if len(people) == 1 else 'people'}"
    return draw_chart(parts, width=columns * width, height=max(40, rows * _HEIGHT), title=title)


def _axes(people: Sequence[Person], count: int) -> tuple[str, ...]:
    highest: dict[str, float] = {}
    for person in people:
        for label, score in person.scores.items():
            highest[label] = max(score, highest.get(label, 0.0))
    chosen = sorted(highest, key=lambda label: -highest[label])[:count]
    return tuple(label for label in highest if label in chosen)


class _Radar:
    """The axes of one person.

    Args:
        labels: One per axis: the first one points up, and the others follow clockwise.
        middle: Where the middle is, in pixels from the left.
    """

    def __init__(self, labels: Sequence[str], middle: float) -> None:
        self._labels, self._x, self._y = labels, middle, _HEIGHT / 2 + 14

    def draw(self, person: Person) -> list[str]:
        parts = [text(10, 20, heading(person), bold=True)]
        if person.prediction is None or not self._labels:
            return parts
        scores = [person.scores.get(label, 0.0) for label in self._labels]
        thresholds = person.prediction.thresholds or {}
        parts += [*self._grid(), *self._shape(scores, person_color(person.id))]
        for index, (label, score) in enumerate(zip(self._labels, scores, strict=True)):
            if label in thresholds:
                parts.append(self._tick(index, thresholds[label]))
            parts += self._name(index, label, score)
        return parts

    def _angle(self, index: float) -> float:
        return 2 * math.pi * index / len(self._labels)

    def _point(self, index: float, score: float) -> tuple[float, float]:
        """Where a score is on an axis."""
        reach, angle = _RADIUS * score, self._angle(index)
        return self._x + reach * math.sin(angle), self._y - reach * math.cos(angle)

    def _grid(self) -> list[str]:
        """The axes, the rings, and the values of two rings between the first two axes."""
        axes = range(len(self._labels))
        parts = [
            line([*(self._point(index, ring) for index in axes), self._point(0, ring)]) for ring in _RINGS
        ]
        parts += [line([(self._x, self._y), self._point(index, 1)]) for index in axes]
        for ring in (0.5, 1):
            x, y = self._point(0.5, ring * math.cos(self._angle(0.5)))
            parts.append(text(x + 2, y + 4, f"{ring:g}", color=PALE))
        return parts

    def _shape(self, scores: Sequence[float], color: str) -> list[str]:
        points = [self._point(index, score) for index, score in enumerate(scores)]
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        area = (
            f'<polygon points="{places}" fill="{color}" fill-opacity="0.25" stroke="{color}" '
            'stroke-width="2" stroke-linejoin="round"/>'
        )
        return [area, *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in points)]

    def _tick(self, index: int, threshold: float) -> str:
        """A short line across an axis."""
        x, y = self._point(index, threshold)
        dx, dy = 6 * math.cos(self._angle(index)), 6 * math.sin(self._angle(index))
        return line([(x - dx, y - dy), (x + dx, y + dy)], color=INK, width=2)

    def _name(self, index: int, label: str, score: float) -> list[str]:
        """The label, and its score below it, at the end of an axis."""
        x, y = self._point(index, 1.1)
        side = math.sin(self._angle(index))
        anchor = "middle" if abs(side) < 0.2 else "start" if side > 0 else "end"
        if anchor == "middle":
            y += 12 if y > self._y else -18
        else:
            y -= 3
        return [text(x, y, label, anchor=anchor), text(x, y + 16, f"{score:.2f}", anchor=anchor, color=PALE)]
