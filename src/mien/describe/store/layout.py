"""The layout of a store's file: its tables, how older files are brought to it, and whether a file has it."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from mien.describe.store.rows import row_digest
from mien.describe.store.store_errors import damaged_store
from mien.errors import StoreError

__all__ = [
    "COUNTED_TABLES",
    "DIGESTS",
    "INDEX_OF_KEYS",
    "INSERT",
    "KEY_INDEX",
    "MIGRATIONS",
    "is_empty",
    "migrate",
    "num_steps_taken",
    "rebuild_table",
    "steps_taken",
    "transaction",
]

# Marks the file as a store of mien: the letters "mien".
_APPLICATION_ID: Final = 0x6D69656E
_MAX_FLIPS: Final = 3  # changed bits by which the mark is still recognized
KEY_INDEX: Final = "described"
# Values in the order of `rows.SELECT`, and the digest.
INSERT: Final = {
    "descriptions": "insert into descriptions (key, subject_id, prompt_id, engine, finish, text, digest) "
    "values (?, ?, ?, ?, ?, ?, ?)",
    "failures": "insert into failures (key, subject_id, retryable, attempts, error, digest) "
    "values (?, ?, ?, ?, ?, ?)",
}
COUNTED_TABLES: Final = tuple(INSERT)
# Names of steps that an older file may lack.
INDEX_OF_KEYS: Final = "index of keys"
DIGESTS: Final = "digests"

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
        INDEX_OF_KEYS,
        (f"create index {KEY_INDEX} on descriptions (key)",),
    ),
    (
        # Bits change on disks. A changed row has another digest, and a lost page changes the number of rows.
        DIGESTS,
        (
            "alter table descriptions add column digest blob",
            "alter table failures add column digest blob",
            """update descriptions set digest = row_digest(cast(key as blob), cast(subject_id as blob),
                cast(prompt_id as blob), cast(engine as blob), cast(finish as blob), cast(text as blob))""",
            """update failures set digest = row_digest(cast(key as blob), cast(subject_id as blob),
                cast(retryable as blob), cast(attempts as blob), cast(error as blob))""",
            """create table row_counts (name text primary key, num_rows integer not null) strict,
                without rowid""",
            "insert into row_counts select 'descriptions', count(*) from descriptions",
            "insert into row_counts select 'failures', count(*) from failures",
        ),
    ),
)
# A file that lacks these steps can still be read: more slowly, and unverified.
_OPTIONAL_STEPS: Final = {INDEX_OF_KEYS, DIGESTS}


def migrate(connection: sqlite3.Connection, path: Path) -> int:
    """Brings a file to the newest layout; an empty one becomes a store.

    Returns:
        The number of steps that the file had taken before.
    """
    connection.create_function("row_digest", -1, row_digest, deterministic=True)
    with transaction(connection):
        if is_empty(connection):
            connection.execute(f"pragma application_id = {_APPLICATION_ID}")
            connection.execute("create table meta (step integer primary key, name text not null) strict")
            done = 0
        else:
            done = num_steps_taken(connection, path)
        for step, (name, statements) in enumerate(MIGRATIONS[done:], start=done + 1):
            for statement in statements:
                connection.execute(statement)
            if name == DIGESTS:
                # Journals name it too, so that the journal of another store is recognized.
                connection.execute(f"pragma user_version = {1 + secrets.randbelow(2**31 - 1)}")
            connection.execute("insert into meta values (?, ?)", (step, name))
    return done


def steps_taken(connection: sqlite3.Connection, path: Path) -> frozenset[str]:
    """The names of the steps that a file has taken, all that reading needs among them.

    Raises:
        StoreError: The file is not a store, has an older layout that cannot be read, or is of a newer mien.
        DamagedStoreError: Its layout is not what the steps make of it.
    """
    number = num_steps_taken(connection, path)
    if not {name for name, _ in MIGRATIONS[number:]} <= _OPTIONAL_STEPS:  # a reader cannot add it
        raise StoreError(f"store {path} has an older layout", hint="run mien describe, which updates it")
    return frozenset(name for name, _ in MIGRATIONS[:number])


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether a file has no tables yet: its creation was interrupted, or is about to begin."""
    num_tables: int = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    num_pages: int = connection.execute("pragma page_count").fetchone()[0]
    return num_tables == 0 and num_pages <= 1  # with more, its list of tables was lost


def rebuild_table(connection: sqlite3.Connection, table: str, rows: Iterator[Sequence[object]]) -> None:
    """Replaces the rows of a table, in a new tree; the old tree may be out of order, but not torn.

    Args:
        connection: In a transaction.
        table: One of `COUNTED_TABLES`.
        rows: Values for `INSERT`; may be read from `damaged_TABLE`, which is the old table.
    """
    schema = _schema(len(MIGRATIONS))
    indexes = [name for name, (of, _) in schema.items() if of == table and name != table]
    for index in indexes:
        connection.execute(f"drop index if exists {index}")
    connection.execute(f"alter table {table} rename to damaged_{table}")
    connection.execute(schema[table][1])
    connection.executemany(INSERT[table], rows)
    connection.execute(f"drop table damaged_{table}")
    for index in indexes:
        connection.execute(schema[index][1])
    num_rows = connection.execute(f"select count(*) from {table}").fetchone()[0]  # noqa: S608  our own name
    connection.execute("insert or replace into row_counts values (?, ?)", (table, num_rows))


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
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


# --- The steps of a file -------------------------------------------------------------------------------


def num_steps_taken(connection: sqlite3.Connection, path: Path) -> int:
    """How many migrations a file has taken; StoreError if it is not a store, or is of a newer mien."""
    mark = connection.execute("pragma application_id").fetchone()[0]
    if mark != _APPLICATION_ID:
        if (mark ^ _APPLICATION_ID).bit_count() <= _MAX_FLIPS:
            raise damaged_store(path, "the mark of a store in its header has changed")
        raise StoreError(f"{path} is not a store of descriptions", hint="name another file")
    _refuse_code(connection, path)
    query = "select cast(name as blob) from meta order by step"
    taken = [_decoded(name) for (name,) in connection.execute(query)]
    known = [name for name, _ in MIGRATIONS]
    if not taken:
        raise damaged_store(path, "its list of layout steps is empty")
    if taken != known[: len(taken)]:
        number = next(number for number, name in enumerate(taken) if [name] != known[number : number + 1])
        if number < len(known):  # steps are only ever added at the end
            raise damaged_store(path, f"its list of layout steps has {taken[number]!r}")
        raise StoreError(
            f"store {path} was written by a newer mien (it has the step {taken[number]!r})",
            hint="update mien, or name another store",
        )
    _require_schema(connection, path, len(taken))
    return len(taken)


def _refuse_code(connection: sqlite3.Connection, path: Path) -> None:
    """DamagedStoreError if a view or trigger would run when a table is read or written."""
    found = connection.execute(
        "select cast(type as blob), cast(name as blob) from sqlite_master where type in ('view', 'trigger')"
    ).fetchone()
    if found is not None:
        raise damaged_store(path, f"it has a {_decoded(found[0])}, {_decoded(found[1])!r}")


def _require_schema(connection: sqlite3.Connection, path: Path, num_steps: int) -> None:
    """DamagedStoreError unless the file has the tables and indexes of these steps; others do not matter."""
    found = _read_schema(connection)
    for name, definition in _schema(num_steps).items():
        if found.get(name) != definition:
            raise damaged_store(path, f"the definition of {name!r} has changed")


def _schema(num_steps: int) -> dict[str, tuple[str, str]]:
    return _schema_of(MIGRATIONS[:num_steps])


@cache
def _schema_of(steps: tuple[tuple[str, tuple[str, ...]], ...]) -> dict[str, tuple[str, str]]:
    """Table and definition of all tables and indexes after these steps."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.create_function("row_digest", -1, row_digest, deterministic=True)
        connection.execute("create table meta (step integer primary key, name text not null) strict")
        for _, statements in steps:
            for statement in statements:
                connection.execute(statement)
        return _read_schema(connection)


def _read_schema(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    query = """select cast(name as blob), cast(tbl_name as blob), cast(sql as blob) from sqlite_master
        where sql is not null"""
    rows = connection.execute(query).fetchall()
    return {_decoded(name): (_decoded(table), _decoded(definition)) for name, table, definition in rows}


def _decoded(value: bytes | None) -> str:
    """A text of a file that may be damaged."""
    return "" if value is None else value.decode(errors="replace")
