"""EMOTIC from the CSV files that circulate: one a split, a row a person, lists as Python literals.

In: a file with the columns Folder, Filename, BBox, Categorical_Labels, Continuous_Labels, Gender, Age, and
others, which are not read. Out: `People`, each with the annotators' union and mean as one opinion, for
that is all these files have.
Knows nothing about pictures.

The column `Image Size` is not read: it was made from the official file by position and is swapped for
`emodb_small`. A picture's people are counted in the order of its rows.
"""

from __future__ import annotations

import ast
import csv
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mien.data.emotic.table import NOT_GIVEN, Opinion, People, is_inside
from mien.errors import DataError

__all__ = ["read_csv"]

_NEEDED: Final = ("Folder", "Filename", "BBox", "Categorical_Labels", "Continuous_Labels")
_HINT: Final = f"the header of such a file names at least {', '.join(_NEEDED)}"
# NaN is how Python writes that no number is there, but no literal that Python reads.
_NAN: Final = re.compile(r"\bnan\b", re.IGNORECASE)
Row = Mapping[str, str]


def read_csv(path: Path, *, split: str, images: Path) -> People:
    """The people of one file; DataError where it is no such file, problems for rows that are wrong."""
    people = People(split=split, images=images)
    counts: Counter[tuple[str, str]] = Counter()
    seen: set[tuple[str, ...]] = set()
    for number, row in _rows(path, people):
        _read_row(row, f"{path.name}, row {number}", people, counts, seen)
    return people


def _rows(path: Path, people: People) -> Iterator[tuple[int, Row]]:
    """Rows with as many cells as the header, numbered as an editor numbers lines if no cell has two."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            absent = [name for name in _NEEDED if name not in header]
            if absent:
                raise DataError(f"{path} has no column {absent[0]!r}", hint=_HINT)
            for number, cells in enumerate(reader, start=2):
                if len(cells) == len(header):
                    yield number, dict(zip(header, cells, strict=True))
                elif cells:
                    message = f"{len(cells)} cells under the {len(header)} of the header"
                    people.report("bad_row", f"{path.name}, row {number}", message)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="save it as CSV in UTF-8") from error


def _read_row(
    row: Row, where: str, people: People, counts: Counter[tuple[str, str]], seen: set[tuple[str, ...]]
) -> None:
    folder, name = row["Folder"], row["Filename"]
    if not is_inside(folder, name):
        message = f"{folder!r} and {name!r} name no file below the pictures' folder"
        people.report("bad_row", where, message)
        return
    content = tuple(cell for column, cell in row.items() if column in _ALL)
    if content in seen:
        people.report("repeated_id", where, f"an earlier row says the same of {folder}/{name}")
        return
    seen.add(content)
    # Counted even if it cannot be used: the next person's id must not depend on that.
    number = counts[folder, name]
    counts[folder, name] += 1
    try:
        edges = _numbers(row["BBox"], 4)
        labels = _names(row["Categorical_Labels"])
        dimensions = _numbers(row["Continuous_Labels"], 3) if row["Continuous_Labels"].strip() else NOT_GIVEN
    except (ValueError, TypeError, OverflowError, SyntaxError, MemoryError, RecursionError) as error:
        people.report("bad_row", where, f"a cell cannot be read: {error}")
        return
    people.add(
        where=where,
        folder=folder,
        name=name,
        number=number,
        edges=edges,
        size=None,
        opinions=[Opinion(labels, dimensions)],
        gender=row.get("Gender", ""),
        age=row.get("Age", ""),
    )


_ALL: Final = frozenset({*_NEEDED, "Gender", "Age"})


def _literal(cell: str) -> list[Any]:
    value = ast.literal_eval(cell.strip())
    if not isinstance(value, list | tuple):
        raise ValueError(f"{cell!r} is no list")
    return list(value)


def _numbers(cell: str, count: int) -> Sequence[float]:
    values = _literal(_NAN.sub("None", cell))
    if len(values) != count:
        raise ValueError(f"{cell!r} has {len(values)} values, not {count}")
    for value in values:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{value!r} in {cell!r} is no number")
    return [math.nan if value is None else float(value) for value in values]


def _names(cell: str) -> list[str]:
    names = _literal(cell)
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"{name!r} in {cell!r} is no text")
    return names
