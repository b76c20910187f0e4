"""Parses the cells of a manifest: text, numbers, lists and objects, from any format.

A cell may hold JSON or a Python list as text. pandas writes missing cells as NaN, NaT or words such as "nan";
they are empty cells.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from json import JSONDecodeError
from typing import Any, Final

from mien.data.json_text import parse_strict_json
from mien.errors import DataError
from mien.media.boxes import box_problem, parse_edges, show_edges
from mien.types import DIMENSIONS, Box

__all__ = [
    "MAX_TEXT",
    "MISSING",
    "RowError",
    "decode",
    "is_empty",
    "parse_box",
    "parse_dimensions",
    "parse_frame",
    "parse_frames",
    "parse_id",
    "parse_labels",
    "parse_size",
    "shown",
    "to_python",
]

MAX_TEXT: Final = 4096  # characters of an id or path, the longest path of most systems
# What pandas reads as a missing cell.
MISSING: Final = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"}
    | {"NA", "NULL", "NaN", "NaT", "None", "n/a", "nan", "null"}
)
_MAX_LITERAL: Final = 100_000  # characters; Python's parser takes about a hundred bytes for each
_MAX_FRAME: Final = 2**31
_DIMENSIONS: Final = frozenset(DIMENSIONS)
_PYTHON_NAN: Final = re.compile(r"(?<![\w'\"])nan(?![\w'\"])")
_NUMPY_CALL: Final = re.compile(r"\b(?:np\.\w+|array|tensor|set|frozenset)\(([^()]*)\)")
_DTYPE: Final = re.compile(r",\s*dtype=[\w.<>'|]+")
# NumPy separates texts by spaces. Python joins such texts into one.
_ADJACENT: Final = re.compile(r"(?<=['\"])\s+(?=['\"])")
_SPACED: Final = re.compile(r"(?<=[\d.\]])\s+(?=[-\d.\[])")
# How text begins that holds a list or an object.
_LITERALS: Final = ("[", "{", "(", "array(", "np.", "tensor(", "set(", "frozenset(")
# Millions of cells are looked at, and `int | float` would be a new object each time.
_FULL: Final = frozenset({int, bool, list, dict})  # types whose values are never an empty cell
_PLAIN: Final = frozenset({*_FULL, str, float, type(None)})
_SEQUENCES: Final = (tuple, set, frozenset)
_INEXACT: Final = (float, Decimal)
_NUMBERS: Final = (int, *_INEXACT)
_PLAIN_NUMBERS: Final = frozenset({int, float})
_ID_TYPES: Final = (str, *_NUMBERS, date, time, timedelta)


class RowError(Exception):
    """Why a cell or row cannot be used. `kind` is a kind of `mien.types.Problem`, which this becomes."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def is_empty(value: Any) -> bool:
    """Whether a cell is empty: None, blank text, NaN, or what pandas has for a missing value."""
    kind = type(value)
    if kind is str:
        return not value or value.isspace()
    if kind in _FULL:
        return False
    if value is None:
        return True
    if kind.__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)  # noqa: PLR0124  only NaN
    except Exception:  # noqa: BLE001  arrays have no single truth value
        return False


def to_python(value: Any) -> Any:
    """A cell as plain Python: NumPy's numbers and arrays become numbers and lists, bytes become text."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, _SEQUENCES) else value


def decode(value: Any) -> Any:
    """The value of text that holds JSON or a Python literal; anything else as `to_python`."""
    if type(value) is not str:
        value = to_python(value)
        if not isinstance(value, str):
            return value
    text = value.strip()
    if not text.startswith(_LITERALS):
        return value
    try:
        return parse_strict_json(text)
    except JSONDecodeError:
        return _python_literal(text)
    except ValueError as error:
        raise RowError("bad_row", f"{shown(text)}: {error}") from error


def _python_literal(text: str) -> Any:
    if len(text) > _MAX_LITERAL:
        raise RowError("bad_row", f"{shown(text)} has {len(text):,} characters and is not JSON")
    plain = _PYTHON_NAN.sub("None", _ADJACENT.sub(", ", _DTYPE.sub("", text)))
    plain = _NUMPY_CALL.sub(r"\1", _NUMPY_CALL.sub(r"\1", plain))  # a call may be within another
    if "'" not in plain and '"' not in plain:
        plain = _SPACED.sub(", ", plain)
    try:
        value = ast.literal_eval(plain)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise RowError("bad_row", f"{shown(text)} is neither JSON nor a Python list") from error
    return list(value) if isinstance(value, _SEQUENCES) else value


def shown(value: Any) -> str:
    """A value in a message, not longer than a line."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


# --- Numbers -----------------------------------------------------------------------------------------


def _number(value: Any, what: str) -> float:
    """A number, or text that holds one."""
    try:
        if isinstance(value, _NUMBERS):
            return float(value)
        if isinstance(value, str) and "_" not in value:
            return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf
    except ValueError:
        pass
    comma = isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d*,\d+\s*", value)
    hint = "; write a point as the decimal mark" if comma else ""
    raise RowError("bad_row", f"{what} is {shown(value)}, not a number{hint}")


def _whole(value: Any, what: str) -> int:
    number = _number(value, what)
    if isinstance(value, bool) or not number.is_integer():
        raise RowError("bad_row", f"{what} is {shown(value)}, not a whole number")
    return int(number)


def parse_frame(value: Any) -> int:
    """A frame number, from 0."""
    number = _whole(value, "frame")
    if number < 0:
        raise RowError("frame_range", f"frame {number} is before the first frame, which is 0")
    if number >= _MAX_FRAME:
        raise RowError("frame_range", f"frame {shown(value)} is beyond the end of any clip")
    return number


def parse_frames(value: Any) -> tuple[int, ...] | None:
    """Frame numbers; None for an empty cell."""
    value = decode(value)
    if is_empty(value):
        return None
    if not isinstance(value, list) or not value:
        raise RowError("bad_row", f"frames are {shown(value)}, not a list of numbers")
    return tuple(map(parse_frame, value))


def parse_size(value: Any) -> tuple[int, int] | None:
    """[width, height] in pixels; None for an empty cell."""
    value = decode(value)
    if is_empty(value) or (isinstance(value, list) and value and all(map(is_empty, value))):
        return None
    if isinstance(value, Mapping) and set(value) == {"width", "height"}:
        value = [value["width"], value["height"]]
    if isinstance(value, str):
        value = re.split(r"\s*[,;x\u00d7]\s*|\s+", value.strip())
    if not isinstance(value, list) or len(value) != 2:
        raise RowError("bad_row", f"size is {shown(value)}, not [width, height]")
    width, height = (_whole(side, "size") for side in value)
    if not (0 < width < _MAX_FRAME and 0 < height < _MAX_FRAME):
        raise RowError("bad_row", f"size is {shown(value)}, not [width, height] in pixels")
    return width, height


# --- Text, boxes, targets ----------------------------------------------------------------------------


def parse_id(value: Any) -> str:
    """An id: text or a finite number."""
    if type(value) is str and len(value) <= MAX_TEXT:
        return value
    value = to_python(value)
    if isinstance(value, bool) or not isinstance(value, _ID_TYPES):
        raise RowError("bad_row", f"the id {shown(value)} is {_kind(value)}; give text or a number")
    if isinstance(value, _INEXACT) and not math.isfinite(value):
        raise RowError("bad_row", f"the id {value} is not finite; give text or a number")
    try:
        text = str(value)
    except ValueError:  # a whole number of thousands of digits
        text = "0" * (MAX_TEXT + 1)
    if len(text) > MAX_TEXT:
        raise RowError("bad_row", f"the id has {len(text):,} characters; give at most {MAX_TEXT:,}")
    return text


def _kind(value: Any) -> str:
    kinds = {list: "a list", dict: "an object", bool: "true or false", bytes: "bytes"}
    return kinds.get(type(value), f"of type {type(value).__name__}")


def parse_box(value: Any) -> Box | None:
    """A box in pixels; None for an empty cell."""
    value = to_python(value)
    if _is_missing(value) or (isinstance(value, list) and value and all(map(_is_missing, value))):
        return None
    if isinstance(value, str) and value.strip().startswith("{"):
        value = decode(value)
    try:
        edges = parse_edges(value)
    except DataError as error:
        raise RowError("bad_row", f"{error}; {error.hint}") from error
    problem = box_problem(edges)
    if problem is not None:
        kind, what = problem
        raise RowError(kind, f"box {show_edges(edges)} {what}")
    return Box.from_tuple(edges)


def parse_labels(value: Any) -> dict[str, float]:
    """Scores by label; a list of names, or "A|B", gives each a score of 1."""
    value = decode(value)
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        value = _from_arrow_map(value)
    if isinstance(value, Mapping):
        given = {str(name): score for name, score in value.items() if not is_empty(score)}
        return {name: _number(score, f"the score of {name!r}") for name, score in given.items()}
    names = value.split("|") if isinstance(value, str) else value
    if not isinstance(names, list):
        raise RowError("bad_row", f"labels are {shown(value)}, not names or scores by name")
    names = [name for name in names if not is_empty(name)]
    for name in names:
        if not isinstance(name, str) or len(name) > MAX_TEXT:
            raise RowError("bad_row", f"the label {shown(name)} is not a name")
    return {name.strip(): 1.0 for name in names}


def _from_arrow_map(items: list[Any]) -> dict[Any, Any]:
    if not all(isinstance(item, tuple) and len(item) == 2 for item in items):
        raise RowError("bad_row", f"labels are {shown(items)}, not names or scores by name")
    return dict(items)


def parse_dimensions(table: Any, cells: Mapping[str, Any]) -> dict[str, float] | None:
    """All three dimensions or none, each from 0 to 1.

    Args:
        table: An object of all three, or an empty cell.
        cells: A row with a cell for each, read where `table` is empty. None of its cells is empty.
    """
    if table is None:
        if cells.keys().isdisjoint(DIMENSIONS):
            return None
        plain = _plain_dimensions(cells)
        if plain is not None:
            return plain
    table = decode(table)
    if is_empty(table):
        table = {name: cells[name] for name in DIMENSIONS if name in cells}
    elif isinstance(table, Mapping):
        table = {str(name): value for name, value in table.items() if not _is_missing(value)}
    else:
        raise RowError("bad_row", f"dimensions are {shown(table)}, not an object of {', '.join(DIMENSIONS)}")
    given = {
        name: value if type(value) is float else _number(to_python(value), name)
        for name, value in table.items()
    }
    if not given:
        return None
    if given.keys() != _DIMENSIONS:
        raise RowError(
            "dimension_range", f"dimensions are {sorted(given)}; give all of {', '.join(DIMENSIONS)}"
        )
    for name, number in given.items():
        if not 0 <= number <= 1:  # also excludes NaN
            raise RowError("dimension_range", f"{name} is {number}; dimensions go from 0 to 1")
    return given


def _plain_dimensions(cells: Mapping[str, Any]) -> dict[str, float] | None:
    """All three, from 0 to 1, as almost all rows have them; None for anything else."""
    given: dict[str, float] = {}
    for name in DIMENSIONS:
        value: Any = cells.get(name)
        if type(value) is str and "_" not in value:
            try:
                value = float(value)
            except ValueError:
                return None
        if type(value) not in _PLAIN_NUMBERS or not 0 <= value <= 1:
            return None
        given[name] = float(value)
    return given


def _is_missing(value: Any) -> bool:
    return value.strip() in MISSING if isinstance(value, str) else is_empty(value)
