"""The rows of a manifest file, one by one: JSONL, CSV, Parquet, or a JSON array.

In: a file. Out: a `Line` for each row, numbered as an editor numbers lines; a row that cannot be made out is
a line with a fault, and a file that cannot be read at all is a ManifestError. Knows nothing about what rows
mean (see `manifest_people`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from mien.errors import ManifestError

__all__ = ["EXAMPLE", "READERS", "Line", "array_rows", "is_array", "parquet_rows", "read_json", "readable"]

EXAMPLE: Final = (
    'a row looks like {"image": "photo.jpg", "box": [10, 20, 90, 200], "labels": ["Peace"], "split": "test"}'
)
_BATCH: Final = 64  # rows at once: they may hold whole pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row and where it stands: `place` is such as "row 3", `number` differs for every row of a manifest.

    `row` is None where `fault` says why there is none.
    """

    file: Path
    place: str
    number: int
    row: Mapping[str, Any] | None = None
    fault: str = ""

    @property
    def where(self) -> str:
        return f"{self.file}, {self.place}"


def readable(path: Path, rows: Iterator[Line]) -> Iterator[Line]:
    """The rows; what the file system, the encoding or the CSV reader objects to, as a ManifestError."""
    try:
        yield from rows
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8: {error}", hint="save it as UTF-8") from error
    except (csv.Error, OSError) as error:
        raise ManifestError(f"{path} cannot be read: {error}", hint="write the file again") from error


def _jsonl_rows(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            try:
                yield _line(path, number, json.loads(text))
            except (ValueError, RecursionError) as error:
                yield Line(file=path, place=f"row {number}", number=number, fault=f"not JSON: {error}")


def _csv_rows(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        for row in reader:
            number = reader.line_num
            extra = None in row
            fault = "more cells than the header has; quote cells that hold commas" if extra else ""
            yield Line(
                file=path, place=f"row {number}", number=number, row=None if extra else row, fault=fault
            )


def parquet_rows(path: Path) -> Iterator[Line]:
    """The rows of a Parquet file, few at a time."""
    import pyarrow
    from pyarrow import parquet

    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield Line(file=path, place=f"row {number}", number=number, row=row)
    except (pyarrow.ArrowException, OSError) as error:
        raise ManifestError(
            f"{path} cannot be read as Parquet: {error}", hint="write the file again"
        ) from error


def read_json(path: Path) -> Any:
    """A whole JSON document, in memory."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise ManifestError(f"{path} cannot be read as JSON: {error}", hint="write the file again") from error


def is_array(path: Path) -> bool:
    """Whether a JSON document is an array, by its first letter."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return next((text for line in file if (text := line.strip())), "").startswith("[")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as JSON: {error}", hint="write the file again") from error


def array_rows(path: Path) -> Iterator[Line]:
    """The rows of a JSON array, which is read whole."""
    for number, row in enumerate(read_json(path), start=1):
        yield _line(path, number, row)


def _line(path: Path, number: int, row: object) -> Line:
    if isinstance(row, dict):
        return Line(file=path, place=f"row {number}", number=number, row=row)
    return Line(file=path, place=f"row {number}", number=number, fault="not a JSON object")


# By the ending of the file.
READERS: Final[Mapping[str, Callable[[Path], Iterator[Line]]]] = MappingProxyType(
    {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".parquet": parquet_rows}
)
