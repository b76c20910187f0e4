"""The store of descriptions: one SQLite file that many processes may read while one writes.

Guarantees: a group that `put` has returned from survives `kill -9` and a power cut. A group is written as a
whole or not at all. A description is never replaced.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mien.errors import StoreError, StoreLockedError
from mien.locks import FileLock, LockHolder, lacks_locks, try_lock
from mien.types import Description, Failure

__all__ = ["MIGRATIONS", "Store"]

# --- The layout of the file ----------------------------------------------------------------------------

# Marks the file as a store of mien: the letters "mien".
_APPLICATION_ID: Final = 0x6D69656E
_KEY_INDEX: Final = "described"

# To change the layout, add a step at the end. Never edit a step that was released.
MIGRATIONS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        "descriptions and failures",
        (
            """create table descriptions (
                key text primary key, subject_id text not null, text text not null, prompt_id text not null,
                engine text not null, finish text not null
            ) strict, without rowid""",
            """create table failures (
                key text primary key, subject_id text not null, error text not null,
                retryable integer not null, attempts integer not null
            ) strict, without rowid""",
        ),
    ),
    (
        # The table's own tree carries the texts. It holds so few rows per page that finding a key in it
        # takes three times as long.
        "index of keys",
        (f"create index {_KEY_INDEX} on descriptions (key)",),
    ),
)
# A file that lacks these steps can still be read, only more slowly.
_OPTIONAL_STEPS: Final = {"index of keys"}

_SELECT_DESCRIPTIONS: Final = "select key, subject_id, text, prompt_id, engine, finish from descriptions"
_SELECT_KEYS: Final = "select key from descriptions"
_SELECT_INDEXED_KEYS: Final = f"{_SELECT_KEYS} indexed by {_KEY_INDEX}"
_SELECT_FAILURES: Final = "select key, subject_id, error, retryable, attempts from failures"
_INSERT_DESCRIPTION: Final = "insert into descriptions values (?, ?, ?, ?, ?, ?) on conflict (key) do nothing"
_DELETE_FAILURE: Final = "delete from failures where key = ?"
_INSERT_FAILURE: Final = """insert or replace into failures select ?, ?, ?, ?, ?
    where not exists (select 1 from descriptions where key = ?)"""
_KEYS_PER_QUERY: Final = 500  # SQLite's oldest limit on parameters is 999


class Store:
    """An open store; also a context manager.

    Args:
        path: The SQLite file. A lock file and SQLite's journal lie next to it.
        writable: Whether to lock the store and to create the file where there is none. A store that is
            opened for reading must exist.

    Raises:
        StoreError: The file is missing, damaged, not a store, or written by a newer mien.
        StoreLockedError: Another process has the store open for writing.
    """

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        self.path = path
        self._lock = _acquire_lock(path) if writable else None
        try:
            self._connection = _open_for_writing(path) if writable else _open_for_reading(path)
            with _sqlite_errors(path):
                # SQLite does not choose the index by itself: it would walk the tree that carries the texts.
                self._select_keys = _SELECT_INDEXED_KEYS if _has_index(self._connection) else _SELECT_KEYS
        except BaseException:
            self._release_lock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and releases the lock; a second call does nothing."""
        try:
            self._connection.close()
        finally:
            self._release_lock()

    def put(
        self,
        descriptions: Iterable[Description] = (),
        failures: Iterable[Failure] = (),
        *,
        resolved: Iterable[str] = (),
    ) -> None:
        """Writes a group of rows; they are on disk when this returns.

        A description removes the failure under its key. A key that is described already stays unchanged.

        Args:
            descriptions: Rows to add.
            failures: Rows to add, or to replace. They are ignored for keys that have a description.
            resolved: Keys of other failures to remove.
        """
        description_rows = [_description_row(item) for item in descriptions]
        failure_rows = [_failure_row(item) for item in failures]
        outdated = [(key,) for key in resolved] + [(row[0],) for row in description_rows]
        with _sqlite_errors(self.path), _transaction(self._connection):
            self._connection.executemany(_INSERT_DESCRIPTION, description_rows)
            self._connection.executemany(_DELETE_FAILURE, outdated)
            self._connection.executemany(_INSERT_FAILURE, [(*row, row[0]) for row in failure_rows])

    def get(self, key: str) -> Description | None:
        """The description under a key, or None."""
        return self.descriptions([key]).get(key)

    def keys(self) -> Iterator[str]:
        """The keys of all descriptions, in alphabetical order."""
        return (key for (key,) in self._rows(f"{_SELECT_KEYS} order by key"))

    def described_keys(self, keys: Iterable[str]) -> set[str]:
        """The subset of the keys that have a description; no text is read."""
        remaining, found = iter(keys), set[str]()
        while group := tuple(islice(remaining, _KEYS_PER_QUERY)):
            query = f"{self._select_keys} where key in ({_placeholders(group)})"
            with _sqlite_errors(self.path):
                found.update(key for (key,) in self._connection.execute(query, group).fetchall())
        return found

    def descriptions(self, keys: Iterable[str]) -> dict[str, Description]:
        """The descriptions under these keys, by key; keys without one are left out."""
        return {row[0]: _to_description(row) for row in self._select(_SELECT_DESCRIPTIONS, keys)}

    def failures(self, keys: Iterable[str] | None = None) -> list[Failure]:
        """The failures under these keys, or all failures, in the order of keys."""
        if keys is None:
            return list(self.iterate_failures())
        # A store mostly has none, and a resumed run asks for every subject.
        if not next(self._rows("select exists (select 1 from failures)"))[0]:
            return []
        return sorted(map(_to_failure, self._select(_SELECT_FAILURES, keys)), key=lambda item: item.key)

    def iterate_failures(self) -> Iterator[Failure]:
        """All failures in the order of keys, read one at a time."""
        return map(_to_failure, self._rows(f"{_SELECT_FAILURES} order by key"))

    def __len__(self) -> int:
        """The number of descriptions."""
        return int(next(self._rows("select count(*) from descriptions"))[0])

    def __bool__(self) -> bool:
        """Always true: an empty store is a store, and counting descriptions takes a while."""
        return True

    def __iter__(self) -> Iterator[Description]:
        """All descriptions in the order of keys, read one at a time."""
        return map(_to_description, self._rows(f"{_SELECT_DESCRIPTIONS} order by key"))

    def _select(self, query: str, keys: Iterable[str]) -> Iterator[tuple[str, ...]]:
        remaining = iter(keys)
        while group := tuple(islice(remaining, _KEYS_PER_QUERY)):
            yield from self._rows(f"{query} where key in ({_placeholders(group)})", group)

    def _rows(self, query: str, values: Sequence[str] = ()) -> Iterator[tuple[str, ...]]:
        with _sqlite_errors(self.path):
            yield from self._connection.execute(query, values)

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()


# --- Rows ----------------------------------------------------------------------------------------------


def _placeholders(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _description_row(item: Description) -> tuple[str, ...]:
    return (
        item.key,
        _to_utf8(item.subject_id),
        _to_utf8(item.text),
        item.prompt_id,
        item.engine,
        item.finish,
    )


def _to_description(row: tuple[str, ...]) -> Description:
    key, subject_id, text, prompt_id, engine, finish = row
    return Description(
        key=key,
        subject_id=subject_id,
        text=text,
        prompt_id=prompt_id,
        engine=engine,
        finish=finish,  # type: ignore[arg-type]  # checked by Description itself
    )


def _failure_row(item: Failure) -> tuple[str | int, ...]:
    return (item.key, _to_utf8(item.subject_id), _to_utf8(item.error), int(item.retryable), item.attempts)


def _to_failure(row: Sequence[str]) -> Failure:
    key, subject_id, error, retryable, attempts = row
    return Failure(
        key=key, subject_id=subject_id, error=error, retryable=bool(retryable), attempts=int(attempts)
    )


def _to_utf8(text: str) -> str:
    """The text with lone surrogates, which file names may contain, escaped."""
    return text.encode(errors="backslashreplace").decode()


# --- Opening -------------------------------------------------------------------------------------------


def _open_for_writing(path: Path) -> sqlite3.Connection:
    with _sqlite_errors(path):
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            # With a write-ahead log, others can read while a group is written. "Full" syncs each group,
            # about 4 ms, which is negligible next to a model.
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            _check_integrity(connection, path)
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _open_for_reading(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreError(f"no store at {path}", hint="make one with mien describe")
    with _sqlite_errors(path):
        address = f"{path.resolve().as_uri()}?{_read_mode(path)}"
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
        try:
            connection.execute("pragma query_only = true")
            if _is_empty(connection):
                connection.close()
                return _open_empty(path)
            _require_readable(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _read_mode(path: Path) -> str:
    if not os.access(path.parent, os.W_OK):
        # The log's index cannot be created in a read-only folder. Without a log, no index is needed.
        return "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    # The last one to close a file removes its log, but not if it could only read.
    return "mode=rw" if os.access(path, os.W_OK) else "mode=ro"


def _open_empty(path: Path) -> sqlite3.Connection:
    """A store without rows, for readers of a file whose creation has only begun."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _migrate(connection, path)
    connection.execute("pragma query_only = true")
    return connection


def _check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """StoreError for a damaged file, which a write would damage more; 0.3 s for 100,000 descriptions."""
    result = connection.execute("pragma quick_check(1)").fetchone()[0]
    if result != "ok":
        raise StoreError(f"store {path} is damaged: {result}", hint="restore a copy, or move it away")


def _acquire_lock(path: Path) -> FileLock:
    """Locks the store for this process; the operating system releases the lock when the process ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Next to the file itself, so that a link to it has the same lock.
        lock = try_lock(Path(f"{path.resolve()}.lock"))
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


# --- Migrations ----------------------------------------------------------------------------------------


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Brings a file to the newest layout; an empty one becomes a store."""
    with _transaction(connection):
        if _is_empty(connection):
            connection.execute(f"pragma application_id = {_APPLICATION_ID}")
            connection.execute("create table meta (step integer primary key, name text not null) strict")
        done = _num_steps_taken(connection, path)
        for step, (name, statements) in enumerate(MIGRATIONS[done:], start=done + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute("insert into meta values (?, ?)", (step, name))


def _require_readable(connection: sqlite3.Connection, path: Path) -> None:
    """StoreError if a file lacks a step that reading needs; a reader cannot add it."""
    if not {name for name, _ in MIGRATIONS[_num_steps_taken(connection, path) :]} <= _OPTIONAL_STEPS:
        raise StoreError(f"store {path} has an older layout", hint="run mien describe, which updates it")


def _num_steps_taken(connection: sqlite3.Connection, path: Path) -> int:
    """How many migrations a file has taken; StoreError if it is not a store, or is of a newer mien."""
    if connection.execute("pragma application_id").fetchone()[0] != _APPLICATION_ID:
        raise StoreError(f"{path} is not a store of descriptions", hint="name another file")
    taken = [name for (name,) in connection.execute("select name from meta order by step")]
    known = [name for name, _ in MIGRATIONS]
    if taken != known[: len(taken)]:
        unknown = next(name for name in taken if name not in known[: len(taken)])
        raise StoreError(
            f"store {path} was written by a newer mien (it has the step {unknown!r})",
            hint="update mien, or name another store",
        )
    return len(taken)


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether a file has no tables yet: its creation was interrupted, or is about to begin."""
    empty: bool = connection.execute("select count(*) = 0 from sqlite_master").fetchone()[0]
    return empty


def _has_index(connection: sqlite3.Connection) -> bool:
    """Whether the file has the index of keys, which an older file lacks until it is opened for writing."""
    query = "select count(*) from sqlite_master where name = ?"
    found: bool = connection.execute(query, (_KEY_INDEX,)).fetchone()[0]
    return found


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commits everything at the end of the block, or nothing if it raises."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        # After some errors, such as a full disk, SQLite has rolled back already.
        if connection.in_transaction:
            connection.execute("rollback")
        raise


# --- Errors --------------------------------------------------------------------------------------------

_REASONS: Final = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and run again; what was written is kept"),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "make the file and its folder writable"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "check that the folder exists and is readable"),
    sqlite3.SQLITE_BUSY: ("another process holds it", "wait for that process to end"),
    sqlite3.SQLITE_IOERR: ("the disk failed", "check the disk and run again; what was written is kept"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "restore a copy, or move it away and describe again"),
    sqlite3.SQLITE_NOTADB: ("it is not a store", "name another file, or move this one away"),
}


@contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's errors about this file into a StoreError."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the message itself can quote damaged bytes
        # The low byte is the primary error code; the rest is its extension.
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        other = "it is damaged" if isinstance(error, UnicodeDecodeError) else str(error)
        reason, hint = _REASONS.get(code, (other, "restore a copy, or move it away and describe again"))
        raise StoreError(f"store {path}: {reason}", hint=hint) from error
