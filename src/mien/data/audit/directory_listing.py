"""Whether files are there, found out by listing their folders once and not by asking for each file.

In: paths, one by one. Out: those at which there is no file. Knows nothing about what is in the files.
On a network drive, or with tens of thousands of pictures, this is what makes looking cheap.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Listing", "is_file"]


class Listing:
    """Remembers the names in every folder it was asked about, and the paths it did not find."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._missing: dict[str, None] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """The paths at which there was no file, in the order in which they were asked for."""
        return tuple(self._missing)

    def look_for(self, path: Path) -> bool:
        """Whether there is a file at `path`."""
        text = os.fspath(path)
        folder, name = os.path.split(text)
        if folder not in self._names:
            self._names[folder] = _files(folder)
        # A file system may find a name that it lists in other letters, so a miss is asked again.
        found = name in self._names[folder] or is_file(path)
        if not found:
            self._missing[text] = None
        return found


def _files(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except (OSError, ValueError):  # no such folder, or a null byte in its name: no file in it either
        return frozenset()


def is_file(path: Path) -> bool:
    """Whether a file is there; what may not be asked, or cannot be a name, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
