"""Reads BoLD's annotation files: which person appears in which frames of a clip, and what annotators said.

`train.csv` and `val.csv` have 37 columns and no header; of `test_meta.csv` only the first four columns are
read. The 26 scores are in BoLD's own label order, which is not EMOTIC's (see `mien.labels.BOLD`). Dimensions
stay on the annotators' scale of 1 to 10. No clip and no joints file is opened here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.data.csv_files import read_csv_rows
from mien.data.table_cache import ParsedTables, RowProblem
from mien.errors import DataError
from mien.labels import BOLD
from mien.names import is_path_below
from mien.types import DIMENSIONS, Problem

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ATTRIBUTES", "FILE_NAMES", "TABLE_VERSION", "read_annotations", "subject_id"]

# Increase when the same files produce another table.
TABLE_VERSION: Final = 1

FILE_NAMES: Final[Mapping[str, str]] = {"train": "train.csv", "val": "val.csv", "test": "test_meta.csv"}
ATTRIBUTES: Final = ("gender", "age", "ethnicity", "annotation_confidence")

_SUBJECT_COLUMNS: Final = ("video", "person_id", "min_frame", "max_frame")
_ALL_COLUMNS: Final = (*_SUBJECT_COLUMNS, *BOLD.labels, *DIMENSIONS, *ATTRIBUTES)
_LOWEST, _HIGHEST = 1.0, 10.0
_HINT: Final = "copy the file from the release again"

Row = dict[str, Any]


class _RowError(Exception):
    """A row is unusable. `kind` is the kind of problem."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


def subject_id(row: Mapping[str, Any]) -> str:
    """The id of a person in a clip."""
    return f"{row['video']}#{row['person_id']}@{row['min_frame']}-{row['max_frame']}"


def read_annotations(files: Mapping[str, Path]) -> ParsedTables:
    """The tables of these files, given by split."""
    reader = _Reader()
    tables = {split: _to_arrow(reader.rows(split, path)) for split, path in files.items()}
    return ParsedTables(tables, reader.problems)


@dataclass
class _Reader:
    """Reads one file after another, because ids must be unique across files."""

    problems: list[RowProblem] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)

    def rows(self, split: str, path: Path) -> Iterator[Row]:
        columns = _SUBJECT_COLUMNS if split == "test" else _ALL_COLUMNS
        for number, cells in _read_cells(path, columns):
            where = f"{path}, row {number}"
            try:
                row = _parse_row(cells, columns)
                self._check_unique(row, where)
            except _RowError as error:
                self._report(split, error.kind, where, error.message, unusable=True)
                continue
            if "scores" in row and not any(row["scores"]):
                self._report(split, "no_label", where, "every score is 0", unusable=False)
            yield row

    def _check_unique(self, row: Row, where: str) -> None:
        name = subject_id(row)
        if name in self.places:
            raise _RowError("repeated_id", f"{name} is already in {self.places[name]}")
        self.places[name] = where

    def _report(self, split: str, kind: str, where: str, message: str, *, unusable: bool) -> None:
        problem = Problem(kind=kind, file=where, message=message)
        self.problems.append(RowProblem(split, problem, unusable))


# --- Rows --------------------------------------------------------------------------------------------


def _read_cells(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(row number, cells in the order of `columns`). Rows count from 1, including a header."""
    order: list[int] | None = None
    num_cells = 0
    for row in read_csv_rows(path):
        if row.error:
            raise DataError(f"{path}: {row.error}", hint=_HINT)
        number, cells = row.first_line, row.cells
        if number == 1 and cells[0].strip().casefold() == _SUBJECT_COLUMNS[0]:
            order, num_cells = _column_order(path, cells, columns), len(cells)
        elif order is not None and len(cells) == num_cells:
            yield number, [cells[place] for place in order]
        else:
            yield number, cells


def _column_order(path: Path, header: Sequence[str], columns: Sequence[str]) -> list[int]:
    """The index of each column. The release has no header, but copies that were saved again may have one."""
    names = [name.strip().casefold() for name in header]
    missing = [column for column in columns if column.casefold() not in names]
    if missing:
        raise DataError(f"{path}: the header has no column {missing[0]!r}", hint=_HINT)
    return [names.index(column.casefold()) for column in columns]


def _parse_row(cells: Sequence[str], columns: Sequence[str]) -> Row:
    # The file of the test split may have more columns than these.
    if len(cells) < len(columns) or (len(cells) > len(columns) and columns is _ALL_COLUMNS):
        raise _RowError("bad_row", f"{len(cells)} columns instead of {len(columns)}")
    named = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    row = _parse_subject(named)
    if columns is _ALL_COLUMNS:
        row["scores"] = [_parse_score(named, label) for label in BOLD.labels]
        row["dimensions"] = _parse_dimensions(named)
        row |= {name: named[name] for name in ATTRIBUTES}
    return row


def _parse_subject(named: Mapping[str, str]) -> Row:
    if not is_path_below(named["video"]):
        raise _RowError("bad_row", f"{named['video']!r} is not a path below the video folder")
    row: Row = {
        "video": named["video"],
        **{name: _parse_integer(named, name) for name in _SUBJECT_COLUMNS[1:]},
    }
    first, last = row["min_frame"], row["max_frame"]
    if first < 0 or last < first:
        raise _RowError("frame_range", f"{row['video']}: frames {first} to {last} are not a range")
    return row


def _parse_integer(named: Mapping[str, str], name: str) -> int:
    value = _parse_number(named, name)
    if not value.is_integer() or abs(value) >= 2**31:
        raise _RowError("bad_row", f"{name} is {named[name]!r}, not a whole number")
    return int(value)


def _parse_number(named: Mapping[str, str], name: str) -> float:
    try:
        return float(named[name])
    except ValueError:
        raise _RowError("bad_row", f"{name} is {named[name]!r}, not a number") from None


def _parse_score(named: Mapping[str, str], label: str) -> float:
    score = _parse_number(named, label)
    if not 0.0 <= score <= 1.0:
        raise _RowError("bad_row", f"the score of {label} is {named[label]}, not in 0 to 1")
    return score


def _parse_dimensions(named: Mapping[str, str]) -> list[float] | None:
    """All three, from 1 to 10, or None if none is given."""
    values = [_parse_number(named, name) if named[name] else math.nan for name in DIMENSIONS]
    if all(map(math.isnan, values)):
        return None
    for name, value in zip(DIMENSIONS, values, strict=True):
        if not _LOWEST <= value <= _HIGHEST:
            raise _RowError("dimension_range", f"{name} is {named[name]!r}, not in 1 to 10")
    return values


# --- Table -------------------------------------------------------------------------------------------


def _to_arrow(rows: Iterable[Row]) -> pyarrow.Table:
    import pyarrow as pa

    kinds = {"video": pa.string(), **dict.fromkeys(_SUBJECT_COLUMNS[1:], pa.int32())}
    kinds |= {"scores": pa.list_(pa.float64()), "dimensions": pa.list_(pa.float64())}
    kinds |= dict.fromkeys(ATTRIBUTES, pa.string())
    return pa.Table.from_pylist(list(rows), schema=pa.schema(list(kinds.items())))
