"""Opens the file of a store for one writer or for readers, or says why it cannot be used."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from mien.describe.store.journal import find_journal_problem, journal_path
from mien.describe.store.layout import KEY_INDEX, MIGRATIONS, is_empty, migrate, num_steps_taken, steps_taken
from mien.describe.store.store_errors import damaged_store, sqlite_errors
from mien.documents import file_kind
from mien.errors import StoreError, StoreLockedError
from mien.locks import FileLock, LockHolder, lacks_locks, try_lock

__all__ = [
    "OF_ROWS",
    "StructureCheck",
    "acquire_lock",
    "check_structure",
    "open_for_reading",
    "open_for_writing",
    "release_lock",
]

_log = logging.getLogger(__name__)
# What SQLite's check says of single rows, which digests find as well, and of the index, which is rebuilt.
OF_ROWS: Final = re.compile(
    r"row \d+ missing from index|row not in PRIMARY KEY order|wrong # of entries in index"
    r"|non-unique entry in index|\S+ value in "
)
_MAX_PROBLEMS: Final = 1_000  # that SQLite's check lists


def open_for_writing(path: Path) -> tuple[sqlite3.Connection, StructureCheck]:
    """A connection to a store of the newest layout, which is created if it does not exist.

    Returns:
        The connection, to read from until the check, which is running, has ended.

    Raises:
        StoreError: The file is not a store, is damaged beyond single rows, or is of a newer mien.
    """
    _require_own_files(path)
    if path.exists() and path.stat().st_nlink > 1:
        _log.warning("store %s has a second name (a hard link); write to it under one name only", path)
    if problem := find_journal_problem(path):
        _log.warning("store %s: %s; what is lost counts as missing", path, problem)
    with sqlite_errors(path):
        connection = _connect(path, "rwc")
        try:
            is_new = is_empty(connection)
            # Refuses other files before anything is changed.
            is_newest = not is_new and num_steps_taken(connection, path) == len(MIGRATIONS)
            # With a write-ahead log, others can read while a group is written. "Full" syncs each group,
            # about 4 ms, which is negligible next to a model.
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            check = StructureCheck(path, connection)
            if not is_newest:
                check.finish()
            migrate(connection, path)
        except sqlite3.IntegrityError as error:  # of rows without digests
            connection.close()
            raise damaged_store(path, str(error)) from error
        except BaseException:
            connection.close()
            raise
        return connection, check


class StructureCheck:
    """SQLite's check of a file, which runs in a thread while a writer reads the rows.

    Args:
        path: The file.
        connection: The writer's, which must not write before the check has ended.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path, self._connection = path, connection
        executor = ThreadPoolExecutor(1)
        self._problems: Future[list[str]] | None = executor.submit(self._check)
        executor.shutdown(wait=False)

    def finish(self) -> None:
        """Waits for the check, and repairs the index; a second call does nothing.

        Raises:
            DamagedStoreError: The file is damaged beyond single rows; a write would damage it more.
        """
        if self._problems is None:
            return
        future, self._problems = self._problems, None
        with sqlite_errors(self._path):
            problems = future.result()
            if structural := [text for text in problems if not OF_ROWS.match(text)]:
                raise damaged_store(self._path, structural[0])
            if problems:
                self._connection.execute(f"reindex {KEY_INDEX}")

    def _check(self) -> list[str]:
        with closing(_connect(self._path, "ro")) as connection:
            return check_structure(connection)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection to an existing store that cannot change it.

    Raises:
        StoreError: The file is missing, not a store, damaged beyond single rows, or of another layout.
    """
    if not _require_file(path):
        raise StoreError(f"no store at {path}", hint="make one with mien describe")
    _require_own_files(path)
    _warn_about_missing_journal(path)
    # A writer may be between two pages.
    if find_journal_problem(path) and not _is_locked(path) and (problem := find_journal_problem(path)):
        raise damaged_store(path, problem)
    with sqlite_errors(path):
        connection = _connect(path, _reading_mode(path))
        try:
            connection.execute("pragma query_only = true")
            if is_empty(connection):
                connection.close()
                return _open_empty(path)
            steps_taken(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def check_structure(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with a file, up to a limit; 0.15 s for 100,000 descriptions."""
    rows = connection.execute(f"pragma integrity_check({_MAX_PROBLEMS})").fetchall()
    found = [" ".join(bytes(text).decode(errors="replace").split()) for (text,) in rows]
    return [text for text in found if text != "ok"]


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    connection.text_factory = bytes
    return connection


def _reading_mode(path: Path) -> str:
    """How a reader opens a store so that it leaves no files behind and changes nothing."""
    journal = journal_path(path)
    has_journal = journal.exists() and journal.stat().st_size > 0
    if has_journal:
        return "ro"  # of a writer that is at work, or was killed: the next writer cleans up
    # One who may write removes the files that SQLite needs while it reads.
    if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
        return "rw"
    # The log's index cannot be created in a read-only folder. Without a log, no index is needed.
    return "ro" if _is_locked(path) else "ro&immutable=1"


def _open_empty(path: Path) -> sqlite3.Connection:
    """A store without rows, for readers of a file whose creation has only begun."""
    _log.warning("store %s is empty: its creation was interrupted, or its content is lost", path)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.text_factory = bytes
    migrate(connection, path)
    connection.execute("pragma query_only = true")
    return connection


def _require_file(path: Path) -> bool:
    """Whether the path exists; StoreError if it is anything but a file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreError(f"store {str(path)!r} cannot be opened: {reason}", hint="check its path") from error
    kind = file_kind(mode)
    if kind is not None:
        raise StoreError(f"store {path} is {kind}", hint="name a file")
    return True


def _require_own_files(path: Path) -> None:
    """StoreError unless the files that SQLite has next to a store are files, or do not exist."""
    journal = journal_path(path)
    _require_file(journal)
    _require_file(journal.with_name(f"{journal.name.removesuffix('wal')}shm"))


# --- The lock of the writer ----------------------------------------------------------------------------


def acquire_lock(path: Path) -> FileLock:
    """Locks a store for writing, in a file next to it; give it back with `release_lock`.

    Raises:
        StoreLockedError: Another process writes to the store.
        StoreError: The folder cannot be written, or its file system cannot lock files.
    """
    _require_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _warn_about_missing_journal(path)
        lock = try_lock(_lock_path(path))
    except OSError as error:
        if lacks_locks(error):  # such as some network file systems
            raise StoreError(
                f"store {path} cannot be locked: {error.strerror}",
                hint="keep it on a file system that can lock files, such as a local disk",
            ) from error
        raise StoreError(
            f"store {path} cannot be written: {error.strerror}", hint="make its folder writable"
        ) from error
    if isinstance(lock, LockHolder):
        raise StoreLockedError(
            f"store {path} is being written by {lock}", hint="wait for it to end, or name another store"
        )
    return lock


def release_lock(path: Path, lock: FileLock) -> None:
    """Releases the lock of a closed store. Its file is emptied: that of a killed writer names the writer."""
    with suppress(OSError):
        os.truncate(_lock_path(path), 0)
    lock.release()


def _lock_path(path: Path) -> Path:
    # Next to the file itself, so that a link to it has the same lock.
    return Path(f"{path.resolve()}.lock")


def _open_at_once(path: str, flags: int) -> int:
    """An opener that does not wait for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _is_locked(path: Path) -> bool:
    """Whether a writer has the store open."""
    try:
        with open(_lock_path(path), "rb", opener=_open_at_once) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _warn_about_missing_journal(path: Path) -> None:
    """Says that rows may be lost: the last writer was killed, and its journal was removed since."""
    try:
        # Version 0.1.0 leaves a number in the file of every store.
        with open(_lock_path(path), "rb", opener=_open_at_once) as file:
            was_killed = file.read(1) == b"{" and path.stat().st_size > 0
    except OSError:
        return
    if was_killed and not journal_path(path).exists() and not _is_locked(path):
        _log.warning(
            "store %s: its last writer was killed, and its journal %s is gone; what was only there is lost "
            "and counts as missing",
            path,
            journal_path(path).name,
        )
