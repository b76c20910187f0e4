"""Parsed annotation files, kept as Parquet in the cache, so that they are parsed once.

In: the files, and a function that parses them. Out: rows by split, read as a stream.
Knows nothing about any data set. A table's name is a digest of the files' content and of how they were
parsed: a changed file, option or parser makes another table, and nothing beside the user's files is touched.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
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


class Tables:
    """One Parquet file a split, and one of what was found wrong while parsing. Make one with `open`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.splits = tuple(path.stem for path in sorted(folder.glob("[!.]*.parquet")))

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
        """The tables of these files; `parse` is called only where they are not in the cache.

        It returns a table a split, and (split, makes the row unusable, problem) for what it found. `version`
        is the parser's, `options` what else its result depends on.
        """
        key = digest({"version": version, "options": options, "files": [_content(path) for path in sources]})
        folder = cache / "tables" / f"{name}-{key[:20]}"
        if not folder.is_dir():
            log.info("parsing %s", ", ".join(str(path) for path in sources))
            _write(folder, *parse())
        return cls(folder)

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """The rows of a split, in order; holds some thousand at once."""
        from pyarrow import parquet

        file = parquet.ParquetFile(self._folder / f"{split}.parquet")
        for batch in file.iter_batches(batch_size=_BATCH):
            yield from batch.to_pylist()

    def count(self, split: str) -> int:
        """Rows of a split."""
        from pyarrow import parquet

        return int(parquet.read_metadata(self._folder / f"{split}.parquet").num_rows)

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


def _write(
    folder: Path, tables: Mapping[str, pyarrow.Table], found: Sequence[tuple[str, bool, Problem]]
) -> None:
    """All files or none: they are written beside, and take their name at the end."""
    import pyarrow as pa
    from pyarrow import parquet

    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        for split, table in tables.items():
            parquet.write_table(table, part / f"{split}.parquet", row_group_size=8 * _BATCH)
        columns = ("split", "unusable", "kind", "file", "message")
        values = [(split, bad, item.kind, item.file, item.message) for split, bad, item in found]
        kinds = [pa.string(), pa.bool_(), pa.string(), pa.string(), pa.string()]
        schema = pa.schema(list(zip(columns, kinds, strict=True)))
        rows = [dict(zip(columns, row, strict=True)) for row in values]
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), part / f"{_PROBLEMS}.parquet")
        part.replace(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was faster, and wrote the same
            raise DataError(f"{folder} cannot be written: {error}", hint="see to the cache folder") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
