"""Checks whether files exist by listing each folder once instead of querying each file.

This is what keeps the check fast on a network drive, or with a million images.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Set
from pathlib import Path

__all__ = ["DirectoryListing", "is_file"]


class DirectoryListing:
    """Remembers the names in every folder it has listed."""

    def __init__(self) -> None:
        self._names: dict[str, Set[str] | None] = {}
        self._folded: dict[str, Set[str]] = {}

    def has_file(self, path: Path) -> bool:
        """Whether there is a file at `path`."""
        folder, name = os.path.split(os.fspath(path))
        if folder not in self._names:
            self._names[folder] = _list_files(folder)
        names = self._names[folder]
        if names is None:
            return is_file(path)
        return name in names or (self._may_be_listed(folder, name, names) and is_file(path))

    def _may_be_listed(self, folder: str, name: str, names: Set[str]) -> bool:
        """Whether a file may have this name on a file system that ignores case, normalizes or shortens."""
        if "~" in name:
            return True
        if folder not in self._folded:
            self._folded[folder] = {_fold(listed) for listed in names}
        return _fold(name) in self._folded[folder]


def _list_files(folder: str) -> Set[str] | None:
    """The names of the files; None if they cannot be listed, but perhaps opened."""
    try:
        with os.scandir(folder or ".") as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte in the name
        return frozenset()
    except OSError:
        return None


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).rstrip(". ").upper().casefold()


def is_file(path: Path) -> bool:
    """Whether there is a file at `path`; False if access is denied or the name is invalid."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
