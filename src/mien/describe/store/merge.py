"""Merges several stores into one, such as those of the shards of one dataset.

Two different descriptions under one key are a conflict. Nothing is written while a conflict is undecided.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby, repeat
from pathlib import Path
from typing import Final, TypeVar

from mien.describe.store.store import Store
from mien.errors import UsageError
from mien.prefetch import batched
from mien.types import Description, Failure

__all__ = ["Conflict", "MergeSummary", "merge_stores"]

_BATCH: Final = 500
_MAX_LISTED: Final = 20  # all conflicts are counted, the first ones are listed
_Row = TypeVar("_Row", Description, Failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A key with different descriptions: its subject, and the first two stores that differ."""

    key: str
    subject_id: str
    first: Path
    second: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSummary:
    """The result of a merge.

    Attributes:
        descriptions: How many the merged store holds now; 0 if nothing was written.
        failures: How many the merged store holds now; 0 if nothing was written.
        conflicts: The first conflicts, for messages.
        num_conflicts: How many there are in all.
        written: Whether the stores were merged.
    """

    descriptions: int
    failures: int
    conflicts: tuple[Conflict, ...]
    num_conflicts: int
    written: bool


def merge_stores(sources: Sequence[Path], out: Path, *, prefer_first: bool = False) -> MergeSummary:
    """Adds the rows of all sources to the store `out`, which keeps what it holds.

    A description replaces a failure; of several failures under one key, the first is kept.

    Args:
        sources: Stores to read, in order of preference. They are not changed.
        out: The store to write. It is created if it does not exist.
        prefer_first: Whether a conflict is decided in favor of the first store. Without it, conflicts are
            returned and nothing is written.

    Raises:
        UsageError: There is no source other than `out`.
        StoreError: A store cannot be opened.
    """
    others = [path for path in dict.fromkeys(sources) if path.resolve() != out.resolve()]
    if not others:
        raise UsageError("there is nothing to merge", hint="name at least one store besides --out")
    with ExitStack() as stack:
        stores = [stack.enter_context(Store(path, writable=False)) for path in others]
        existing = [stack.enter_context(Store(out))] if out.exists() else []
        conflicts, num_conflicts = _find_conflicts([*existing, *stores])
        if conflicts and not prefer_first:
            return MergeSummary(
                descriptions=0, failures=0, conflicts=conflicts, num_conflicts=num_conflicts, written=False
            )
        target = existing[0] if existing else stack.enter_context(Store(out))
        _write(target, stores)
        return MergeSummary(
            descriptions=len(target),
            failures=sum(1 for _ in target.iterate_failures()),
            conflicts=conflicts,
            num_conflicts=num_conflicts,
            written=True,
        )


def _write(target: Store, stores: Sequence[Store]) -> None:
    for descriptions in batched(_first_rows(stores, iter), _BATCH):
        target.put(descriptions)
    for failures in batched(_first_rows(stores, Store.iterate_failures), _BATCH):
        existing = {failure.key for failure in target.failures(failure.key for failure in failures)}
        target.put(failures=[failure for failure in failures if failure.key not in existing])


def _find_conflicts(stores: Sequence[Store]) -> tuple[tuple[Conflict, ...], int]:
    """The first conflicts, and how many there are; only the rows of one key are held at a time."""
    found: list[Conflict] = []
    num_conflicts = 0
    for key, rows in groupby(_by_key(stores, iter), key=lambda pair: pair[1].key):
        same_key = list(rows)
        first_store, first = same_key[0]
        second = next(
            (store for store, row in same_key if (row.text, row.finish) != (first.text, first.finish)), None
        )
        num_conflicts += second is not None
        if second is not None and len(found) < _MAX_LISTED:
            found.append(
                Conflict(key=key, subject_id=first.subject_id, first=first_store.path, second=second.path)
            )
    return tuple(found), num_conflicts


def _first_rows(stores: Sequence[Store], rows: Callable[[Store], Iterable[_Row]]) -> Iterator[_Row]:
    """One row per key, from the first store that has it."""
    for _, same_key in groupby(_by_key(stores, rows), key=lambda pair: pair[1].key):
        yield next(same_key)[1]


def _by_key(stores: Sequence[Store], rows: Callable[[Store], Iterable[_Row]]) -> Iterator[tuple[Store, _Row]]:
    """The rows of all stores in the order of keys; rows of one key in the order of the stores."""
    streams = [zip(repeat(store), rows(store)) for store in stores]
    # `heapq.merge` is stable: of equal keys, those of earlier streams come first.
    return heapq.merge(*streams, key=lambda pair: pair[1].key)
