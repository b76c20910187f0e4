"""SQLite's write-ahead log next to a store: whether all of what it holds can be read.

SQLite ignores a log from its first changed bit on, and so would lose groups of rows silently. A log that ends
within a group is normal: its writer was killed.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final

__all__ = ["find_journal_problem", "journal_path"]

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGICS: Final = {0x377F0682: "<", 0x377F0683: ">"}
_ID: Final = slice(60, 64)  # user_version in the first page: the store's own number


def journal_path(store: Path) -> Path:
    """SQLite's write-ahead log of a store; a store that is a link has it next to what it links to."""
    place = store.resolve()
    return place.with_name(f"{place.name}-wal")


def find_journal_problem(store: Path) -> str | None:
    """What is wrong with the log of a store that no one writes, or None. A missing log is not wrong."""
    try:
        with store.open("rb") as file:
            store_id = file.read(100)[_ID]
        with (
            journal_path(store).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            if len(data) < _HEADER.size:
                return None  # a writer was killed as it began
            return _Journal(data, store_id).find_problem()
    except (OSError, ValueError):  # ValueError: it is empty
        return None


class _Journal:
    """The content of a log; https://www.sqlite.org/fileformat2.html#walformat."""

    def __init__(self, data: mmap.mmap, store_id: bytes) -> None:
        self._data, self._store_id = data, store_id
        magic, _, self._page_size, _, *self._salts, sum_1, sum_2 = _HEADER.unpack_from(data)
        self._order = _MAGICS.get(magic)
        self._sums = (sum_1, sum_2)

    def find_problem(self) -> str | None:
        if self._order is None or self._checksum(self._data[:24], (0, 0)) != self._sums:
            return "the head of its journal has changed"
        size = _FRAME.size + self._page_size
        is_valid, sums = True, self._sums
        for start in range(_HEADER.size, len(self._data) - size + 1, size):
            page_number, num_pages, *salts, sum_1, sum_2 = _FRAME.unpack_from(self._data, start)
            if salts[0] != self._salts[0] and salts[1] != self._salts[1]:
                break  # of an earlier use of the file
            page = self._data[start + _FRAME.size : start + size]
            if is_valid:
                sums = self._checksum(page, self._checksum(self._data[start : start + 8], sums))
                is_valid = salts == self._salts and (sum_1, sum_2) == sums
            # The last page of each group has the number of pages of the store.
            if not is_valid and num_pages:
                return "its journal has changed: rows that were written last cannot be read"
            if is_valid and page_number == 1 and any(self._store_id) and page[_ID] != self._store_id:
                return "its journal belongs to another store"
        return None

    def _checksum(self, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
        first, second = sums
        words = iter(struct.unpack(f"{self._order}{len(data) // 4}I", data))
        for one, two in zip(words, words, strict=True):
            first = (first + one + second) & 0xFFFFFFFF
            second = (second + two + first) & 0xFFFFFFFF
        return first, second
