"""Reads a manifest file row by row: JSON Lines, CSV, Parquet, or a JSON array.

A row that cannot be parsed becomes a `ManifestRow` with an `error`, so that the other rows are still read. A
file that cannot be read at all raises ManifestError. What the cells mean is up to `row_parser`.
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

__all__ = [
    "BATCH_SIZE",
    "EXAMPLE",
    "READERS",
    "Cells",
    "ManifestRow",
    "is_json_array",
    "map_read_errors",
    "read_json",
    "read_json_array",
    "read_parquet",
]

EXAMPLE: Final = (
    'a row looks like {"image": "photo.jpg", "box": [10, 20, 90, 200], "labels": ["Peace"], "split": "test"}'
)
BATCH_SIZE: Final = 64  # rows in memory at once: they may embed whole images

Cells = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """One row of a manifest.

    Attributes:
        file: The file that holds the row.
        location: The place in that file, such as "row 3". Rows are numbered as editors number lines.
        number: Differs for every row of a manifest, also where the manifest is several files.
        cells: Values by column, None if the row cannot be parsed.
        error: Why the row cannot be parsed.
    """

    file: Path
    location: str
    number: int
    cells: Cells | None = None
    error: str = ""

    @property
    def source(self) -> str:
        """File and location, for messages."""
        return f"{self.file}, {self.location}"


def map_read_errors(path: Path, rows: Iterator[ManifestRow]) -> Iterator[ManifestRow]:
    """Yields the rows; raises errors of the file system, the encoding and the CSV reader as ManifestError."""
    try:
        yield from rows
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8: {error}", hint="save it as UTF-8") from error
    except (csv.Error, OSError) as error:
        raise ManifestError(f"{path} cannot be read: {error}", hint="write the file again") from error


def _read_jsonl(path: Path) -> Iterator[ManifestRow]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            try:
                yield _json_row(path, number, json.loads(text))
            except (ValueError, RecursionError) as error:
                yield _row(path, number, error=f"not JSON: {error}")


def _read_csv(path: Path) -> Iterator[ManifestRow]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        for cells in reader:
            if None in cells:
                error = "more cells than the header; quote cells that contain commas"
                yield _row(path, reader.line_num, error=error)
            else:
                yield _row(path, reader.line_num, cells)


def read_parquet(path: Path) -> Iterator[ManifestRow]:
    """The rows of a Parquet file, `BATCH_SIZE` at a time."""
    import pyarrow
    from pyarrow import parquet

    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=BATCH_SIZE):
            for cells in batch.to_pylist():
                number += 1
                yield _row(path, number, cells)
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


def is_json_array(path: Path) -> bool:
    """Whether a JSON document is an array, judged by its first character."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return next((text for line in file if (text := line.strip())), "").startswith("[")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as JSON: {error}", hint="write the file again") from error


def read_json_array(path: Path) -> Iterator[ManifestRow]:
    """The rows of a JSON array, which is read into memory."""
    for number, value in enumerate(read_json(path), start=1):
        yield _json_row(path, number, value)


def _json_row(path: Path, number: int, value: object) -> ManifestRow:
    return (
        _row(path, number, value)
        if isinstance(value, dict)
        else _row(path, number, error="not a JSON object")
    )


def _row(path: Path, number: int, cells: Cells | None = None, *, error: str = "") -> ManifestRow:
    return ManifestRow(file=path, location=f"row {number}", number=number, cells=cells, error=error)


# By file suffix.
READERS: Final[Mapping[str, Callable[[Path], Iterator[ManifestRow]]]] = MappingProxyType(
    {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": read_parquet}
)
