"""The layout of a store's file, as named steps, and the sentences that sqlite's errors stand for.

Goes in: an open connection. Comes out: a file of the newest layout, or a StoreError.
Knows nothing about: descriptions, locks, who reads or writes.

A layout is changed by adding a step at the end; a step that was released is never edited.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mien.errors import StoreError

__all__ = [
    "KEYS",
    "MIGRATIONS",
    "has_index",
    "is_empty",
    "migrate",
    "require_readable",
    "sqlite_errors",
    "transaction",
]

# Marks the file as a store of ours: the letters "mien".
_APPLICATION: Final = 0x6D69656E

KEYS: Final = "described"  # the index

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
        # The table's own tree carries the texts, and so few rows a page that finding a key takes three times
        # as long.
        "index of keys",
        (f"create index {KEYS} on descriptions (key)",),
    ),
)
# Steps without which a file can be read as well, only more slowly.
_OPTIONAL: Final = {"index of keys"}

_REASONS: Final = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and run again; what was written is kept"),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "make the file and its folder writable"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "check that the folder exists and can be used"),
    sqlite3.SQLITE_BUSY: ("another process holds it", "wait for that process to end"),
    sqlite3.SQLITE_IOERR: ("the disk failed", "check the disk and run again; what was written is kept"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "restore a copy, or move it away to describe anew"),
    sqlite3.SQLITE_NOTADB: ("it is not a store", "name another file, or move this one away"),
}


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turns what sqlite raises about this file into a StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the kind of error, the rest its variety.
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        reason, hint = _REASONS.get(code, (str(error), "restore a copy, or move it away to describe anew"))
        raise StoreError(f"store {path}: {reason}", hint=hint) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, on disk when it ends."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        # After some errors, a full disk for one, sqlite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Brings a file to the newest layout; an empty one becomes a store."""
    with transaction(connection):
        if is_empty(connection):
            connection.execute(f"pragma application_id = {_APPLICATION}")
            connection.execute("create table meta (step integer primary key, name text not null) strict")
        done = _steps_taken(connection, path)
        for step, (name, statements) in enumerate(MIGRATIONS[done:], start=done + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute("insert into meta values (?, ?)", (step, name))


def require_readable(connection: sqlite3.Connection, path: Path) -> None:
    """StoreError if a file lacks a step that reading needs, for those who cannot change it."""
    if not {name for name, _ in MIGRATIONS[_steps_taken(connection, path) :]} <= _OPTIONAL:
        raise StoreError(
            f"store {path} has an older layout", hint="run mien describe, which brings it up to date"
        )


def _steps_taken(connection: sqlite3.Connection, path: Path) -> int:
    """How many steps a store's file has taken; StoreError if it is no store, or of a newer mien."""
    if connection.execute("pragma application_id").fetchone()[0] != _APPLICATION:
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


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether a file is nothing yet: a process was killed, or is about, to make a store of it."""
    empty: bool = connection.execute("select count(*) = 0 from sqlite_master").fetchone()[0]
    return empty


def has_index(connection: sqlite3.Connection) -> bool:
    """Whether the index of keys is there; an older file that is only read may lack it."""
    found: bool = connection.execute("select count(*) from sqlite_master where name = ?", (KEYS,)).fetchone()[
        0
    ]
    return found
