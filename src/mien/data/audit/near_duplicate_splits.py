"""Other splits for a data set, so that nothing is tested on what was trained on.

In: a `Dataset`. Out: a split file (see `splits`) in which pictures that are equal or alike, people of one
picture and people of one clip are on one side. Knows nothing about how likeness is told (see `duplicates`).

What spans splits goes to the training side: to "train" if any of it was there, else to "dev", else to "val",
else to the earliest of its splits. So test loses pictures and never gains any, and what remains of it is
comparable. A subject without labels cannot be learned from: it is left out where it would have to move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from mien.data.audit.verify import NearDuplicate, VerifyProgress, verify
from mien.data.dataset import Dataset
from mien.data.splits import write_splits
from mien.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["assign_splits", "write_split_file"]

_FIRST: Final = ("train", "dev", "val")


def write_split_file(
    dataset: Dataset,
    out: Path,
    *,
    workers: int | None = None,
    drop_copies: bool = False,
    on_progress: Callable[[VerifyProgress], None] | None = None,
) -> dict[str, JsonValue]:
    """Verifies the data set, writes its split file, and tells what was changed, in numbers."""
    if not out.parent.is_dir():
        raise DataError(
            f"there is no folder {out.parent} to write into", hint="make it, or name another file"
        )
    verified = verify(dataset, workers=workers, on_progress=on_progress)
    splits = assign_splits(dataset, verified.near_duplicates, drop_copies=drop_copies)
    write_splits(out, splits)
    own = {record.sample.subject.id: split for split in dataset.splits for record in dataset.records(split)}
    moved = Counter(
        f"{own[name]} to {split}" for name, split in splits.items() if split not in (None, own[name])
    )
    across = [group for group in verified.near_duplicates if len({twin.split for twin in group}) > 1]
    return {
        "subjects": len(splits),
        "groups_alike": len(verified.near_duplicates),
        "groups_across_splits": len(across),
        "moved": dict(sorted(moved.items())),
        "left_out": sum(split is None for split in splits.values()),
        "file": str(out),
    }


def assign_splits(
    dataset: Dataset, twins: Sequence[Sequence[NearDuplicate]], *, drop_copies: bool = False
) -> dict[str, str | None]:
    """The split of every subject by id, in the data set's order; None leaves it out.

    `drop_copies`: of files with the same bytes only the first is kept, with the people noted in that one.
    """
    together = _Together()
    for group in twins:
        together.join(twin.path for twin in group)
    for split in dataset.splits:
        for record in dataset.records(split):
            together.join(ref.path for ref in record.sample.subject.images)
    homes = _homes(dataset, together)
    surplus = _surplus(twins) if drop_copies else frozenset()
    chosen: dict[str, str | None] = {}
    for split in dataset.splits:
        for record in dataset.records(split):
            subject = record.sample.subject
            home = homes[together.root(subject.images[0].path)]
            leaves = record.sample.target is None and home != split
            dropped = any(ref.path in surplus for ref in subject.images)
            chosen[subject.id] = None if leaves or dropped else home
    return chosen


def _homes(dataset: Dataset, together: _Together) -> Mapping[Path, str]:
    """The split of each group, by its root."""
    order = (*(split for split in _FIRST if split in dataset.splits), *dataset.splits)
    homes: dict[Path, str] = {}
    for split in dataset.splits:
        for record in dataset.records(split):
            root = together.root(record.sample.subject.images[0].path)
            homes[root] = min(homes.get(root, split), split, key=order.index)
    return homes


def _surplus(twins: Sequence[Sequence[NearDuplicate]]) -> frozenset[Path]:
    """Of each content, all files but the first of the training side."""
    surplus = set()
    for group in twins:
        kept: set[str] = set()
        for twin in sorted(
            group, key=lambda one: _FIRST.index(one.split) if one.split in _FIRST else len(_FIRST)
        ):
            if twin.digest in kept:
                surplus.add(twin.path)
            kept.add(twin.digest)
    return frozenset(surplus)


def _rank(twin: NearDuplicate) -> int:
    return _FIRST.index(twin.split) if twin.split in _FIRST else len(_FIRST)


class _Together:
    """Files that belong together, by union-find."""

    def __init__(self) -> None:
        self._above: dict[Path, Path] = {}

    def root(self, path: Path) -> Path:
        """The same for all files that belong together."""
        above = self._above.setdefault(path, path)
        while above != path:
            # Halving the way for the next one who asks.
            self._above[path] = self._above[above]
            path, above = above, self._above[above]
        return path

    def join(self, paths: Iterable[Path]) -> None:
        """From now on these belong together."""
        first: Path | None = None
        for path in paths:
            if first is None:
                first = path
            self._above[self.root(path)] = self.root(first)
