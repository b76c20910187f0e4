"""CAER-S's folders: which class a folder holds under whatever name, and which files in it are pictures.

In: the root of a copy. Out: the class folders of `train` and `test`, the names of their pictures, and what
is in the way. Lists folders only: no picture is opened, and no file asked for its size or date.
Knows nothing about boxes, protocols, or who goes to val.

A folder may go by a name of the circulating copies (`Angry` for Anger). Several folders of one class are one
class; their equal file names stay different subjects, because an id keeps the folder as it is on disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mien.errors import DataError
from mien.labels import CAERS
from mien.types import Problem

__all__ = ["FOLDERS", "ClassFolder", "Finding", "class_folders", "class_of", "listing", "pictures"]

FOLDERS: Final = ("train", "test")

# What circulating copies call the classes, in small letters.
_ALIASES: Final = MappingProxyType(
    {label.lower(): label for label in CAERS.labels}
    | {"angry": "Anger", "disgusted": "Disgust", "fearful": "Fear", "happiness": "Happy"}
    | {"sadness": "Sad", "surprised": "Surprise"}
)
_ENDINGS: Final = (".png", ".jpg", ".jpeg", ".webp")
# What file managers leave behind; names that begin with a dot as well.
_LITTER: Final = frozenset({"thumbs.db", "desktop.ini", "__macosx", "icon\r"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFolder:
    """One folder of pictures: the split folder it lies in, its name on disk, and the class it holds."""

    split: str
    name: str
    label: str

    def path(self, root: Path) -> Path:
        return root / self.split / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem, the folder (`train` or `test`; None: either) and, if it spoils one, the subject it is of.

    `unusable`: something that belongs there gives no record.
    """

    problem: Problem
    folder: str | None
    unusable: bool
    subject: str | None = None


def class_of(name: str) -> str | None:
    """The class that a folder, or a cell of a list, of this name means."""
    return _ALIASES.get(name.strip().lower())


def class_folders(root: Path, split: str) -> list[ClassFolder]:
    """The class folders of `train` or `test`: by class, then by name."""
    found = [
        ClassFolder(split=split, name=entry.name, label=label)
        for entry in _scan(root / split)
        if entry.is_dir() and (label := class_of(entry.name)) is not None
    ]
    return sorted(found, key=lambda folder: (CAERS.index(folder.label), folder.name))


def pictures(root: Path, folder: ClassFolder) -> list[str]:
    """The names of a class folder's pictures, sorted."""
    return sorted(entry.name for entry in _scan(folder.path(root)) if _is_picture(entry))


def listing(root: Path, split: str) -> Iterator[tuple[ClassFolder, str]]:
    """Every picture of `train` or `test`, in order; holds the names of one class folder."""
    for folder in class_folders(root, split):
        for name in pictures(root, folder):
            yield folder, name


def findings(root: Path, split: str) -> Iterator[Finding]:
    """What is wrong with the folders of a split: each thing once."""
    yield from _of_split(root, split)
    seen: dict[str, set[str]] = {}
    folders = class_folders(root, split)
    for label in CAERS.labels:
        if all(folder.label != label for folder in folders):
            message = f"the folder of class {label} is not there, under any name it is known by"
            yield _finding("missing", root / split / label, message, split, unusable=False)
    for folder in folders:
        yield from _of_class(root, folder)
        names = set(pictures(root, folder))
        for name in sorted(names & seen.get(folder.label, set())):
            message = (
                f"another folder of class {folder.label} holds the same name; they are taken as two subjects"
            )
            yield _finding("name_collision", folder.path(root) / name, message, split, unusable=False)
        seen.setdefault(folder.label, set()).update(names)


def _of_split(root: Path, split: str) -> Iterator[Finding]:
    for entry in sorted(_scan(root / split), key=lambda entry: entry.name):
        path = root / split / entry.name
        if entry.is_dir() and class_of(entry.name) is None:
            message = f"no class is called so; classes are {', '.join(CAERS.labels)}"
            yield _finding("unknown_folder", path, message, split)
        elif not entry.is_dir() and entry.name.lower().endswith(_ENDINGS):
            yield _finding("no_label", path, "the picture lies in no class folder", split)


def _of_class(root: Path, folder: ClassFolder) -> Iterator[Finding]:
    for entry in sorted(_scan(folder.path(root)), key=lambda entry: entry.name):
        path = folder.path(root) / entry.name
        if entry.is_dir():
            yield _finding("unknown_folder", path, "a folder inside of a class folder", folder.split)
        elif not _is_text(entry.name):
            yield _finding("unreadable", path, "its name is not UTF-8; give it another", folder.split)
        elif not _is_picture(entry):
            message = f"no picture by its ending; endings are {', '.join(_ENDINGS)}"
            yield _finding("unreadable", path, message, folder.split)


def _scan(path: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, without litter. What an entry is was read with its name: no call for each."""
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if not _is_litter(entry.name)]
    except OSError as error:
        raise DataError(f"{path} cannot be listed: {error.strerror}", hint="check the folder") from error


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _is_picture(entry: os.DirEntry[str]) -> bool:
    """A dead link counts: that its file is missing is for whoever opens pictures to say."""
    return entry.name.lower().endswith(_ENDINGS) and not entry.is_dir() and _is_text(entry.name)


def _is_text(name: str) -> bool:
    """False for bytes that are no UTF-8, which Python smuggles into names and which no file can hold."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _finding(kind: str, path: Path, message: str, folder: str, *, unusable: bool = True) -> Finding:
    shown = str(path).encode("utf-8", "backslashreplace").decode()
    return Finding(problem=Problem(kind=kind, file=shown, message=message), folder=folder, unusable=unusable)
