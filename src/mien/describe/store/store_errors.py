"""SQLite's errors as errors of a store, each with what to do."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mien.errors import DamagedStoreError, StoreError

__all__ = ["damaged_store", "sqlite_errors"]

_DESCRIBE_AGAIN: Final = "restore a copy, or move it away and describe again"
_REASONS: Final = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and run again; what was written is kept"),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "make the file and its folder writable"),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "check that the file and its folder exist and can be read; a store whose writer was killed needs a "
        "writable folder",
    ),
    sqlite3.SQLITE_PERM: ("it cannot be read", "make the file readable"),
    sqlite3.SQLITE_BUSY: ("another process holds it", "wait for that process to end"),
    sqlite3.SQLITE_IOERR: ("the disk failed", "check the disk and run again; what was written is kept"),
    sqlite3.SQLITE_NOTADB: ("it is not a store", "name another file, or move this one away"),
    sqlite3.SQLITE_NOMEM: ("there is not enough memory", "free some memory and run again"),
}
# What SQLite says of a file in which bits have changed.
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_TOOBIG}
# Also what it says of a file with a damaged header.
_HEADER_CODES: Final = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY}
_LITTLE: Final = 2**20  # bytes
# In the header of every store: SQLite's application_id, and its version numbers (1 or 2).
_MARK: Final = slice(68, 72)
_VERSIONS: Final = slice(18, 20)


def damaged_store(path: Path, reason: str) -> DamagedStoreError:
    """The error of a store that is damaged beyond single rows."""
    return DamagedStoreError(
        f"store {path} is damaged: {reason}",
        hint=f"restore a copy, or recover all readable descriptions with: mien describe merge {path} "
        f"--out {path}.recovered; then put that file in its place, and describe again",
    )


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's errors about this file into a StoreError."""
    try:
        yield
    except UnicodeDecodeError as error:  # names and definitions, which Python's module decodes by itself
        raise damaged_store(path, f"a name in it is not UTF-8 ({error.reason})") from error
    except sqlite3.Error as error:
        # The low byte is the primary error code; the rest is its extension.
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in _DAMAGED or (code in _HEADER_CODES and _has_damaged_header(path)):
            raise damaged_store(path, str(error)) from error
        if code == sqlite3.SQLITE_IOERR and shutil.disk_usage(path.parent).free < _LITTLE:
            code = sqlite3.SQLITE_FULL  # SQLite does not say so of the memory that processes share
        reason, hint = _REASONS.get(code, (str(error), _DESCRIBE_AGAIN))
        raise StoreError(f"store {path}: {reason}", hint=hint) from error


def _has_damaged_header(path: Path) -> bool:
    """Whether a file that SQLite refuses is a store nevertheless."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError:
        return False
    is_valid = header.startswith(b"SQLite format 3\0") and set(header[_VERSIONS]) <= {1, 2}
    return header[_MARK] == b"mien" and not is_valid
