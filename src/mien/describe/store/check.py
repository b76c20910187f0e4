"""Checks a store as a whole: every row, how many there are, and the file itself."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.describe.store.opening import OF_ROWS
from mien.describe.store.rows import DamagedRow
from mien.describe.store.store import Store
from mien.errors import DamagedStoreError

__all__ = ["StoreCheck", "check_store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """What is in a store, and what is wrong with it.

    Attributes:
        descriptions: Unchanged descriptions, as far as they can be read.
        failures: Unchanged failures, as far as they can be read.
        damaged: Rows that are not what was written. Their keys and ids may be wrong, too.
        unverified: Rows without a digest: all of those in a store that only version 0.1.0 has written.
        problems: What is wrong with the file beyond single rows.
        has_damaged_index: Whether the index of keys is wrong, so that descriptions seem to be missing.
        repair: The command that repairs it; empty if it is not damaged.
    """

    descriptions: int
    failures: int
    damaged: tuple[DamagedRow, ...]
    unverified: int
    problems: tuple[str, ...]
    has_damaged_index: bool
    repair: str

    @property
    def is_damaged(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.damaged or self.problems or self.has_damaged_index)

    @property
    def how_to_repair(self) -> str:
        """The command that repairs it, with what it does."""
        if self.problems:
            return f"{self.repair} copies all that is intact; put it in the store's place, and describe again"
        if self.damaged:
            return f"{self.repair} removes damaged rows and describes their subjects again"
        return f"{self.repair} builds the index of keys again"


def check_store(path: Path) -> StoreCheck:
    """Reads all of a store and changes nothing.

    Raises:
        StoreError: The store does not exist or cannot be opened. A damaged one is a result, not an error.
    """
    problems: list[str] = []
    of_rows: list[str] = []
    num_descriptions = num_failures = unverified = 0
    damaged: tuple[DamagedRow, ...] = ()
    try:
        with Store(path, writable=False) as store:
            for text in store.structure_problems():
                (of_rows if OF_ROWS.match(text) else problems).append(text)
            try:
                for _ in store:
                    num_descriptions += 1
                for _ in store.iterate_failures():
                    num_failures += 1
            finally:
                damaged = store.damaged_rows
                unverified = 0 if store.has_digests else num_descriptions + num_failures
    except DamagedStoreError as error:
        problems.append(str(error))
    has_damaged_index = bool(of_rows) and not damaged
    return StoreCheck(
        descriptions=num_descriptions,
        failures=num_failures,
        damaged=damaged,
        unverified=unverified,
        problems=tuple(problems),
        has_damaged_index=has_damaged_index,
        repair=_repair(path, problems, is_damaged=bool(damaged) or has_damaged_index),
    )


def _repair(path: Path, problems: Sequence[str], *, is_damaged: bool) -> str:
    if problems:
        return shlex.join(["mien", "describe", "merge", str(path), "--out", f"{path}.recovered"])
    return "mien describe RECIPE" if is_damaged else ""
