"""Checks whether files exist by listing each folder once instead of querying each file.

This is what keeps the check fast on a network drive, or with tens of thousands of images.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["DirectoryListing", "is_file"]


class DirectoryListing:
    """Remembers the names in every folder it has listed, and the paths it did not find."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._missing: dict[str, None] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """The paths without a file, in the order of the queries."""
        return tuple(self._missing)

    def has_file(self, path: Path) -> bool:
        """Whether there is a file at `path`."""
        text = os.fspath(path)
        folder, name = os.path.split(text)
        if folder not in self._names:
            self._names[folder] = _list_files(folder)
        # A file system may ignore case or normalize names, so a name that is not listed is queried directly.
        found = name in self._names[folder] or is_file(path)
        if not found:
            self._missing[text] = None
        return found


def _list_files(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except (OSError, ValueError):  # no such folder, or a null byte in its name
        return frozenset()


def is_file(path: Path) -> bool:
    """Whether there is a file at `path`; False if access is denied or the name is invalid."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
