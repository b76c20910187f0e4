"""A cache of parsed annotation files, as Parquet, so that each file is parsed only once.

The name of a cache entry is a digest of the files' contents, the options and the parser's version, so a
change to any of these creates another entry. Nothing is written next to the user's files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import JsonValue

from mien.digests import digest
from mien.documents import read_json
from mien.errors import DataError
from mien.files import atomic_folder, check_writable, make_folder
from mien.names import plain_name, plain_name_fault
from mien.types import Problem

if TYPE_CHECKING:
    import pyarrow

__all__ = ["CachedTables", "ParsedTables", "RowProblem"]

log = logging.getLogger(__name__)

_ROWS_PER_BATCH: Final = 1024
_PROBLEMS: Final = ".problems"  # not a valid split name
_INDEX: Final = "index.json"
_CACHE_HINT: Final = "check that the cache directory is writable"


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A problem in an annotation file. `unusable`: the row that has it is not in the table."""

    split: str
    problem: Problem
    unusable: bool


@dataclass(frozen=True, slots=True)
class ParsedTables:
    """What a parser returns: one table per split, and the problems it found."""

    tables: Mapping[str, pyarrow.Table]
    problems: Sequence[RowProblem] = ()


class CachedTables:
    """One Parquet file per split, and one for the problems found while parsing. Create with `open`."""

    def __init__(self, folder: Path, splits: tuple[str, ...]) -> None:
        self._folder = folder
        self.splits = splits

    @classmethod
    def open(
        cls,
        cache: Path,
        *,
        name: str,
        version: int,
        sources: Sequence[Path],
        options: JsonValue = None,
        parse: Callable[[], ParsedTables],
    ) -> CachedTables:
        """The tables of these files.

        Args:
            name: Prefix of the cache entry.
            version: The parser's version. Increase it when the same files produce another table.
            sources: The files that `parse` reads.
            options: Everything else that the result of `parse` depends on.
            parse: Called only if the cache has no complete entry.
        """
        key = digest(
            {"version": version, "options": options, "files": [_file_digest(path) for path in sources]}
        )
        folder = cache / "tables" / f"{name}-{key[:20]}"
        splits = _complete_splits(folder)
        if splits is None:
            log.info("parsing %s", ", ".join(str(path) for path in sources))
            check_writable(folder)  # before parsing, which can take minutes
            _write(folder, parse())
            splits = _complete_splits(folder)
        if splits is None:
            raise DataError(f"{folder} cannot be written and read back", hint=_CACHE_HINT)
        return cls(folder, splits)

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """The rows of a split, in order; holds one batch in memory."""
        import pyarrow
        from pyarrow import parquet

        path = self._folder / f"{split}.parquet"
        try:
            for batch in parquet.ParquetFile(path).iter_batches(batch_size=_ROWS_PER_BATCH):
                yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"{path} is damaged: {error}", hint=f"delete {self._folder}; it will be regenerated"
            ) from error

    def problems(self, split: str | None = None, *, unusable_only: bool = False) -> list[Problem]:
        """The problems found while parsing, of all splits or of one."""
        return [
            Problem(kind=row["kind"], file=row["file"], message=row["message"])
            for row in self.rows(_PROBLEMS)
            if (split is None or row["split"] == split) and (row["unusable"] or not unusable_only)
        ]


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error


def _complete_splits(folder: Path) -> tuple[str, ...] | None:
    """The splits in alphabetical order; None unless every file exists with the row count of the index."""
    import pyarrow
    from pyarrow import parquet

    try:
        counts: dict[str, int] = read_json(folder / _INDEX)
        for name, count in counts.items():
            if name != _PROBLEMS and plain_name_fault(name):
                return None
            if parquet.read_metadata(folder / f"{name}.parquet").num_rows != count:
                return None
    except (OSError, ValueError, AttributeError, pyarrow.ArrowException):
        return None
    return tuple(sorted(name for name in counts if name != _PROBLEMS))


def _write(folder: Path, parsed: ParsedTables) -> None:
    """Writes all files or none: into a temporary folder, which is renamed at the end."""
    make_folder(folder.parent)
    if _complete_splits(folder) is None:
        shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
    try:
        with atomic_folder(folder) as part:
            _write_files(part, {**parsed.tables, _PROBLEMS: _problem_table(parsed.problems)})
    except DataError:
        if _complete_splits(folder) is None:  # otherwise another process was faster, with the same content
            raise


def _write_files(folder: Path, tables: Mapping[str, pyarrow.Table]) -> None:
    from pyarrow import parquet

    for name, table in tables.items():
        stem = name if name == _PROBLEMS else plain_name(name, "the split")
        parquet.write_table(table, folder / f"{stem}.parquet", row_group_size=8 * _ROWS_PER_BATCH)
    counts = {name: table.num_rows for name, table in tables.items()}
    (folder / _INDEX).write_text(json.dumps(counts), encoding="utf-8")


def _problem_table(problems: Sequence[RowProblem]) -> pyarrow.Table:
    import pyarrow as pa

    text, flag = pa.string(), pa.bool_()
    schema = pa.schema(
        [("split", text), ("unusable", flag), ("kind", text), ("file", text), ("message", text)]
    )
    rows = [
        {
            "split": item.split,
            "unusable": item.unusable,
            "kind": item.problem.kind,
            # File names may hold bytes that are not UTF-8, which Arrow refuses.
            "file": item.problem.file.encode("utf-8", "backslashreplace").decode(),
            "message": item.problem.message.encode("utf-8", "backslashreplace").decode(),
        }
        for item in problems
    ]
    return pa.Table.from_pylist(rows, schema=schema)
