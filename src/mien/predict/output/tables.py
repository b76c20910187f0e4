"""Rows of results as JSON Lines, CSV or Parquet: one row per person."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from mien.describe.store.export import escape_cell
from mien.errors import UsageError
from mien.files import atomic_file
from mien.predict.track.summary import TRACK_COLUMNS
from mien.prefetch import batched
from mien.types import DIMENSIONS

__all__ = ["COLUMNS", "FORMATS", "NESTED", "Row", "column_type", "require_format", "write_rows"]

Row = Mapping[str, Any]

COLUMNS: Final = (
    "source", "frame", "time", "person", "track", "box", "box_source", "box_score", "status", "error",
    "scores", "above", *DIMENSIONS, "description", "bounded",
    "sure", "prediction_set", "coverage",
)  # fmt: skip
_INTEGERS: Final = frozenset({"frame", "person", "track", "num_frames", "num_failed"})
_NUMBERS: Final = frozenset({"time", "box_score", "coverage", "first_time", "last_time", *DIMENSIONS})
_LISTS: Final = frozenset({"above", "bounded", "prediction_set"})
NESTED: Final = frozenset({"box", *_LISTS, "scores"})  # JSON in CSV
_BATCH: Final = 1_000  # rows held at once


def require_format(path: Path) -> str:
    """The format that the suffix of a file stands for; UsageError for none."""
    name = path.suffix.lower().removeprefix(".")
    if name not in FORMATS:
        raise UsageError(
            f"{path} does not name a format of results",
            hint=f"end the name with {', '.join(f'.{known}' for known in FORMATS)}",
        )
    return name


def write_rows(
    path: Path, rows: Iterable[Row], labels: Sequence[str], columns: Sequence[str] = COLUMNS
) -> None:
    """Writes rows to a file, which appears only when it is complete.

    In CSV, boxes, scores and lists are JSON. In Parquet, scores are a struct with one field per label.

    Args:
        path: Its suffix gives the format: .jsonl, .csv or .parquet.
        rows: Read one at a time; a value that a row lacks is null.
        labels: The labels that scores can have, in order.
        columns: `COLUMNS` or `TRACK_COLUMNS`.

    Raises:
        UsageError: The suffix is unknown.
        DataError: The file cannot be written.
    """
    assert set(columns) <= {*COLUMNS, *TRACK_COLUMNS}
    write = _WRITERS[require_format(path)]
    with atomic_file(path) as file:
        write(file, rows, labels, columns)


def _write_jsonl(file: IO[bytes], rows: Iterable[Row], labels: Sequence[str], columns: Sequence[str]) -> None:
    for row in rows:
        # ASCII, because some readers end a line at characters that JSON allows within one.
        file.write(json.dumps({name: row.get(name) for name in columns}).encode() + b"\n")


def _write_csv(file: IO[bytes], rows: Iterable[Row], labels: Sequence[str], columns: Sequence[str]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(name, row.get(name)) for name in columns])
    text.detach()


def _cell(name: str, value: Any) -> Any:
    if value is None or value == {}:
        return ""
    if name in NESTED:
        return json.dumps(value)
    return escape_cell(value) if isinstance(value, str) else value


def _write_parquet(
    file: IO[bytes], rows: Iterable[Row], labels: Sequence[str], columns: Sequence[str]
) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, column_type(name, labels)) for name in columns])
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in batched(rows, _BATCH):
            values = {name: [_null(row.get(name)) for row in batch] for name in columns}
            writer.write_table(pyarrow.table(values, schema=schema))


def _null(value: Any) -> Any:
    """No scores are null: a struct without fields would be one of nulls."""
    return None if value == {} else value


def column_type(name: str, labels: Sequence[str]) -> Any:
    """The Arrow type of a column of Parquet."""
    import pyarrow

    types = {
        **dict.fromkeys(_INTEGERS, pyarrow.int64()),
        **dict.fromkeys(_NUMBERS, pyarrow.float64()),
        **dict.fromkeys(_LISTS, pyarrow.list_(pyarrow.string())),
        "box": pyarrow.list_(pyarrow.float64()),
        "scores": pyarrow.struct([(label, pyarrow.float64()) for label in labels]),
        "sure": pyarrow.bool_(),
    }
    return types.get(name, pyarrow.string())


_Writer = Callable[[IO[bytes], Iterable[Row], Sequence[str], Sequence[str]], None]
_WRITERS: Final[Mapping[str, _Writer]] = {"jsonl": _write_jsonl, "csv": _write_csv, "parquet": _write_parquet}
FORMATS: Final = tuple(_WRITERS)
