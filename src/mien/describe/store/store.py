"""Where descriptions are kept: one SQLite file that many may read while one process writes.

Goes in: descriptions and failures, in groups. Comes out: the same, by key.
Knows nothing about: how keys are made, engines, subjects.

Promises: a group that `put` has returned from survives a `kill -9` and a power cut; a group is written
whole or not at all; what is described once is never replaced.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mien.describe.store.schema import (
    KEYS,
    has_index,
    is_empty,
    migrate,
    require_readable,
    sqlite_errors,
    transaction,
)
from mien.errors import StoreError, StoreLockedError
from mien.types import Description, Failure

__all__ = ["Store"]

_DESCRIPTIONS: Final = "select key, subject_id, text, prompt_id, engine, finish from descriptions"
_KEYS: Final = "select key from descriptions"
_INDEXED: Final = f"{_KEYS} indexed by {KEYS}"
_FAILURES: Final = "select key, subject_id, error, retryable, attempts from failures"
_ADD_DESCRIPTION: Final = "insert into descriptions values (?, ?, ?, ?, ?, ?) on conflict (key) do nothing"
_ADD_FAILURE: Final = """insert or replace into failures select ?, ?, ?, ?, ?
    where not exists (select 1 from descriptions where key = ?)"""
_GROUP: Final = 500  # keys asked for in one statement; sqlite's oldest limit is 999


class Store:
    """A store, open until `close`; also a context manager. One that is not `writable` must exist."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        self.path = path
        self._lock = _take_lock(path) if writable else None
        try:
            self._connection = _connect(path) if writable else _connect_reader(path)
            with sqlite_errors(path):
                # Without being told, sqlite walks the tree that carries the texts.
                self._keys = _INDEXED if has_index(self._connection) else _KEYS
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends reading and writing; a second call does nothing."""
        try:
            self._connection.close()
        finally:
            self._release()

    def put(
        self,
        descriptions: Iterable[Description] = (),
        failures: Iterable[Failure] = (),
        *,
        resolved: Iterable[str] = (),
    ) -> None:
        """Writes a group, on disk when this returns. A description ends the failure under its key.

        `resolved` are keys of other failures that are over. A key that is described stays as it is.
        """
        described = [_description_row(item) for item in descriptions]
        failed = [_failure_row(item) for item in failures]
        over = [(key,) for key in resolved] + [(row[0],) for row in described]
        with sqlite_errors(self.path), transaction(self._connection):
            self._connection.executemany(_ADD_DESCRIPTION, described)
            self._connection.executemany("delete from failures where key = ?", over)
            self._connection.executemany(_ADD_FAILURE, [(*row, row[0]) for row in failed])

    def get(self, key: str) -> Description | None:
        """The description under a key."""
        return self.descriptions([key]).get(key)

    def keys(self) -> Iterator[str]:
        """The keys of all descriptions, in alphabetical order."""
        return (key for (key,) in self._rows(f"{_KEYS} order by key"))

    def described(self, keys: Iterable[str]) -> set[str]:
        """Those of these keys under which there is a description; it is not read for that."""
        remaining, found = iter(keys), set[str]()
        while group := tuple(islice(remaining, _GROUP)):
            query = f"{self._keys} where key in ({', '.join('?' * len(group))})"
            with sqlite_errors(self.path):
                found.update(key for (key,) in self._connection.execute(query, group).fetchall())
        return found

    def descriptions(self, keys: Iterable[str]) -> dict[str, Description]:
        """The descriptions there are under these keys."""
        return {row[0]: _description(row) for row in self._select(_DESCRIPTIONS, keys)}

    def failures(self, keys: Iterable[str] | None = None) -> list[Failure]:
        """The failures there are under these keys, or all of them, in the order of keys."""
        if keys is None:
            return list(self.iterate_failures())
        # There are mostly none, and a resumed run asks about every subject.
        if not next(self._rows("select exists (select 1 from failures)"))[0]:
            return []
        return sorted(map(_failure, self._select(_FAILURES, keys)), key=lambda failure: failure.key)

    def iterate_failures(self) -> Iterator[Failure]:
        """All failures, in the order of keys, one at a time."""
        return map(_failure, self._rows(f"{_FAILURES} order by key"))

    def __len__(self) -> int:
        """How many descriptions there are."""
        return int(next(self._rows("select count(*) from descriptions"))[0])

    def __bool__(self) -> bool:
        """A store is there, also while it holds no description; counting them would take a while."""
        return True

    def __iter__(self) -> Iterator[Description]:
        """All descriptions, in the order of keys, one at a time."""
        return map(_description, self._rows(f"{_DESCRIPTIONS} order by key"))

    def _select(self, query: str, keys: Iterable[str]) -> Iterator[tuple[str, ...]]:
        remaining = iter(keys)
        while group := tuple(islice(remaining, _GROUP)):
            yield from self._rows(f"{query} where key in ({', '.join('?' * len(group))})", group)

    def _rows(self, query: str, values: Sequence[str] = ()) -> Iterator[tuple[str, ...]]:
        with sqlite_errors(self.path):
            yield from self._connection.execute(query, values)

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)  # which ends the lock; the file stays, for it may not be removed safely
            self._lock = None


# --- Rows ----------------------------------------------------------------------------------------------


def _description_row(item: Description) -> tuple[str, ...]:
    return (
        item.key,
        _utf8(item.subject_id),
        _utf8(item.text),
        item.prompt_id,
        item.engine,
        item.finish,
    )


def _description(row: tuple[str, ...]) -> Description:
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
    return (item.key, _utf8(item.subject_id), _utf8(item.error), int(item.retryable), item.attempts)


def _failure(row: Sequence[str]) -> Failure:
    key, subject_id, error, retryable, attempts = row
    return Failure(
        key=key, subject_id=subject_id, error=error, retryable=bool(retryable), attempts=int(attempts)
    )


def _utf8(text: str) -> str:
    """The text itself, unless it holds half characters, as names of files may; those are spelt out."""
    return text.encode(errors="backslashreplace").decode()


# --- Opening -------------------------------------------------------------------------------------------


def _connect(path: Path) -> sqlite3.Connection:
    with sqlite_errors(path):
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            # The journal of changes lets readers go on while a group is written; full: each group is
            # synced, about 4 ms, which nobody notices beside a model.
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            _require_sound(connection, path)
            migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreError(f"no store at {path}", hint="make one with mien describe")
    # A folder that cannot be written has no place for the journal's index; without a journal none is needed.
    unchanging = not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
    with sqlite_errors(path):
        address = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if unchanging else ''}"
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
        try:
            if is_empty(connection):
                connection.close()
                return _connect_nothing(path)
            require_readable(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _connect_nothing(path: Path) -> sqlite3.Connection:
    """A store without rows, for those who read one that has only begun to be made."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, path)
    connection.execute("pragma query_only = true")
    return connection


def _require_sound(connection: sqlite3.Connection, path: Path) -> None:
    """Adding to a damaged file would make it worse; 0.3 s for 100,000 descriptions."""
    found = connection.execute("pragma quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreError(f"store {path} is damaged: {found}", hint="restore a copy, or move it away")


def _take_lock(path: Path) -> int:
    """Locks the store for this process; the system ends the lock when the process ends, however it does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreError(
            f"store {path} cannot be written: {error.strerror}", hint="make its folder writable"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StoreLockedError(
            f"store {path} is being written by another process ({holder})",
            hint="wait for it to end, or name another store",
        ) from error
    except OSError as error:  # as on network file systems without locks
        os.close(lock)
        raise StoreError(
            f"store {path} cannot be locked: {error.strerror}",
            hint="keep it on a file system that can lock files, such as a local disk",
        ) from error
    # Who holds it is for messages only: on a full disk it stays unsaid.
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
