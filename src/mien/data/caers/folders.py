"""The folders of a CAER-S copy: which class each folder holds, and which of its files are images.

Folders are only listed: no image is opened, and no file is queried for its size or date.

A folder may have a name used by copies in circulation (`Angry` for Anger). Several folders of one class count
as one class. Equal file names in them stay different subjects, because an id contains the folder's name on
disk.
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

__all__ = [
    "SPLIT_FOLDERS",
    "ClassFolder",
    "LocatedProblem",
    "class_folders",
    "class_from_name",
    "folder_problems",
    "image_names",
    "list_images",
]

SPLIT_FOLDERS: Final = ("train", "test")

# What copies in circulation call the classes, in lower case.
_ALIASES: Final = MappingProxyType(
    {label.lower(): label for label in CAERS.labels}
    | {"angry": "Anger", "disgusted": "Disgust", "fearful": "Fear", "happiness": "Happy"}
    | {"sadness": "Sad", "surprised": "Surprise"}
)
_EXTENSIONS: Final = (".png", ".jpg", ".jpeg", ".webp")
# Files that file managers leave behind, in addition to names that begin with a dot.
_IGNORED: Final = frozenset({"thumbs.db", "desktop.ini", "__macosx", "icon\r"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFolder:
    """A folder of images: the split folder that holds it, its name on disk, and its class."""

    split: str
    name: str
    label: str

    def path(self, root: Path) -> Path:
        return root / self.split / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedProblem:
    """A problem and what it affects.

    Attributes:
        folder: "train" or "test"; None if it may be either.
        unusable: Whether it prevents a record.
        subject_id: The subject that it affects, if known.
    """

    problem: Problem
    folder: str | None
    unusable: bool
    subject_id: str | None = None


def class_from_name(name: str) -> str | None:
    """The class that the name of a folder, or a cell of a list, refers to."""
    return _ALIASES.get(name.strip().lower())


def class_folders(root: Path, split: str) -> list[ClassFolder]:
    """The class folders of `train` or `test`, sorted by class, then by name."""
    found = [
        ClassFolder(split=split, name=entry.name, label=label)
        for entry in _scan(root / split)
        if entry.is_dir() and (label := class_from_name(entry.name)) is not None
    ]
    return sorted(found, key=lambda folder: (CAERS.index(folder.label), folder.name))


def image_names(root: Path, folder: ClassFolder) -> list[str]:
    """The file names of a class folder's images, sorted."""
    return sorted(entry.name for entry in _scan(folder.path(root)) if _is_image(entry))


def list_images(root: Path, split: str) -> Iterator[tuple[ClassFolder, str]]:
    """All images of `train` or `test`, in order; holds the names of one class folder in memory."""
    for folder in class_folders(root, split):
        for name in image_names(root, folder):
            yield folder, name


def folder_problems(root: Path, split: str) -> Iterator[LocatedProblem]:
    """The problems in the folders of a split, each reported once."""
    yield from _split_folder_problems(root, split)
    previous: dict[str, set[str]] = {}
    folders = class_folders(root, split)
    for label in CAERS.labels:
        if all(folder.label != label for folder in folders):
            message = f"no folder for class {label}, under any known name"
            yield _problem("missing", root / split / label, message, split, unusable=False)
    for folder in folders:
        yield from _class_folder_problems(root, folder)
        names = set(image_names(root, folder))
        for name in sorted(names & previous.get(folder.label, set())):
            message = f"another folder of class {folder.label} has this file name; both are separate subjects"
            yield _problem("name_collision", folder.path(root) / name, message, split, unusable=False)
        previous.setdefault(folder.label, set()).update(names)


def _split_folder_problems(root: Path, split: str) -> Iterator[LocatedProblem]:
    for entry in sorted(_scan(root / split), key=lambda entry: entry.name):
        path = root / split / entry.name
        if entry.is_dir() and class_from_name(entry.name) is None:
            message = f"not the name of a class; classes are {', '.join(CAERS.labels)}"
            yield _problem("unknown_folder", path, message, split)
        elif not entry.is_dir() and entry.name.lower().endswith(_EXTENSIONS):
            yield _problem("no_label", path, "the image is not in a class folder", split)


def _class_folder_problems(root: Path, folder: ClassFolder) -> Iterator[LocatedProblem]:
    for entry in sorted(_scan(folder.path(root)), key=lambda entry: entry.name):
        path = folder.path(root) / entry.name
        if entry.is_dir():
            yield _problem("unknown_folder", path, "a folder inside a class folder", folder.split)
        elif not _is_text(entry.name):
            yield _problem("unreadable", path, "the file name is not UTF-8; rename the file", folder.split)
        elif not _is_image(entry):
            message = f"not an image file name; extensions are {', '.join(_EXTENSIONS)}"
            yield _problem("unreadable", path, message, folder.split)


def _scan(path: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder. `os.scandir` reads their type together with the name: no call for each."""
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if not _is_ignored(entry.name)]
    except OSError as error:
        raise DataError(f"{path} cannot be listed: {error.strerror}", hint="check the folder") from error


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED


def _is_image(entry: os.DirEntry[str]) -> bool:
    """Includes dead links: a missing file is reported by the code that opens images."""
    return entry.name.lower().endswith(_EXTENSIONS) and not entry.is_dir() and _is_text(entry.name)


def _is_text(name: str) -> bool:
    """False for bytes that are not UTF-8: Python keeps them as surrogates, which no file can store."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _problem(kind: str, path: Path, message: str, folder: str, *, unusable: bool = True) -> LocatedProblem:
    file = str(path).encode("utf-8", "backslashreplace").decode()
    problem = Problem(kind=kind, file=file, message=message)
    return LocatedProblem(problem=problem, folder=folder, unusable=unusable)
