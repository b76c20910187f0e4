"""Finds the descriptions in a damaged store without SQLite: every intact row on any page, by its digest.

A description never changes, so a row with a correct digest is right wherever it lies: in a page that the tree
has lost, in a copy that was left behind, or in the journal. Failures do change, and are not recovered.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from mien.describe.store.journal import journal_path
from mien.describe.store.rows import check_digest, parse_description
from mien.types import Description

__all__ = ["salvage"]

# https://www.sqlite.org/fileformat2.html
_PAGE_SIZES: Final = {512 << power for power in range(7)}
_DEFAULT_PAGE_SIZE: Final = 4096
_INNER: Final = 0x02  # inner pages of this kind of tree carry rows too
_NUM_COLUMNS: Final = 7  # with the digest
_MAX_HEAD: Final = 1 + 9 * _NUM_COLUMNS  # bytes; an integer has at most nine
_FIRST_BLOB: Final = 12  # codes of column types from here on are lengths
_JOURNAL_HEAD: Final = 32
_FRAME_HEAD: Final = 24
# How often each page is followed, on average. In a store it continues one record, of which there may be old
# copies; in a hostile file, thousands of records may claim the same pages.
_MAX_FOLLOWED: Final = 16


def salvage(path: Path) -> Iterator[Description]:
    """The intact descriptions in a store's file and its journal, in no order; some may come several times."""
    with ExitStack() as stack:
        yield from _Pages(_map(path, stack), _map(journal_path(path), stack)).descriptions()


def _map(path: Path, stack: ExitStack) -> bytes | mmap.mmap:
    """The content of a file; empty if it has none or does not exist."""
    try:
        file = stack.enter_context(path.open("rb"))
        return stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (FileNotFoundError, ValueError):
        return b""


class _Pages:
    """The pages of a store's file and of its journal."""

    def __init__(self, data: bytes | mmap.mmap, journal: bytes | mmap.mmap) -> None:
        size = int.from_bytes(data[16:18])
        self._size = size if size in _PAGE_SIZES else _DEFAULT_PAGE_SIZE
        self._data, self._journal = data, journal
        step = _FRAME_HEAD + self._size
        self._frames = range(_JOURNAL_HEAD, len(journal) - step + 1, step)
        # Where the newest version of a page is in the journal.
        self._newest = {int.from_bytes(journal[start : start + 4]): start for start in self._frames}
        self._num_left = _MAX_FOLLOWED * (len(data) // self._size + len(self._frames) + 1)

    def descriptions(self) -> Iterator[Description]:
        """The intact descriptions on all pages."""
        for start in range(0, len(self._data), self._size):
            yield from self._on_page(self._data[start : start + self._size])
        for start in self._frames:
            yield from self._on_page(self._journal_page(start))

    def _journal_page(self, start: int) -> bytes:
        return self._journal[start + _FRAME_HEAD : start + _FRAME_HEAD + self._size]

    def _on_page(self, page: bytes) -> Iterator[Description]:
        is_inner = page[:1] == bytes([_INNER])
        places = page[12 if is_inner else 8 :][: 2 * int.from_bytes(page[3:5])]
        for number in range(0, len(places) - 1, 2):
            start = int.from_bytes(places[number : number + 2]) + (4 if is_inner else 0)
            for record in self._records(page[start:]):
                row = _columns(record)
                if row is not None and check_digest(_NUM_COLUMNS - 1, row) is None:
                    yield parse_description(row)
                    break

    def _records(self, cell: bytes) -> Iterator[bytes]:
        """What a cell may hold; its rest may be on other pages, in the journal or only in the file."""
        length, used = _varint(cell)
        content = cell[used:]
        most = (self._size - 12) * 64 // 255 - 23
        if length <= most:
            yield content[:length]
        elif length <= len(self._data) + len(self._journal) and _column_lengths(content, length) is not None:
            least = (self._size - 12) * 32 // 255 - 23
            local = least + (length - least) % (self._size - 4)
            local = local if local <= most else least
            for use_journal in (True, False) if self._newest else (False,):
                yield self._follow(content[:local], content[local : local + 4], length, use_journal)

    def _follow(self, record: bytes, next_page: bytes, length: int, use_journal: bool) -> bytes:
        parts, missing = [record], length - len(record)
        while missing > 0 and self._num_left and (number := int.from_bytes(next_page)):
            self._num_left -= 1
            place = self._newest.get(number) if use_journal else None
            start = (number - 1) * self._size
            page = self._data[start : start + self._size] if place is None else self._journal_page(place)
            if len(page) < self._size:
                break
            next_page = page[:4]
            parts.append(page[4 : 4 + missing])
            missing -= len(parts[-1])
        return b"".join(parts)


def _columns(record: bytes) -> list[bytes] | None:
    """The columns of a record in the order of digests; None unless all of them are text or bytes."""
    lengths = _column_lengths(record, len(record))
    if lengths is None:
        return None
    columns, start = [], len(record) - sum(lengths)
    for length in lengths:
        columns.append(record[start : start + length])
        start += length
    key, subject_id, text, *others, digest = columns  # as the table has them
    return [key, subject_id, *others, text, digest]


def _column_lengths(record: bytes, num_bytes: int) -> list[int] | None:
    """The length of each column, by the head of a record of `num_bytes`; None if it is not a description."""
    head_length, start = _varint(record)
    if not _NUM_COLUMNS < head_length <= _MAX_HEAD:
        return None
    lengths: list[int] = []
    while start < head_length and len(lengths) <= _NUM_COLUMNS:
        code, used = _varint(record[start : start + 9])
        start += used
        if code < _FIRST_BLOB:
            return None
        lengths.append((code - _FIRST_BLOB) // 2)
    is_whole = len(lengths) == _NUM_COLUMNS and head_length + sum(lengths) == num_bytes
    return lengths if is_whole else None


def _varint(data: bytes) -> tuple[int, int]:
    """SQLite's integer at the start, and its number of bytes."""
    value = 0
    for number, byte in enumerate(data[:8], start=1):
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, number
    return (value << 8 | data[8], 9) if len(data) > 8 else (value, len(data))
