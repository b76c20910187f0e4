"""Exports descriptions to Parquet, JSON Lines or CSV, and reads such files without loss.

A spreadsheet takes a cell that begins with "=" for a formula. In CSV, an apostrophe is written before such a
cell, and before one that begins with an apostrophe, so that it can be removed again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any, Final

from mien.errors import DataError
from mien.files import atomic_file
from mien.prefetch import batched
from mien.types import Description

__all__ = ["COLUMNS", "FORMATS", "escape_cell", "read_export", "write_export"]

COLUMNS: Final = tuple(field.name for field in fields(Description))
_BATCH: Final = 1_000  # rows held at once
_MAX_CELL: Final = 2**31 - 1  # the csv module's upper bound
_ESCAPE: Final = "'"
_ESCAPED_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", _ESCAPE)


def write_export(path: Path, descriptions: Iterable[Description]) -> int:
    """Writes descriptions to a file, which appears only when it is complete.

    Args:
        path: Its suffix gives the format: .parquet, .jsonl or .csv.
        descriptions: Read one at a time.

    Returns:
        The number of rows.

    Raises:
        DataError: The suffix is unknown, or the file cannot be written.
    """
    write = _WRITERS[_format(path)]
    with atomic_file(path) as file:
        return write(file, descriptions)


def read_export(path: Path) -> Iterator[Description]:
    """The descriptions in a file that `write_export` wrote, in its order; DataError for any other file."""
    rows = _READERS[_format(path)](path)
    try:
        for row in rows:
            yield Description(**row)
    except (OSError, ValueError, TypeError, RecursionError, csv.Error) as error:
        raise DataError(f"{path} is not an export of descriptions: {error}", hint="export again") from error


def _format(path: Path) -> str:
    name = path.suffix.lower().removeprefix(".")
    if name not in FORMATS:
        raise DataError(
            f"{path} does not name an export format",
            hint=f"end the name with {', '.join(f'.{known}' for known in FORMATS)}",
        )
    return name


# --- JSON Lines ----------------------------------------------------------------------------------------


def _write_jsonl(file: IO[bytes], descriptions: Iterable[Description]) -> int:
    count = 0
    for item in descriptions:
        # ASCII, because some readers end a line at characters that JSON allows within one.
        file.write(json.dumps(asdict(item)).encode() + b"\n")
        count += 1
    return count


def _read_jsonl(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open("rb") as file:
        yield from map(json.loads, file)


# --- CSV -----------------------------------------------------------------------------------------------


def _write_csv(file: IO[bytes], descriptions: Iterable[Description]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    # With every cell quoted, empty cells, lone carriage returns and outer spaces survive.
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for item in descriptions:
        writer.writerow([escape_cell(getattr(item, name)) for name in COLUMNS])
        count += 1
    text.detach()
    return count


def _read_csv(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        csv.field_size_limit(_MAX_CELL)  # process-wide; the default of 131,072 refuses long texts
        rows = csv.reader(file, strict=True)
        if tuple(next(rows, ())) != COLUMNS:
            raise ValueError("its columns differ")
        for row in rows:
            yield dict(zip(COLUMNS, map(_unescape, row), strict=True))


def escape_cell(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"{_ESCAPE}{cell}" if cell.startswith(_ESCAPED_STARTS) else cell


def _unescape(cell: str) -> str:
    return cell.removeprefix(_ESCAPE)


# --- Parquet -------------------------------------------------------------------------------------------


def _write_parquet(file: IO[bytes], descriptions: Iterable[Description]) -> int:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in batched(descriptions, _BATCH):
            columns = {name: [getattr(item, name) for item in batch] for name in COLUMNS}
            writer.write_table(pyarrow.table(columns, schema=schema))
            count += len(batch)
    return count


def _read_parquet(path: Path) -> Iterator[Mapping[str, str]]:
    from pyarrow import parquet

    for batch in parquet.ParquetFile(path).iter_batches(batch_size=_BATCH):
        yield from batch.to_pylist()


_WRITERS: Final[Mapping[str, Callable[[IO[bytes], Iterable[Description]], int]]] = {
    "parquet": _write_parquet,
    "jsonl": _write_jsonl,
    "csv": _write_csv,
}
_READERS: Final[Mapping[str, Callable[[Path], Iterator[Mapping[str, Any]]]]] = {
    "parquet": _read_parquet,
    "jsonl": _read_jsonl,
    "csv": _read_csv,
}
FORMATS: Final = tuple(_WRITERS)
