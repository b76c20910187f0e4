"""Finds the parts of a data set below a folder, and the folder in which they are, should it be another.

In: a `DatasetCard`, which says what the parts are called, and a root. Out: how many of each are there.
Knows nothing about what is in the files; folders that may not be listed count as empty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import chain, islice
from pathlib import Path
from typing import Final

from mien.data.audit.directory_listing import is_file
from mien.data.dataset import Component, DatasetCard

__all__ = ["PartFound", "elsewhere", "find"]

_MAX_ABOVE: Final = 3
_MAX_BELOW: Final = 300  # folders that are tried


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFound:
    """A piece of the data set, and how many files or folders of it are there."""

    part: Component
    found: int

    @property
    def lacking(self) -> bool:
        return self.part.required and not self.found


def find(card: DatasetCard, root: Path | None) -> tuple[PartFound, ...]:
    """The parts of a data set, counted. A root that is a file may be a part itself."""
    return tuple(PartFound(part=part, found=_count(part, root)) for part in card.components)


def elsewhere(card: DatasetCard, root: Path) -> Path | None:
    """The nearest folder above or below the root that lacks no needed part; None if there is none."""
    for folder in chain(_above(root), islice(_below(root), _MAX_BELOW)):
        required = (part for part in card.components if part.required)
        if all(any(_is_there(folder, glob) for glob in part.globs) for part in required):
            return folder
    return None


def _count(part: Component, root: Path | None) -> int:
    """Of the first pattern that matches anything."""
    if root is None:
        return 0
    if is_file(root):
        return int(any(fnmatch(root.name, pattern) for pattern in part.globs))
    return next((count for pattern in part.globs if (count := sum(1 for _ in _glob(root, pattern)))), 0)


def _is_there(root: Path, pattern: str) -> bool:
    return next(_glob(root, pattern), None) is not None


def _glob(root: Path, pattern: str) -> Iterator[Path]:
    try:
        yield from root.glob(pattern)
    except OSError:
        return


def _above(root: Path) -> Iterator[Path]:
    """Parents, the near ones first; never the root of the file system."""
    parents = islice(root.absolute().parents, _MAX_ABOVE)
    return (folder for folder in parents if folder != folder.parent)


def _below(root: Path) -> Iterator[Path]:
    """Folders inside, the near ones first, two deep."""
    near = _folders(root)
    yield from near
    for folder in near:
        yield from _folders(folder)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return []
