"""The face-box lists that circulate for CAER-S: lines `relative/path.png,label,x1,y1,x2,y2`, no header.

In: the lists, and which pictures are there. Out: one box a picture, as the list has it (it may leave the
picture), and what is wrong with the lists. Knows nothing about the pictures' sizes.

A path is relative to the root or, in a list called `train` or `test`, to that folder; its class folder may
go by another name of the class than the one on disk. The label is a name or CAER-S's number from 0. Of
several lines for one picture the largest box is kept, and that is reported. A picture that a line spoils is
not used: without its box it would be shown otherwise than the rest. A picture without a line has no box.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mien.data.caers.folders import FOLDERS, ClassFolder, Finding, class_folders, class_of, pictures
from mien.errors import DataError
from mien.labels import CAERS
from mien.types import Box, Problem

__all__ = ["Faces", "face_lists", "read_faces"]

_FORM: Final = "path,label,x1,y1,x2,y2"
_ENDINGS: Final = (".txt", ".csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """The boxes by subject id, and what was found wrong; the ids that a finding names have no record."""

    boxes: dict[str, Box] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def spoiled(self) -> frozenset[str]:
        """The subjects whose line cannot be used."""
        return frozenset(item.subject for item in self.findings if item.unusable and item.subject is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line of a list: where it stands, and what is in it."""

    where: str
    stem: str
    text: str


def face_lists(root: Path, paths: Sequence[Path]) -> list[Path]:
    """The list files that these paths, relative to the root, name: files, or all lists in a folder."""
    found: list[Path] = []
    for path in (root / given for given in paths):
        inside = sorted(item for item in path.glob("*") if item.suffix.lower() in _ENDINGS)
        if path.is_dir() and not inside:
            raise DataError(f"{path} holds no face-box list", hint=f"its files should end in {_ENDINGS}")
        found += inside if path.is_dir() else [path]
    return found


def read_faces(root: Path, lists: Sequence[Path]) -> Faces:
    """The boxes of all lists; DataError for a list that cannot be read at all."""
    faces, known = Faces(), _Known(root)
    for path in lists:
        for line in _lines(path):
            _take(line, faces, known)
    return faces


class _Known:
    """The pictures that are there, to find the one that a line means."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[tuple[str, str], frozenset[str]] = {}
        self._folders: dict[tuple[str, str], list[ClassFolder]] = {}
        for split in FOLDERS:
            for folder in class_folders(root, split) if (root / split).is_dir() else ():
                self._names[split, folder.name] = frozenset(pictures(root, folder))
                self._folders.setdefault((split, folder.label), []).append(folder)

    def find(self, path: str, stem: str) -> tuple[str, str] | None:
        """(Subject id, class) of the picture at this path; the folder of this very name goes first."""
        parts = [part for part in path.strip().replace("\\", "/").split("/") if part not in ("", ".")]
        if len(parts) == 2 and stem in FOLDERS:
            parts.insert(0, stem)
        label = class_of(parts[1]) if len(parts) == 3 else None
        if label is None:
            return None
        split, wanted, name = parts
        folders = sorted(self._folders.get((split, label), []), key=lambda item: item.name != wanted)
        for folder in folders:
            if name in self._names[split, folder.name]:
                return f"{split}/{folder.name}/{name}", label
        return None


def _lines(path: Path) -> Iterator[_Line]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, text in enumerate(lines, start=1):
                if text.strip():
                    yield _Line(where=f"{path}, row {number}", stem=path.stem.lower(), text=text.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the face-box list {path} cannot be read: {error}",
            hint="give a UTF-8 text, relative to the root",
        ) from error


def _take(line: _Line, faces: Faces, known: _Known) -> None:
    """One line into `faces`: a box, a finding, or both."""
    cells = line.text.rsplit(",", 5)  # from the right: a name may hold commas
    found = known.find(cells[0], line.stem)
    if len(cells) != 6:
        _report(faces, "bad_row", line.where, f"{len(cells)} cells, not {_FORM}", found)
        return
    if found is None:
        path = str(known.root / cells[0].strip())
        _report(faces, "missing", path, f"{line.where} names it, but it is not there", None, unusable=False)
        return
    subject, label = found
    wrong = _wrong_label(cells[1], label)
    edges = _numbers(cells[2:])
    if wrong or edges is None:
        _report(faces, "bad_row", line.where, wrong or f"{cells[2:]} are not four numbers", found)
        return
    _take_box(line, faces, known.root / subject, found, edges)


def _take_box(
    line: _Line, faces: Faces, path: Path, found: tuple[str, str], edges: tuple[float, float, float, float]
) -> None:
    subject = found[0]
    left, top, right, bottom = edges
    if not all(math.isfinite(edge) for edge in edges):
        _report(faces, "box_not_finite", str(path), f"{line.where}: box {edges} is not finite", found)
    elif right <= left or bottom <= top:
        _report(faces, "box_degenerate", str(path), f"{line.where}: box {edges} is empty", found)
    elif subject in faces.boxes:
        message = f"{path} has a line already; of its boxes the largest is kept"
        _report(faces, "repeated_id", line.where, message, found, unusable=False)
        faces.boxes[subject] = max(faces.boxes[subject], Box.from_tuple(edges), key=_area)
    else:
        faces.boxes[subject] = Box.from_tuple(edges)


def _report(
    faces: Faces, kind: str, file: str, message: str, found: tuple[str, str] | None, *, unusable: bool = True
) -> None:
    """A line whose picture is unknown may have been any picture's, of either folder."""
    subject = None if found is None else found[0]
    folder = None if subject is None else subject.split("/")[0]
    problem = Problem(kind=kind, file=file, message=message)
    faces.findings.append(Finding(problem=problem, folder=folder, unusable=unusable, subject=subject))


def _wrong_label(cell: str, label: str) -> str:
    """Why the list's label does not fit the picture's folder; empty where it does."""
    cell = cell.strip()
    is_index = cell.isascii() and cell.isdigit() and int(cell) < len(CAERS)
    told = CAERS.labels[int(cell)] if is_index else class_of(cell)
    if told is None:
        return f"{cell!r} is neither a class nor its number"
    return "" if told == label else f"the line says {told}, the folder {label}"


def _numbers(cells: Sequence[str]) -> tuple[float, float, float, float] | None:
    try:
        left, top, right, bottom = (float(cell) for cell in cells)
    except ValueError:
        return None
    return left, top, right, bottom


def _area(box: Box) -> float:
    return box.width * box.height
