"""BoLD's annotation files as a table: who is in which clip, from which frame to which, and what was said.

In: `train.csv` and `val.csv`, 37 columns without a header, and `test_meta.csv`, of which the first four
count. Out: a pyarrow table a split, and the problems found on the way. Opens no clip and no joints.
Knows nothing about options, targets or boxes.

The 26 scores stand in BoLD's own order of labels, which is not EMOTIC's: `labels.BOLD` alone knows it.
Valence, arousal and dominance are kept on the annotators' scale of 1 to 10.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from mien.errors import DataError
from mien.labels import BOLD
from mien.types import DIMENSIONS, Problem

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ATTRIBUTES", "FILES", "VERSION", "parse", "subject_id"]

# Raised when the same files give another table.
VERSION: Final = 1

FILES: Final[Mapping[str, str]] = {"train": "train.csv", "val": "val.csv", "test": "test_meta.csv"}
ATTRIBUTES: Final = ("gender", "age", "ethnicity", "annotation_confidence")

_WHO: Final = ("video", "person_id", "min_frame", "max_frame")
_ALL: Final = (*_WHO, *BOLD.labels, *DIMENSIONS, *ATTRIBUTES)
_LOWEST, _HIGHEST = 1.0, 10.0
_HINT: Final = "take the file from the release anew"

Row = dict[str, Any]


class _RowError(Exception):
    """Why a row is none: the kind of problem and what is wrong."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


def subject_id(row: Mapping[str, Any]) -> str:
    """What a person in a clip is called."""
    return f"{row['video']}#{row['person_id']}@{row['min_frame']}-{row['max_frame']}"


def parse(
    files: Mapping[str, Path],
) -> tuple[dict[str, pyarrow.Table], list[tuple[str, bool, Problem]]]:
    """The tables of the files by split, and (split, makes the row unusable, problem)."""
    reader = _Reader()
    return {split: _table(reader.rows(split, path)) for split, path in files.items()}, reader.found


@dataclass
class _Reader:
    """Reads one file after another; an id must not occur twice in all of them."""

    found: list[tuple[str, bool, Problem]] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)

    def rows(self, split: str, path: Path) -> Iterator[Row]:
        columns = _WHO if split == "test" else _ALL
        for number, cells in _cells(path, columns):
            where = f"{path}, row {number}"
            try:
                row = _row(cells, columns)
                self._require_new(row, where)
            except _RowError as error:
                self._report(split, error.kind, where, error.message, unusable=True)
                continue
            if "scores" in row and not any(row["scores"]):
                self._report(split, "no_label", where, "every score is 0", unusable=False)
            yield row

    def _require_new(self, row: Row, where: str) -> None:
        name = subject_id(row)
        if name in self.seen:
            raise _RowError("repeated_id", f"{name} stands already in {self.seen[name]}")
        self.seen[name] = where

    def _report(self, split: str, kind: str, where: str, message: str, *, unusable: bool) -> None:
        self.found.append((split, unusable, Problem(kind=kind, file=where, message=message)))


# --- Rows --------------------------------------------------------------------------------------------


def _cells(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(row, its cells in the order of `columns`); rows are counted from 1, a header included."""
    order: list[int] | None = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, cells in enumerate(csv.reader(lines), start=1):
                if number == 1 and cells and cells[0].strip().casefold() == _WHO[0]:
                    order = _order(path, cells, columns)
                elif order is not None and len(cells) > max(order):
                    yield number, [cells[place] for place in order]
                elif cells:
                    yield number, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}", hint=_HINT) from error


def _order(path: Path, header: Sequence[str], columns: Sequence[str]) -> list[int]:
    """Where each column stands. The release has no header; copies that were saved again may have one."""
    names = [name.strip().casefold() for name in header]
    missing = [column for column in columns if column.casefold() not in names]
    if missing:
        raise DataError(f"{path}: its header names no column {missing[0]!r}", hint=_HINT)
    return [names.index(column.casefold()) for column in columns]


def _row(cells: Sequence[str], columns: Sequence[str]) -> Row:
    # The file of the test split may tell more than who is where.
    if len(cells) < len(columns) or (len(cells) > len(columns) and columns is _ALL):
        raise _RowError("bad_row", f"{len(cells)} columns instead of {len(columns)}")
    named = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    row = _who(named)
    if columns is _ALL:
        row["scores"] = [_score(named, label) for label in BOLD.labels]
        row["dimensions"] = _dimensions(named)
        row |= {name: named[name] for name in ATTRIBUTES}
    return row


def _who(named: Mapping[str, str]) -> Row:
    video = PurePosixPath(named["video"])
    if not named["video"] or video.is_absolute() or ".." in video.parts or "\0" in named["video"]:
        raise _RowError("bad_row", f"{named['video']!r} is no path below the folder of videos")
    row: Row = {"video": named["video"], **{name: _integer(named, name) for name in _WHO[1:]}}
    first, last = row["min_frame"], row["max_frame"]
    if first < 0 or last < first:
        raise _RowError("frame_range", f"{row['video']}: from frame {first} to {last} there is none")
    return row


def _integer(named: Mapping[str, str], name: str) -> int:
    value = _number(named, name)
    if not value.is_integer() or abs(value) >= 2**31:
        raise _RowError("bad_row", f"{name} is {named[name]!r}, no whole number")
    return int(value)


def _number(named: Mapping[str, str], name: str) -> float:
    try:
        return float(named[name])
    except ValueError:
        raise _RowError("bad_row", f"{name} is {named[name]!r}, no number") from None


def _score(named: Mapping[str, str], label: str) -> float:
    score = _number(named, label)
    if not 0.0 <= score <= 1.0:
        raise _RowError("bad_row", f"the score of {label} is {named[label]}, not of 0 to 1")
    return score


def _dimensions(named: Mapping[str, str]) -> list[float] | None:
    """All three of 1 to 10, or None where none is given."""
    values = [_number(named, name) if named[name] else math.nan for name in DIMENSIONS]
    if all(map(math.isnan, values)):
        return None
    for name, value in zip(DIMENSIONS, values, strict=True):
        if not _LOWEST <= value <= _HIGHEST:
            raise _RowError("dimension_range", f"{name} is {named[name]!r}, not of 1 to 10")
    return values


# --- Table -------------------------------------------------------------------------------------------


def _table(rows: Iterable[Row]) -> pyarrow.Table:
    import pyarrow as pa

    kinds = {"video": pa.string(), **dict.fromkeys(_WHO[1:], pa.int32())}
    kinds |= {"scores": pa.list_(pa.float64()), "dimensions": pa.list_(pa.float64())}
    kinds |= dict.fromkeys(ATTRIBUTES, pa.string())
    return pa.Table.from_pylist(list(rows), schema=pa.schema(list(kinds.items())))
