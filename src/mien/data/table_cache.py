"""Parsed annotation files, kept as Parquet in the cache, so that they are parsed once.

In: the files, and a function that parses them. Out: rows by split, read as a stream.
Knows nothing about any data set. A table's name is a digest of the files' content and of how they were
parsed: a changed file, option or parser makes another table, and nothing beside the user's files is touched.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import JsonValue

from mien.digests import digest
from mien.errors import DataError
from mien.types import Problem

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Tables"]

log = logging.getLogger(__name__)

_BATCH: Final = 1024
_PROBLEMS: Final = ".problems"  # no split is called so
_INDEX: Final = "index.json"


class Tables:
    """One Parquet file a split, and one of what was found wrong while parsing. Make one with `open`."""

    def __init__(self, folder: Path, counts: Mapping[str, int]) -> None:
        self._folder = folder
        self._counts = counts

    @classmethod
    def open(
        cls,
        cache: Path,
        *,
        name: str,
        version: int,
        sources: Sequence[Path],
        options: JsonValue = None,
        parse: Callable[[], tuple[Mapping[str, pyarrow.Table], Sequence[tuple[str, bool, Problem]]]],
    ) -> Tables:
        """The tables of these files; `parse` is called only where they are not whole in the cache.

        It returns a table a split, and (split, makes the row unusable, problem) for what it found. `version`
        is the parser's, `options` what else its result depends on.
        """
        key = digest({"version": version, "options": options, "files": [_content(path) for path in sources]})
        folder = cache / "tables" / f"{name}-{key[:20]}"
        counts = _counts(folder)
        if counts is None:
            log.info("parsing %s", ", ".join(str(path) for path in sources))
            _write(folder, *parse())
            counts = _counts(folder)
        if counts is None:
            raise DataError(f"{folder} cannot be written and read back", hint="see to the cache folder")
        return cls(folder, counts)

    @property
    def splits(self) -> tuple[str, ...]:
        """Their names, in alphabetical order."""
        return tuple(sorted(self._counts))

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """The rows of a split, in order; holds some thousand at once."""
        import pyarrow
        from pyarrow import parquet

        path = self._folder / f"{split}.parquet"
        try:
            for batch in parquet.ParquetFile(path).iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"{path} is damaged: {error}", hint=f"delete {self._folder}; it is made again"
            ) from error

    def count(self, split: str) -> int:
        """Rows of a split."""
        return self._counts[split]

    def problems(self, split: str | None = None, *, unusable: bool = False) -> list[Problem]:
        """What was found while parsing; of one split, and only what makes rows unusable, if asked."""
        return [
            Problem(kind=row["kind"], file=row["file"], message=row["message"])
            for row in self.rows(_PROBLEMS)
            if (split is None or row["split"] == split) and (row["unusable"] or not unusable)
        ]


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error


def _counts(folder: Path) -> dict[str, int] | None:
    """Rows by split, as the index says; None unless every file is there with as many."""
    import pyarrow
    from pyarrow import parquet

    try:
        counts: dict[str, int] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        for name, count in counts.items():
            if parquet.read_metadata(folder / f"{name}.parquet").num_rows != count:
                return None
    except (OSError, ValueError, AttributeError, pyarrow.ArrowException):
        return None
    return {name: count for name, count in counts.items() if name != _PROBLEMS}


def _write(
    folder: Path, tables: Mapping[str, pyarrow.Table], found: Sequence[tuple[str, bool, Problem]]
) -> None:
    """All files or none: they are written beside, and take their name at the end."""
    part: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
        _write_files(part, {**tables, _PROBLEMS: _table_of(found)})
        if _counts(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)  # what is damaged makes room
        part.replace(folder)
    except OSError as error:
        if _counts(folder) is None:  # else another process was faster, and wrote the same
            raise DataError(f"{folder} cannot be written: {error}", hint="see to the cache folder") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _write_files(folder: Path, tables: Mapping[str, pyarrow.Table]) -> None:
    from pyarrow import parquet

    for name, table in tables.items():
        parquet.write_table(table, folder / f"{name}.parquet", row_group_size=8 * _BATCH)
    counts = {name: table.num_rows for name, table in tables.items()}
    (folder / _INDEX).write_text(json.dumps(counts), encoding="utf-8")


def _table_of(found: Sequence[tuple[str, bool, Problem]]) -> pyarrow.Table:
    import pyarrow as pa

    columns = ("split", "unusable", "kind", "file", "message")
    kinds = [pa.string(), pa.bool_(), pa.string(), pa.string(), pa.string()]
    values = [(split, bad, item.kind, item.file, item.message) for split, bad, item in found]
    rows = [dict(zip(columns, row, strict=True)) for row in values]
    return pa.Table.from_pylist(rows, schema=pa.schema(list(zip(columns, kinds, strict=True))))
