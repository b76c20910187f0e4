"""Descriptions and failures as rows of a store, each with a digest of all its columns.

Rows are read as bytes: a digest is of what is on disk, and a text that is not UTF-8 is damage of one row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import lt
from typing import Any, Final

from mien.errors import DataError
from mien.types import Description, Failure

__all__ = [
    "NUM_COLUMNS",
    "SELECT",
    "DamagedRow",
    "are_as_written",
    "check_columns",
    "check_digest",
    "description_row",
    "failure_row",
    "parse_description",
    "parse_failure",
    "row_digest",
]

# The columns of each table in the order of digests and of the rows here: the one that may hold anything is
# last. Numbers are selected as their digits.
SELECT: Final = {
    "descriptions": "select key, subject_id, prompt_id, engine, finish, text",
    "failures": "select key, subject_id, cast(retryable as blob), cast(attempts as blob), error",
}
NUM_COLUMNS: Final = {"descriptions": 6, "failures": 5}
_MAX_SHOWN: Final = 200  # characters of a damaged id; it may have become part of a long text
_EMPTY_HASH: Final = hashlib.blake2b(digest_size=16)
_Row = Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedRow:
    """A row that is not what was written. Its key and id are shown as they are read, and may be wrong."""

    key: str
    subject_id: str
    reason: str


def row_digest(*columns: bytes) -> bytes:
    """The digest of a row: BLAKE2b of its columns with zero bytes between them, 16 bytes."""
    return _digest(columns)


def _digest(columns: Sequence[bytes]) -> bytes:
    state = _EMPTY_HASH.copy()  # half the time of a new one
    state.update(b"\0".join(columns))
    return state.digest()


def description_row(item: Description) -> tuple[str | bytes, ...]:
    """The row of a description, with its digest at the end."""
    return _with_digest(
        item.key, _to_utf8(item.subject_id), item.prompt_id, item.engine, item.finish, _to_utf8(item.text)
    )


def failure_row(item: Failure) -> tuple[str | bytes, ...]:
    """The row of a failure, with its digest at the end."""
    numbers = f"{item.retryable:d}", f"{item.attempts:d}"
    return _with_digest(item.key, _to_utf8(item.subject_id), *numbers, _to_utf8(item.error))


def _with_digest(*columns: str) -> tuple[str | bytes, ...]:
    # A value of another type is refused by the table.
    return (*columns, _digest([str(column).encode() for column in columns]))


def check_digest(num_columns: int, row: _Row) -> DamagedRow | None:
    """What is wrong with a row of bytes, in which the digest is behind this number of columns."""
    state = _EMPTY_HASH.copy()  # as `_digest`; a call costs a tenth of it
    try:
        state.update(b"\0".join(row[:num_columns]))
        if state.digest() == row[num_columns]:
            return None
    except TypeError:  # a column that is a number or null now
        pass
    return _damaged(row, "its digest does not match")


def are_as_written(num_columns: int, rows: Sequence[_Row], keys: Sequence[Any]) -> bool:
    """Whether all rows have their digests, and keys are in strict order; faster than row by row.

    Args:
        num_columns: The digest is behind this number of columns.
        rows: As read.
        keys: The key before the first row, and that of each row.
    """
    copy = _EMPTY_HASH.copy
    try:
        for row in rows:
            state = copy()
            state.update(b"\0".join(row[:num_columns]))
            if state.digest() != row[num_columns]:
                return False
    except TypeError:
        return False
    return all(map(lt, keys, keys[1:]))


def check_columns(parse: Callable[[_Row], object], row: _Row) -> DamagedRow | None:
    """What is wrong with a row that has no digest, as far as its columns tell."""
    try:
        parse(row)
    except (TypeError, ValueError, AttributeError, DataError) as error:
        is_ours = isinstance(error, DataError)
        return _damaged(row, str(error) if is_ours else "a column is not of its type")
    return None


def parse_description(row: _Row) -> Description:
    """The description in a checked row."""
    return Description(
        key=row[0].decode(),
        subject_id=row[1].decode(),
        prompt_id=row[2].decode(),
        engine=row[3].decode(),
        finish=row[4].decode(),  # checked by Description itself
        text=row[5].decode(),
    )


def parse_failure(row: _Row) -> Failure:
    """The failure in a checked row."""
    return Failure(
        key=row[0].decode(),
        subject_id=row[1].decode(),
        retryable=bool(int(row[2])),
        attempts=int(row[3]),
        error=row[4].decode(),
    )


def _damaged(row: _Row, reason: str) -> DamagedRow:
    key, subject_id = map(_shown, row[:2])
    return DamagedRow(key=key, subject_id=subject_id, reason=reason)


def _shown(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return "".join(character if character.isprintable() else "�" for character in text[:_MAX_SHOWN])


def _to_utf8(text: str) -> str:
    """The text with lone surrogates, which file names may contain, escaped."""
    return text.encode(errors="backslashreplace").decode()
