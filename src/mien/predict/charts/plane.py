"""Valence and arousal as a plane, with dominance as size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from mien.predict.annotate import person_color
from mien.predict.charts.chart import FONT_SIZE, INK, PALE, Chart, draw_chart, heading, line, text

if TYPE_CHECKING:
    from mien.predict.results import Person

__all__ = ["dimension_chart"]

# Sizes in pixels.
_SIDE: Final = 360
_LEFT, _TOP = 76, 24
_LEGEND: Final = 130
_LARGEST: Final = 20  # radius of a dominance of 1
_NAME: Final = 17  # height of a name

Area = tuple[float, float, float, float]  # left, top, right, bottom


def dimension_chart(people: Sequence[Person]) -> Chart:
    """Where each person is in the plane of valence and arousal; the area of a circle is their dominance.

    Axes are from 0 to 10, as in text. Each circle has the person's number. People without dimensions are
    named below.
    """
    placed = [person for person in people if person.dimensions is not None]
    missing = [person for person in people if person.dimensions is None]
    parts = [*_axes(), *_legend()]
    # Large ones first, so that none is covered.
    for person in sorted(placed, key=lambda person: -(person.dimensions or {})["dominance"]):
        parts.append(_circle(person))
    parts += _names(placed)
    y = _TOP + _SIDE + 62
    for person in missing:
        parts.append(text(_LEFT, y, f"{heading(person)}: no dimensions", color=PALE))
        y += 18
    title = f"Valence, arousal and dominance of {len(placed)} {'person' if len(placed) == 1 else 'people'}"
    return draw_chart(parts, width=_LEFT + _SIDE + _LEGEND, height=y - 6, title=title)


def _axes() -> list[str]:
    right, bottom = _LEFT + _SIDE, _TOP + _SIDE
    parts = [f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="#f6f8fa"/>']
    for value in (0, 2.5, 5, 7.5, 10):
        x, y = _place(value / 10, value / 10)
        width = 1.6 if value == 5 else 1
        parts += [line([(x, _TOP), (x, bottom)], width=width), line([(_LEFT, y), (right, y)], width=width)]
        parts += [
            text(x, bottom + 18, f"{value:g}", anchor="middle"),
            text(_LEFT - 8, y + 4, f"{value:g}", anchor="end"),
        ]
    middle = _TOP + _SIDE / 2
    parts += [
        text(_LEFT, bottom + 40, "unpleasant", color=PALE),
        text(_LEFT + _SIDE / 2, bottom + 40, "valence", anchor="middle", bold=True),
        text(right, bottom + 40, "pleasant", anchor="end", color=PALE),
    ]
    turned = [
        text(-_SIDE / 2, 0, "calm", color=PALE),
        text(0, 0, "arousal", anchor="middle", bold=True),
        text(_SIDE / 2, 0, "excited", anchor="end", color=PALE),
    ]
    return [*parts, f'<g transform="translate(26,{middle:g}) rotate(-90)">{"".join(turned)}</g>']


def _legend() -> list[str]:
    x, y = _LEFT + _SIDE + 44, _TOP + 14
    parts = [text(x - 24, y, "dominance", bold=True)]
    y += 32
    for value in (0.2, 0.5, 0.9):
        radius = _radius(value)
        parts.append(
            f'<circle cx="{x}" cy="{y:g}" r="{radius:.1f}" fill="none" stroke="{INK}" stroke-width="1.5"/>'
        )
        parts.append(text(x + _LARGEST + 10, y + 4, f"{10 * value:g}"))
        y += 2 * _LARGEST + 6
    return parts


def _place(valence: float, arousal: float) -> tuple[float, float]:
    return _LEFT + _SIDE * valence, _TOP + _SIDE * (1 - arousal)


def _radius(dominance: float) -> float:
    return max(3.0, _LARGEST * math.sqrt(dominance))


def _circle_of(person: Person) -> tuple[float, float, float]:
    """The middle and the radius of a person's circle."""
    values = person.dimensions or {}
    return *_place(values["valence"], values["arousal"]), _radius(values["dominance"])


def _circle(person: Person) -> str:
    assert person.prediction is not None
    x, y, radius = _circle_of(person)
    color = person_color(person.id)
    words = f"{heading(person)}: {person.prediction.dimensions_text()}"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{color}" fill-opacity="0.45" '
        f'stroke="{color}" stroke-width="2"><title>{escape(words)}</title></circle>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{INK}"/>'
    )


def _names(people: Sequence[Person]) -> list[str]:
    """The name of each person next to their circle, where it covers no other name and no middle."""
    circles = [_circle_of(person) for person in people]
    taken: list[Area] = [(x - 3, y - 3, x + 3, y + 3) for x, y, _ in circles]
    parts = []
    for person, circle in zip(people, circles, strict=True):
        name = f"Person {person.id}" if len(people) <= 12 else f"{person.id}"
        places = list(_name_places(*circle, width=len(name) * FONT_SIZE * 0.56))
        free = [
            place
            for place in places
            if _is_inside(place) and not any(_overlap(place, other) for other in taken)
        ]
        area = free[0] if free else places[0]
        taken.append(area)
        x, y, _ = circle
        middle = (area[0] + area[2]) / 2, (area[1] + area[3]) / 2
        if math.dist((x, y), middle) > _LARGEST + 40:
            edge = area[0] if x < area[0] else area[2] if x > area[2] else middle[0]
            parts.append(line([(x, y), (edge, middle[1])], color=PALE))
        parts.append(text(area[0], area[3] - 4, name, bold=True))
    return parts


def _name_places(x: float, y: float, radius: float, *, width: float) -> list[Area]:
    """Places for a name around a circle, the nearest first."""
    found = []
    for distance in range(0, 160, 12):
        away = radius + 4 + distance
        corners = [
            (x + away, y - _NAME / 2),
            (x - away - width, y - _NAME / 2),
            (x - width / 2, y - away - _NAME),
            (x - width / 2, y + away),
            (x + away * 0.8, y - away * 0.8 - _NAME / 2),
            (x + away * 0.8, y + away * 0.8 - _NAME / 2),
            (x - away * 0.8 - width, y - away * 0.8 - _NAME / 2),
            (x - away * 0.8 - width, y + away * 0.8 - _NAME / 2),
        ]
        found += [(left, top, left + width, top + _NAME) for left, top in corners]
    return found


def _is_inside(area: Area) -> bool:
    return (
        area[0] >= _LEFT
        and area[1] >= _TOP - 20
        and area[2] <= _LEFT + _SIDE + 16
        and area[3] <= _TOP + _SIDE
    )


def _overlap(first: Area, second: Area) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
