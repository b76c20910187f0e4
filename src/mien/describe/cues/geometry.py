"""Where one box is from another: how near, on which side, in front or behind. By boxes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Depth", "Edges", "Nearness", "Relation", "Side", "area", "relate", "shared_area"]

Edges = tuple[float, float, float, float]  # left, top, right, bottom
Nearness = Literal["touching", "close", "apart", "far"]
Side = Literal["left", "right", "same"]
Depth = Literal["front", "same", "behind"]

# Gaps between two boxes, in mean sides of the first.
_CLOSE: Final = 0.35
_APART: Final = 1.0
_DEPTH: Final = 1.35  # by so much the sides of people at different distances differ
_SIDEWAYS: Final = 0.3  # of the widths of the first; less is the same side


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """Where a thing is, as seen from a person.

    Attributes:
        nearness: By the gap between the boxes.
        side: Of the image, not of the person.
        depth: By size and lower edge; what is larger and reaches lower is in front. Only for people, who are
            of similar size.
        gap: Between the boxes, in mean sides of the person's box.
    """

    nearness: Nearness
    side: Side
    depth: Depth
    gap: float


def area(box: Edges) -> float:
    """Of a box in square pixels."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def shared_area(first: Edges, second: Edges) -> float:
    """Of two boxes in square pixels."""
    left, top = max(first[0], second[0]), max(first[1], second[1])
    right, bottom = min(first[2], second[2]), min(first[3], second[3])
    return area((left, top, right, bottom))


def relate(person: Edges, other: Edges) -> Relation:
    """Where a box is from that of a person."""
    across = max(0.0, other[0] - person[2], person[0] - other[2])
    down = max(0.0, other[1] - person[3], person[1] - other[3])
    gap = math.hypot(across, down) / max(1.0, math.sqrt(area(person)))
    offset = ((other[0] + other[2]) - (person[0] + person[2])) / 2 / max(1.0, person[2] - person[0])
    ratio = math.sqrt(area(other) / max(1.0, area(person)))
    return Relation(
        nearness="touching" if gap == 0 else "close" if gap < _CLOSE else "apart" if gap < _APART else "far",
        side="same" if abs(offset) < _SIDEWAYS else "left" if offset < 0 else "right",
        depth=_depth(ratio, other[3] - person[3]),
        gap=gap,
    )


def _depth(ratio: float, lower: float) -> Depth:
    if ratio > _DEPTH and lower >= 0:
        return "front"
    return "behind" if ratio < 1 / _DEPTH and lower <= 0 else "same"
