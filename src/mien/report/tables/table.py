"""A table as values: what a column holds, and with how many digits a page and a file print it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

__all__ = ["Bounds", "Column", "Field", "Table", "Value", "build_table"]

# Both ends of an interval; None where there is none.
Bounds = tuple[float | None, float | None]
Value = str | int | float | Bounds | None

Item = TypeVar("Item")


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


# A column, and its value for an item.
Field = tuple[Column, Callable[[Item], Value]]


def build_table(name: str, caption: str, items: Iterable[Item], fields: Sequence[Field[Item]]) -> Table:
    """A table with a row per item and a column per field."""
    return Table(
        name=name,
        caption=caption,
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(value(item) for _, value in fields) for item in items),
    )
