"""Cells of a manifest's row as values: boxes, labels, dimensions, frame numbers.

In: what a file has in a cell, text of a CSV included. Out: the value, None for an empty cell, or `Broken`,
which says in one word what is wrong. Knows nothing about rows, pictures, or which labels there are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

from mien.types import DIMENSIONS, Box

__all__ = ["Broken", "box_cell", "cell", "dimension_cells", "frame_cells", "label_cell", "size_cell"]


class Broken(Exception):  # noqa: N818 - no error that leaves the room: it becomes a `Problem`
    """Why a cell or row cannot be used: `kind` is one of the kinds of `mien.types.Problem`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def cell(row: Mapping[str, Any], name: str) -> Any:
    """A cell, in which a CSV may hold JSON; None where it is empty."""
    value = _from_text(row.get(name))
    return None if value == "" else value


def box_cell(value: Any) -> Box | None:
    """[left, top, right, bottom], or the same as text with commas."""
    value = _from_text(value)
    if value is None or value == "":
        return None
    edges = value.split(",") if isinstance(value, str) else value
    if len(edges) != len(("left", "top", "right", "bottom")):
        raise Broken("bad_row", f"a box has 4 edges, this one has {len(edges)}")
    left, top, right, bottom = (float(edge) for edge in edges)
    shown = (left, top, right, bottom)
    if not all(math.isfinite(edge) for edge in shown):
        raise Broken("box_not_finite", f"box {shown} is not finite")
    if right <= left or bottom <= top:
        raise Broken("box_degenerate", f"box {shown} is empty; give left, top, right, bottom")
    return Box.from_tuple(shown)


def label_cell(value: Any) -> dict[str, float] | None:
    """The scores by name; a list of names, or "A|B", means 1 for each."""
    value = _from_text(value)
    if value is None or value == "":
        return None
    if isinstance(value, Mapping):
        return {str(name): float(score) for name, score in value.items() if score is not None}
    names = value.split("|") if isinstance(value, str) else value
    return {str(name).strip(): 1.0 for name in cast("Iterable[object]", names)}


def dimension_cells(row: Mapping[str, Any]) -> dict[str, float] | None:
    """All three or none, from 0 to 1."""
    table = _from_text(row.get("dimensions")) or {name: row.get(name) for name in DIMENSIONS}
    if not isinstance(table, Mapping):
        raise Broken("bad_row", f"dimensions are {table!r}, not an object of {', '.join(DIMENSIONS)}")
    given = {name: float(value) for name, value in table.items() if value not in (None, "")}
    if not given:
        return None
    if set(given) != set(DIMENSIONS):
        raise Broken(
            "dimension_range", f"dimensions are {sorted(given)}; give all of {', '.join(DIMENSIONS)}"
        )
    for name, value in given.items():
        if not 0 <= value <= 1:  # NaN, too, is not
            raise Broken("dimension_range", f"{name} is {value}; dimensions go from 0 to 1")
    return given


def frame_cells(values: Any) -> tuple[int, ...] | None:
    """Frame numbers from 0; None where there is no list, or where its only cell is empty."""
    if values is None or values == [None]:
        return None
    if not isinstance(values, list) or not values:
        raise Broken("bad_row", f"frames are {values!r}, not a list of numbers")
    frames = tuple(_whole(value) for value in values)
    if min(frames) < 0:
        raise Broken("frame_range", f"frame {min(frames)} is before the first, which is 0")
    return frames


def _whole(value: Any) -> int:
    number = int(value)  # a ValueError for text that is no number
    if isinstance(value, bool) or (isinstance(value, float) and number != value):
        raise Broken("bad_row", f"frame {value!r} is no whole number")
    return number


def size_cell(value: Any) -> tuple[int, int] | None:
    """[width, height] in pixels."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise Broken("bad_row", f"size is {value!r}, not [width, height]")
    width, height = value
    return int(width), int(height)


def _from_text(value: Any) -> Any:
    """A cell of a CSV that holds JSON, as JSON; anything else as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except RecursionError as error:
            raise Broken("bad_row", "a cell is nested too deeply") from error
        except ValueError as error:
            raise Broken("bad_row", f"a cell is not JSON: {error}") from error
    return value
