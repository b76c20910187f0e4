"""Several stores put together into one, such as those of the shards of one data set.

Goes in: the files of stores, which are only read. Comes out: a store with the rows of all, and an account.
Knows nothing about: subjects, recipes, which engine wrote what.

Two answers to one question are a conflict, and nothing is written while there is one that nobody decided.
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
from mien.prefetch import groups
from mien.types import Description, Failure

__all__ = ["Conflict", "Merged", "merge"]

_GROUP: Final = 500
_SHOWN: Final = 20  # conflicts that are kept to be shown; all are counted
_Row = TypeVar("_Row", Description, Failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One key with different answers: whose, and the first two stores that differ."""

    key: str
    subject_id: str
    first: Path
    other: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What the merged store holds now, the first of `num_conflicts`, and whether anything was written."""

    descriptions: int
    failures: int
    conflicts: tuple[Conflict, ...]
    num_conflicts: int
    written: bool


def merge(sources: Sequence[Path], out: Path, *, prefer_first: bool = False) -> Merged:
    """Brings the rows of all sources into `out`, after what it holds already.

    A description wins over a failure, the first failure over later ones. Where answers differ nothing is
    written, and the conflicts are returned, unless `prefer_first` decides them.
    """
    others = [path for path in dict.fromkeys(sources) if path.resolve() != out.resolve()]
    if not others:
        raise UsageError("there is nothing to merge", hint="name at least one store besides --out")
    with ExitStack() as opened:
        stores = [opened.enter_context(Store(path, writable=False)) for path in others]
        before = [opened.enter_context(Store(out))] if out.exists() else []
        conflicts, count = _conflicts([*before, *stores])
        if conflicts and not prefer_first:
            return Merged(descriptions=0, failures=0, conflicts=conflicts, num_conflicts=count, written=False)
        target = before[0] if before else opened.enter_context(Store(out))
        _write(target, stores)
        return Merged(
            descriptions=len(target),
            failures=sum(1 for _ in target.iterate_failures()),
            conflicts=conflicts,
            num_conflicts=count,
            written=True,
        )


def _write(target: Store, stores: Sequence[Store]) -> None:
    for group in groups(_first_rows(stores, iter), _GROUP):
        target.put(group)
    for failed in groups(_first_rows(stores, Store.iterate_failures), _GROUP):
        held = {failure.key for failure in target.failures(failure.key for failure in failed)}
        target.put(failures=[failure for failure in failed if failure.key not in held])


def _conflicts(stores: Sequence[Store]) -> tuple[tuple[Conflict, ...], int]:
    """The first few conflicts, and how many there are; holds the answers of one key at a time."""
    found: list[Conflict] = []
    count = 0
    for key, rows in groupby(_in_order(stores, iter), key=lambda pair: pair[1].key):
        same = list(rows)
        first_store, first = same[0]
        other = next(
            (store for store, row in same if (row.text, row.finish) != (first.text, first.finish)), None
        )
        count += other is not None
        if other is not None and len(found) < _SHOWN:
            found.append(
                Conflict(key=key, subject_id=first.subject_id, first=first_store.path, other=other.path)
            )
    return tuple(found), count


def _first_rows(stores: Sequence[Store], rows: Callable[[Store], Iterable[_Row]]) -> Iterator[_Row]:
    """One row for each key: that of the first store which has it."""
    for _, same in groupby(_in_order(stores, rows), key=lambda pair: pair[1].key):
        yield next(same)[1]


def _in_order(
    stores: Sequence[Store], rows: Callable[[Store], Iterable[_Row]]
) -> Iterator[tuple[Store, _Row]]:
    """The rows of all stores by key; those of one key in the order of the stores."""
    streams = [zip(repeat(store), rows(store)) for store in stores]
    # `merge` is stable: of equal keys, those of earlier streams come first.
    return heapq.merge(*streams, key=lambda pair: pair[1].key)
