"""Counts the components of a dataset below a folder, and finds the right root if the given one is wrong."""

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

__all__ = ["ComponentStatus", "count_components", "find_root"]

_MAX_PARENTS: Final = 3
_MAX_SUBFOLDERS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStatus:
    """A component of a dataset, and how many of its files or folders are present."""

    component: Component
    num_found: int

    @property
    def is_missing(self) -> bool:
        """Whether it is required and absent."""
        return self.component.required and not self.num_found


def count_components(card: DatasetCard, root: Path | None) -> tuple[ComponentStatus, ...]:
    """The status of each component. A root that is a file may itself be a component."""
    return tuple(
        ComponentStatus(component=component, num_found=_count(component, root))
        for component in card.components
    )


def find_root(card: DatasetCard, root: Path) -> Path | None:
    """The nearest folder above or below the root with all required components; None if there is none.

    Folders that cannot be listed count as empty.
    """
    required = [component for component in card.components if component.required]
    for folder in chain(_parents(root), islice(_subfolders(root), _MAX_SUBFOLDERS)):
        if all(any(_matches(folder, glob) for glob in component.globs) for component in required):
            return folder
    return None


def _count(component: Component, root: Path | None) -> int:
    """The number of matches of the first pattern that matches anything."""
    if root is None:
        return 0
    if is_file(root):
        return int(any(fnmatch(root.name, pattern) for pattern in component.globs))
    return next((count for pattern in component.globs if (count := sum(1 for _ in _glob(root, pattern)))), 0)


def _matches(root: Path, pattern: str) -> bool:
    return next(_glob(root, pattern), None) is not None


def _glob(root: Path, pattern: str) -> Iterator[Path]:
    try:
        yield from root.glob(pattern)
    except (OSError, ValueError):  # from Python 3.13 on, a NUL is a ValueError
        return


def _parents(root: Path) -> Iterator[Path]:
    """Parents, nearest first, without the root of the file system."""
    parents = islice(root.absolute().parents, _MAX_PARENTS)
    return (folder for folder in parents if folder != folder.parent)


def _subfolders(root: Path) -> Iterator[Path]:
    """Folders up to two levels below, nearest first."""
    children = _list_folders(root)
    yield from children
    for folder in children:
        yield from _list_folders(folder)


def _list_folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return []
