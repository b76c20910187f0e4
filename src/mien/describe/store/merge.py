"""Merges several stores into one, such as those of the shards of one dataset.

Two different descriptions under one key are a conflict. Nothing is written while a conflict is undecided.
Damaged rows are left out. Of a store that is damaged beyond single rows, the intact descriptions are merged.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, repeat
from pathlib import Path
from typing import Final, TypeVar

from mien.describe.store.rows import DamagedRow
from mien.describe.store.salvage import salvage
from mien.describe.store.store import Store
from mien.errors import DamagedStoreError, UsageError
from mien.files import make_folder, temporary_folder
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
        damaged: The rows of each store, `out` among them, that were left out, because they have changed.
        recovered: Sources that are damaged beyond single rows, and how many descriptions were found in each;
            their failures are left out.
    """

    descriptions: int
    failures: int
    conflicts: tuple[Conflict, ...]
    num_conflicts: int
    written: bool
    damaged: Mapping[Path, tuple[DamagedRow, ...]] = field(default_factory=dict)
    recovered: Mapping[Path, int] = field(default_factory=dict)

    @property
    def num_damaged(self) -> int:
        """Damaged rows of all sources together."""
        return sum(map(len, self.damaged.values()))


def merge_stores(sources: Sequence[Path], out: Path, *, prefer_first: bool = False) -> MergeSummary:
    """Adds the rows of all sources to the store `out`, which keeps what it holds.

    A description replaces a failure; of several failures under one key, the first is kept.

    Args:
        sources: Stores to read, in order of preference. They are not changed.
        out: The store to write. It is created if it does not exist.
        prefer_first: Whether a conflict is decided in favor of the first store. Without it, conflicts are
            returned and nothing is written.

    Raises:
        UsageError: `out` is the only source.
        StoreError: A store cannot be opened.
    """
    others = [path for path in dict.fromkeys(sources) if not _is_same_file(path, out)]
    if not others:
        raise UsageError("there is nothing to merge", hint="name at least one store besides --out")
    with ExitStack() as stack:
        existing = [stack.enter_context(Store(out))] if out.exists() else []
        found = _Sources(others, out.parent, stack)
        found.recover_damaged()
        conflicts, num_conflicts = _find_conflicts([*existing, *found.stores])
        written = prefer_first or not conflicts
        if written:
            target = existing[0] if existing else stack.enter_context(Store(out))
            _write(target, found.stores)
        damaged = found.damaged_rows()
        damaged |= {store.path: store.damaged_rows for store in existing if store.damaged_rows}
        return MergeSummary(
            descriptions=len(target) if written else 0,
            failures=sum(1 for _ in target.iterate_failures()) if written else 0,
            conflicts=tuple(map(found.with_given_paths, conflicts)),
            num_conflicts=num_conflicts,
            written=written,
            damaged=damaged,
            recovered=found.recovered,
        )


def _is_same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except (OSError, ValueError):  # what is wrong with it is said when it is opened
        return first == second


class _Sources:
    """The open stores that are merged, in order; a damaged one is replaced with what is intact in it."""

    def __init__(self, paths: Sequence[Path], place: Path, stack: ExitStack) -> None:
        self._paths, self._place, self._stack = paths, place, stack
        self.recovered: dict[Path, int] = {}
        self.stores = [self._open(path) for path in paths]

    def recover_damaged(self) -> None:
        """Replaces the stores that cannot be read to their end."""
        for number, (path, store) in enumerate(zip(self._paths, self.stores, strict=True)):
            if path not in self.recovered and not _is_readable(store):
                self.stores[number] = self._recover(path)

    def damaged_rows(self) -> dict[Path, tuple[DamagedRow, ...]]:
        """The damaged rows of each source that has some."""
        pairs = zip(self._paths, self.stores, strict=True)
        return {path: store.damaged_rows for path, store in pairs if store.damaged_rows}

    def with_given_paths(self, conflict: Conflict) -> Conflict:
        """A conflict that names the given stores, and not what was recovered from them."""
        given = {store.path: path for path, store in zip(self._paths, self.stores, strict=True)}
        first, second = (given.get(path, path) for path in (conflict.first, conflict.second))
        return replace(conflict, first=first, second=second)

    def _open(self, path: Path) -> Store:
        try:
            return self._stack.enter_context(Store(path, writable=False))
        except DamagedStoreError:
            return self._recover(path)

    def _recover(self, path: Path) -> Store:
        make_folder(self._place)
        folder = self._stack.enter_context(temporary_folder(self._place, path.name))
        recovered = self._stack.enter_context(Store(folder / "recovered.sqlite"))
        for batch in batched(chain(salvage(path), _readable(path)), _BATCH):
            recovered.put(batch)
        self.recovered[path] = len(recovered)
        return recovered


def _is_readable(store: Store) -> bool:
    try:
        for _ in chain[Description | Failure](store, store.iterate_failures()):
            pass
    except DamagedStoreError:
        return False
    return True


def _readable(path: Path) -> Iterator[Description]:
    """Descriptions up to the first damage, from both ends, for stores without digests."""
    for is_reversed in (False, True):
        with suppress(DamagedStoreError), Store(path, writable=False) as store:
            yield from reversed(store) if is_reversed else store


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
