"""Stores as version 0.1.0 and earlier states wrote them: without digests."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from mien.types import Description, Failure

__all__ = ["write_old_store"]

# A copy of what was released, so that no later change of the layout reaches it.
STEPS = (
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
    ("index of keys", ("create index described on descriptions (key)",)),
)


def write_old_store(
    path: Path, descriptions: Iterable[Description] = (), failures: Iterable[Failure] = (), num_steps: int = 2
) -> None:
    """Writes a store with the first steps of the layout: 1 before 0.1.0, 2 as in 0.1.0."""
    with sqlite3.connect(path) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma application_id = {0x6D69656E}")
        connection.execute("create table meta (step integer primary key, name text not null) strict")
        for step, (name, statements) in enumerate(STEPS[:num_steps], start=1):
            for statement in statements:
                connection.execute(statement)
            connection.execute("insert into meta values (?, ?)", (step, name))
        rows = [(d.key, d.subject_id, d.text, d.prompt_id, d.engine, d.finish) for d in descriptions]
        connection.executemany("insert into descriptions values (?, ?, ?, ?, ?, ?)", rows)
        others = [(f.key, f.subject_id, f.error, int(f.retryable), f.attempts) for f in failures]
        connection.executemany("insert into failures values (?, ?, ?, ?, ?)", others)
    connection.close()
