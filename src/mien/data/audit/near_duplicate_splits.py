"""Reassigns splits so that nothing is tested on images that are also, or nearly, in the training data.

Writes a split file (see `mien.data.splits`) in which near-duplicates, people in the same image and people in
the same clip are in one split.

A group that spans several splits moves to "train" if any member was there, else to "dev", else to "val", else
to its earliest split. The test split therefore only loses images, and the rest of it stays comparable. A
subject without labels cannot be trained on; it is left out if it would have to move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from mien.data.audit.verify import NearDuplicate, VerifyProgress, verify
from mien.data.dataset import Dataset
from mien.data.splits import write_splits
from mien.errors import DataError

__all__ = ["SplitChanges", "SplitChangesDict", "assign_splits", "write_split_file"]

# Highest priority first; all other splits follow.
_PRIORITY: Final = ("train", "dev", "val")


class SplitChangesDict(TypedDict):
    """`SplitChanges` as plain values.

    Attributes:
        subjects: How many people the dataset has.
        near_duplicate_groups: How many groups of near-duplicate files there are.
        groups_across_splits: How many of those groups spanned several splits.
        left_out: How many people are in no split anymore.
        file: The split file.
    """

    subjects: int
    near_duplicate_groups: int
    groups_across_splits: int
    moved: dict[str, int]
    left_out: int
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitChanges:
    """What a split file changes.

    Attributes:
        num_groups: Groups of near-duplicate files.
        num_groups_across_splits: Those of them that spanned several splits.
        moved: How many people were moved, by move, such as "test to train".
        num_left_out: Subjects that are in no split anymore.
    """

    file: Path
    num_subjects: int
    num_groups: int
    num_groups_across_splits: int
    moved: Mapping[str, int]
    num_left_out: int

    def to_json(self) -> SplitChangesDict:
        """The document of `mien data dedup --json`."""
        return {
            "subjects": self.num_subjects,
            "near_duplicate_groups": self.num_groups,
            "groups_across_splits": self.num_groups_across_splits,
            "moved": dict(self.moved),
            "left_out": self.num_left_out,
            "file": str(self.file),
        }


def write_split_file(
    dataset: Dataset,
    out: Path,
    *,
    workers: int | None = None,
    drop_copies: bool = False,
    on_progress: Callable[[VerifyProgress], None] | None = None,
) -> SplitChanges:
    """Verifies the dataset, assigns splits and writes them to `out`.

    Args:
        workers: Number of threads; one per core by default.
        drop_copies: See `assign_splits`.

    Raises:
        DataError: The folder of `out` does not exist.
    """
    if not out.parent.is_dir():
        raise DataError(f"no folder {out.parent} to write to", hint="create it, or choose another file")
    verification = verify(dataset, workers=workers, on_progress=on_progress)
    splits = assign_splits(dataset, verification.near_duplicates, drop_copies=drop_copies)
    write_splits(out, splits)
    before = {record.sample.subject.id: split for split, record in dataset.all_records()}
    moved = Counter(
        f"{before[name]} to {split}" for name, split in splits.items() if split not in (None, before[name])
    )
    groups = verification.near_duplicates
    return SplitChanges(
        file=out,
        num_subjects=len(splits),
        num_groups=len(groups),
        num_groups_across_splits=sum(len({file.split for file in group}) > 1 for group in groups),
        moved=dict(sorted(moved.items())),
        num_left_out=sum(split is None for split in splits.values()),
    )


def assign_splits(
    dataset: Dataset, near_duplicates: Sequence[Sequence[NearDuplicate]], *, drop_copies: bool = False
) -> dict[str, str | None]:
    """The split of every subject by id, in the dataset's order; None leaves the subject out.

    Args:
        near_duplicates: Groups of near-duplicate files.
        drop_copies: Of files with the same bytes, keep only the first and the people annotated in it.
    """
    groups = _FileGroups()
    for group in near_duplicates:
        groups.join(file.path for file in group)
    for _, record in dataset.all_records():
        groups.join(ref.path for ref in record.sample.subject.images)
    group_splits = _group_splits(dataset, groups)
    dropped_files = _redundant_copies(near_duplicates) if drop_copies else frozenset()
    assigned: dict[str, dict[str, str | None]] = {split: {} for split in dataset.splits}
    for split, record in dataset.all_records():
        subject = record.sample.subject
        new_split = group_splits[groups.root(subject.images[0].path)]
        is_unlabeled_move = record.sample.target is None and new_split != split
        is_dropped = any(ref.path in dropped_files for ref in subject.images)
        assigned[split][subject.id] = None if is_unlabeled_move or is_dropped else new_split
    return {name: split for of_split in assigned.values() for name, split in of_split.items()}


def _group_splits(dataset: Dataset, groups: _FileGroups) -> Mapping[Path, str]:
    """The split of each group, by its root."""
    order = (*(split for split in _PRIORITY if split in dataset.splits), *dataset.splits)
    splits: dict[Path, str] = {}
    for split, record in dataset.all_records():
        root = groups.root(record.sample.subject.images[0].path)
        splits[root] = min(splits.get(root, split), split, key=order.index)
    return splits


def _redundant_copies(near_duplicates: Sequence[Sequence[NearDuplicate]]) -> frozenset[Path]:
    """All exact copies but the first, where files of the highest-priority split come first."""
    redundant = set()
    for group in near_duplicates:
        kept: set[str] = set()
        for file in sorted(group, key=_priority):
            if file.digest in kept:
                redundant.add(file.path)
            kept.add(file.digest)
    return frozenset(redundant)


def _priority(file: NearDuplicate) -> int:
    return _PRIORITY.index(file.split) if file.split in _PRIORITY else len(_PRIORITY)


class _FileGroups:
    """Disjoint sets of files (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[Path, Path] = {}

    def root(self, path: Path) -> Path:
        """The same path for all files of a group."""
        parent = self._parent.setdefault(path, path)
        while parent != path:
            # Path halving, so that later lookups are shorter.
            self._parent[path] = self._parent[parent]
            path, parent = parent, self._parent[parent]
        return path

    def join(self, paths: Iterable[Path]) -> None:
        """Merges the groups of these files."""
        first: Path | None = None
        for path in paths:
            if first is None:
                first = path
            self._parent[self.root(path)] = self.root(first)
