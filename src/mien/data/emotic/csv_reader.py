"""EMOTIC from the CSV files in circulation: one per split, one row per person, lists as Python literals.

These files hold only the union of the annotators' labels and the mean of their dimensions, so each person has
one annotation. The column `Image Size` is not read: it was derived from the official file by position and is
swapped for `emodb_small`. An image's people are numbered in the order of its rows.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mien.data.csv_files import read_csv_rows, read_header
from mien.data.emotic.person_table import NO_DIMENSIONS, Annotation, PersonTable, is_relative_image_path
from mien.errors import DataError

__all__ = ["read_csv"]

_REQUIRED: Final = ("Folder", "Filename", "BBox", "Categorical_Labels", "Continuous_Labels")
_COMPARED: Final = frozenset({*_REQUIRED, "Gender", "Age"})
_HINT: Final = f"the header must name at least {', '.join(_REQUIRED)}"
_MAX_CELL: Final = 100_000  # characters; Python's parser takes about a hundred bytes for each
# How Python prints a missing number, which is not a literal that Python can parse.
_NAN: Final = re.compile(r"\bnan\b", re.IGNORECASE)
Row = Mapping[str, str]


def read_csv(path: Path, *, split: str, image_root: Path) -> PersonTable:
    """The people of one file.

    Raises:
        DataError: It is not such a file. Faulty rows are reported as problems instead.
    """
    table = PersonTable(split=split, image_root=image_root)
    num_people: Counter[tuple[str, str]] = Counter()
    previous: set[tuple[str, ...]] = set()
    for number, row in _rows(path, table):
        _read_row(row, f"{path.name}, row {number}", table, num_people, previous)
    return table


def _rows(path: Path, table: PersonTable) -> Iterator[tuple[int, Row]]:
    """Rows with as many cells as the header, numbered like lines in an editor if no cell has two lines."""
    header, delimiter = read_header(path, _REQUIRED)
    header = [name.strip() for name in header]
    absent = [name for name in _REQUIRED if name not in header]
    if absent:
        raise DataError(f"{path} has no column {absent[0]!r}", hint=_HINT)
    rows = read_csv_rows(path, delimiter=delimiter, num_cells=len(header))
    next(rows, None)  # the header
    for row in rows:
        if row.error:
            table.report("bad_row", f"{path.name}, row {row.first_line}", row.error)
        else:
            yield row.first_line, dict(zip(header, row.cells, strict=True))


def _read_row(
    row: Row,
    where: str,
    table: PersonTable,
    num_people: Counter[tuple[str, str]],
    previous: set[tuple[str, ...]],
) -> None:
    folder, name = row["Folder"], row["Filename"]
    if not is_relative_image_path(folder, name):
        table.report("bad_row", where, f"{folder!r} and {name!r} are not a path below the image folder")
        return
    content = tuple(cell for column, cell in row.items() if column in _COMPARED)
    if content in previous:
        table.report("repeated_id", where, f"repeats an earlier row of {folder}/{name}")
        return
    previous.add(content)
    # Counted even if the row is unusable: the next person's id must not depend on that.
    number = num_people[folder, name]
    num_people[folder, name] += 1
    try:
        edges = _parse_numbers(row["BBox"], 4)
        labels = _parse_texts(row["Categorical_Labels"])
        ratings = row["Continuous_Labels"]
        dimensions = _parse_numbers(ratings, 3) if ratings.strip() else NO_DIMENSIONS
    except (ValueError, TypeError, OverflowError, SyntaxError, MemoryError, RecursionError) as error:
        table.report("bad_row", where, f"a cell cannot be read: {error}")
        return
    table.add_person(
        where=where,
        folder=folder,
        name=name,
        number=number,
        edges=edges,
        size=None,
        annotations=[Annotation(labels, dimensions)],
        gender=row.get("Gender", ""),
        age=row.get("Age", ""),
    )


def _parse_list(cell: str) -> list[Any]:
    if len(cell) > _MAX_CELL:
        raise ValueError(f"it has {len(cell):,} characters")
    value = ast.literal_eval(cell.strip())
    if not isinstance(value, list | tuple):
        raise ValueError(f"{cell!r} is not a list")
    return list(value)


def _parse_numbers(cell: str, count: int) -> Sequence[float]:
    values = _parse_list(_NAN.sub("None", cell))
    if len(values) != count:
        raise ValueError(f"{cell!r} has {len(values)} values, not {count}")
    for value in values:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{value!r} in {cell!r} is not a number")
    return [math.nan if value is None else float(value) for value in values]


def _parse_texts(cell: str) -> list[str]:
    texts = _parse_list(cell)
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{text!r} in {cell!r} is not text")
    return texts
