"""A table as values: what a column holds, and with how many digits a page and a file print it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Bounds", "Column", "Table", "Value"]

# Both ends of an interval; None where there is none.
Bounds = tuple[float | None, float | None]
Value = str | int | float | Bounds | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        kind: What its values are. An interval becomes two columns in CSV.
        digits: Decimals of numbers and intervals, those of the page.
        signed: Whether positive numbers get a plus sign, as differences do.
    """

    name: str
    kind: Literal["text", "number", "count", "interval"] = "text"
    digits: int = 3
    signed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a page. `name` becomes the name of its files, and `caption` says what it shows."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
