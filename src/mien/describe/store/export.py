"""Descriptions as a file for other programs: Parquet, JSON lines or CSV, and back again without a loss.

Goes in: descriptions one after another, a path whose ending names the form. Comes out: a file, whole or not
there; `read_export` gives back exactly what was written.
Knows nothing about: stores, keys, what is done with the file.

A spreadsheet takes a cell that begins with "=" for a formula, whoever wrote it. In CSV an apostrophe stands
before such a cell, and before one that begins with an apostrophe itself, so that it can be taken off again.
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
from mien.prefetch import groups
from mien.runs import atomic_file
from mien.types import Description

__all__ = ["COLUMNS", "FORMS", "read_export", "write_export"]

COLUMNS: Final = tuple(field.name for field in fields(Description))
_GROUP: Final = 1_000  # rows held at once
_LONGEST: Final = 2**31 - 1  # the reader's own bound on a cell
_ESCAPE: Final = "'"
_ESCAPED: Final = ("=", "+", "-", "@", "\t", "\r", "\n", _ESCAPE)


def write_export(path: Path, descriptions: Iterable[Description]) -> int:
    """Writes the file and returns the number of rows; DataError if it cannot be written."""
    write = _WRITERS[_form(path)]
    try:
        with atomic_file(path) as file:
            return write(file, descriptions)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}", hint="name a file in a folder that has room"
        ) from error


def read_export(path: Path) -> Iterator[Description]:
    """What `write_export` wrote, in its order; DataError for another file."""
    rows = _READERS[_form(path)](path)
    try:
        for row in rows:
            yield Description(**row)
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is no export of descriptions: {error}", hint="export again") from error


def _form(path: Path) -> str:
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMS:
        raise DataError(
            f"{path} names no form of export",
            hint=f"end the name with {', '.join(f'.{known}' for known in FORMS)}",
        )
    return form


# --- JSON lines ----------------------------------------------------------------------------------------


def _write_jsonl(file: IO[bytes], descriptions: Iterable[Description]) -> int:
    count = 0
    for item in descriptions:
        # ASCII: some readers end a line at characters that JSON allows within one.
        file.write(json.dumps(asdict(item)).encode() + b"\n")
        count += 1
    return count


def _read_jsonl(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open("rb") as file:
        yield from map(json.loads, file)


# --- CSV -----------------------------------------------------------------------------------------------


def _write_csv(file: IO[bytes], descriptions: Iterable[Description]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    # Everything quoted: an empty cell, a lone carriage return and spaces at the ends come back as they were.
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for item in descriptions:
        writer.writerow([_escaped(getattr(item, name)) for name in COLUMNS])
        count += 1
    text.detach()
    return count


def _read_csv(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        csv.field_size_limit(_LONGEST)  # of the whole process: the usual 131,072 would refuse a long text
        rows = csv.reader(file, strict=True)
        if tuple(next(rows, ())) != COLUMNS:
            raise ValueError("the columns are others")
        for row in rows:
            yield dict(zip(COLUMNS, map(_unescaped, row), strict=True))


def _escaped(cell: str) -> str:
    return f"{_ESCAPE}{cell}" if cell.startswith(_ESCAPED) else cell


def _unescaped(cell: str) -> str:
    return cell.removeprefix(_ESCAPE)


# --- Parquet -------------------------------------------------------------------------------------------


def _write_parquet(file: IO[bytes], descriptions: Iterable[Description]) -> int:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for group in groups(descriptions, _GROUP):
            columns = {name: [getattr(item, name) for item in group] for name in COLUMNS}
            writer.write_table(pyarrow.table(columns, schema=schema))
            count += len(group)
    return count


def _read_parquet(path: Path) -> Iterator[Mapping[str, str]]:
    from pyarrow import parquet

    for batch in parquet.ParquetFile(path).iter_batches(batch_size=_GROUP):
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
FORMS: Final = tuple(_WRITERS)
