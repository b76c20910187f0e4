"""Boxes as people write them, read and checked before an image is opened."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mien.errors import BoxError, DataError
from mien.types import MAX_EDGE, Box

__all__ = [
    "Edges",
    "are_shares",
    "box_problem",
    "fits_only_turned",
    "parse_box",
    "parse_edges",
    "show_edges",
]

Edges = tuple[float, float, float, float]

_NAMES: Final = ("left", "top", "right", "bottom")
_FORM: Final = "give left, top, right, bottom in pixels of the upright image"
# Shares of boxes that reach beyond the image are a little below 0 or above 1. In pixels, such a box would be
# within the first two pixels of the image's corner.
_LOWEST_SHARE: Final = -0.5
_HIGHEST_SHARE: Final = 1.5
# How NumPy and PyTorch print arrays and their numbers, as pandas writes them to CSV.
_ARRAY: Final = re.compile(r"(?:array|tensor)\((.*?)(?:,\s*dtype=[\w.']+)?\)", re.DOTALL)
_NUMPY_NUMBER: Final = re.compile(r"np\.\w+\(([^()]*)\)")
_BRACKETS: Final = {"[": "]", "(": ")"}
_MAX_TEXT: Final = 1_000  # characters


def parse_box(value: object) -> Box:
    """The box that a value stands for; see `parse_edges` for its forms.

    Raises:
        DataError: The value is not four numbers.
        BoxError: The box is empty, not finite, beyond any image, or given as shares of the image.
    """
    edges = value.as_tuple() if isinstance(value, Box) else parse_edges(value)
    problem = box_problem(edges)
    if problem is not None:
        raise BoxError(f"box {show_edges(edges)} {problem[1]}", hint=_FORM)
    return Box.from_tuple(edges)


def parse_edges(value: object) -> Edges:
    """Left, top, right and bottom.

    Args:
        value: A sequence or array of four numbers; a mapping with the names of the edges; or text: four
            numbers separated by commas, semicolons or spaces, with or without brackets.

    Raises:
        DataError: It is something else.
    """
    if isinstance(value, str):
        parts: Sequence[Any] = _split_text(value)
    elif isinstance(value, Mapping):
        if set(value) != set(_NAMES):
            raise DataError(f"box {_shown(value)} has other keys than {', '.join(_NAMES)}", hint=_FORM)
        parts = [value[name] for name in _NAMES]
    else:
        parts = _to_list(value)
    if len(parts) != 4:
        raise DataError(f"box {_shown(value)} has {len(parts)} numbers, not 4", hint=_FORM)
    try:
        left, top, right, bottom = (part if type(part) is float else _to_number(part) for part in parts)
    except (TypeError, ValueError) as error:
        comma = isinstance(value, str) and any("," in str(part) for part in parts)
        hint = "write a point as the decimal mark" if comma else _FORM
        raise DataError(f"box {_shown(value)} is not four numbers", hint=hint) from error
    return left, top, right, bottom


def box_problem(edges: Edges) -> tuple[str, str] | None:
    """The kind of `mien.types.Problem` and what it is, such as "is empty"; None if there is none."""
    left, top, right, bottom = edges
    if -MAX_EDGE <= left < right <= MAX_EDGE and -MAX_EDGE <= top < bottom <= MAX_EDGE:
        # Nearly every box ends here.
        if right > _HIGHEST_SHARE or not are_shares(edges):
            return None
    elif not all(map(math.isfinite, edges)):
        return "box_not_finite", "is not finite"
    if max(edges) > MAX_EDGE or min(edges) < -MAX_EDGE:
        return "box_outside", "is outside any image"
    if are_shares(edges):
        return "box_normalized", "looks like shares of the image; multiply by width and height"
    if right <= left or bottom <= top:
        return "box_degenerate", "is empty; give left, top, right, bottom"
    return None


def are_shares(edges: Edges) -> bool:
    """Whether these edges are shares of the image, from 0 to 1, and not pixels.

    They are within the first pixels of the image's corner. Four zeros stand for no box in some tables, so an
    empty box of whole numbers does not count.
    """
    if max(edges) > _HIGHEST_SHARE or min(edges) < _LOWEST_SHARE:
        return False
    left, top, right, bottom = edges
    return (right > left and bottom > top) or not all(edge.is_integer() for edge in edges)


def fits_only_turned(box: Box, size: tuple[int, int]) -> bool:
    """Whether a box reaches beyond an image of this (width, height), but not beyond (height, width)."""
    width, height = size
    return (box.right > width + 1 or box.bottom > height + 1) and box.right <= height and box.bottom <= width


def show_edges(edges: Edges) -> str:
    """A box in messages."""
    return f"({', '.join(f'{edge:g}' for edge in edges)})"


def _split_text(text: str) -> list[str]:
    if len(text) > _MAX_TEXT:
        raise DataError(f"box {_shown(text)} has {len(text):,} characters", hint=_FORM)
    inner = (_ARRAY.sub(r"\1", _NUMPY_NUMBER.sub(r"\1", text)) if "(" in text else text).strip()
    closing = _BRACKETS.get(inner[:1])
    if closing is not None:
        if not inner.endswith(closing):
            raise DataError(f"box {_shown(text)} lacks its closing bracket", hint=_FORM)
        inner = inner[1:-1]
    if ";" in inner:
        return inner.split(";")
    return inner.strip().removesuffix(",").split(",") if "," in inner else inner.split()


def _to_list(value: object) -> Sequence[Any]:
    """The items of a sequence or of an array."""
    if type(value) is list:
        return value
    items = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(items, Sequence) or isinstance(items, bytes):
        raise DataError(f"box {_shown(value)} is not four numbers", hint=_FORM)
    return list(items)


def _to_number(part: Any) -> float:
    if part is None or isinstance(part, bool) or (isinstance(part, str) and "_" in part):
        raise ValueError(f"{part!r} is not a number")
    try:
        return float(part)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf if part > 0 else -math.inf


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
