"""Face boxes for CAER-S from the lists in circulation.

A list has lines `relative/path.png,label,x1,y1,x2,y2` and no header.

- A path is relative to the root or, in a list named `train` or `test`, to that folder. Its class folder may
  have another name of the class than the one on disk.
- The label is a class name or CAER-S's class number from 0.
- If an image has several lines, the largest box is used, and a problem is reported.
- Boxes are not clipped to the image, because its size is not known here.
- An image without a line has no box. An image with an unusable line is not used: without its box it would be
  shown differently from the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from mien.data.caers.folders import (
    SPLIT_FOLDERS,
    ClassFolder,
    LocatedProblem,
    class_folders,
    class_from_name,
    image_names,
)
from mien.data.text_files import read_lines
from mien.errors import DataError
from mien.labels import CAERS
from mien.media.boxes import box_problem
from mien.types import Box, Problem

__all__ = ["FaceBoxes", "find_face_lists", "read_face_boxes"]

_FORMAT: Final = "path,label,x1,y1,x2,y2"
_EXTENSIONS: Final = (".txt", ".csv")

Edges = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceBoxes:
    """Boxes by subject id, and the problems in the lists."""

    boxes: dict[str, Box] = field(default_factory=dict)
    problems: list[LocatedProblem] = field(default_factory=list)

    @property
    def unusable_ids(self) -> frozenset[str]:
        """The subjects that have an unusable line."""
        affected = (item.subject_id for item in self.problems if item.unusable)
        return frozenset(subject_id for subject_id in affected if subject_id is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _FaceLine:
    """A line of a list. `where` is for messages, `list_name` the list's file name without extension."""

    where: str
    list_name: str
    text: str


class _FoundImage(NamedTuple):
    subject_id: str
    label: str


def find_face_lists(root: Path, paths: Sequence[Path]) -> list[Path]:
    """The list files at these paths relative to the root: files, or all lists in a folder."""
    found: list[Path] = []
    for path in (root / given for given in paths):
        inside = sorted(item for item in path.glob("*") if item.suffix.lower() in _EXTENSIONS)
        if path.is_dir() and not inside:
            raise DataError(
                f"{path} contains no face-box list", hint=f"file names must end in {' or '.join(_EXTENSIONS)}"
            )
        found += inside if path.is_dir() else [path]
    return found


def read_face_boxes(root: Path, lists: Sequence[Path]) -> FaceBoxes:
    """The boxes in all lists.

    Raises:
        DataError: A list cannot be read. Faulty lines are reported as problems instead.
    """
    faces, images = FaceBoxes(), _ImageIndex(root)
    for path in lists:
        for line in _read_lines(path):
            _parse_line(line, faces, images)
    return faces


class _ImageIndex:
    """The images on disk, to find the one that a line refers to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[tuple[str, str], frozenset[str]] = {}
        self._folders: dict[tuple[str, str], list[ClassFolder]] = {}
        for split in SPLIT_FOLDERS:
            for folder in class_folders(root, split) if (root / split).is_dir() else ():
                self._names[split, folder.name] = frozenset(image_names(root, folder))
                self._folders.setdefault((split, folder.label), []).append(folder)

    def find(self, path: str, list_name: str) -> _FoundImage | None:
        """The image at this path. Among folders of the class, the one with exactly this name comes first."""
        parts = [part for part in path.strip().replace("\\", "/").split("/") if part not in ("", ".")]
        if len(parts) == 2 and list_name in SPLIT_FOLDERS:
            parts.insert(0, list_name)
        label = class_from_name(parts[1]) if len(parts) == 3 else None
        if label is None:
            return None
        split, folder_name, name = parts
        folders = sorted(self._folders.get((split, label), []), key=lambda item: item.name != folder_name)
        for folder in folders:
            if name in self._names[split, folder.name]:
                return _FoundImage(subject_id=f"{split}/{folder.name}/{name}", label=label)
        return None


def _read_lines(path: Path) -> Iterator[_FaceLine]:
    try:
        for number, text in read_lines(path):
            if text is None:
                raise DataError(f"{path}, line {number} is too long")
            if text.strip():
                where = f"{path}, row {number}"
                yield _FaceLine(where=where, list_name=path.stem.lower(), text=text.strip())
    except DataError as error:
        raise DataError(
            f"the face-box list {path} cannot be read: {error}",
            hint="give the path of a UTF-8 text file, relative to the root",
        ) from error


def _parse_line(line: _FaceLine, faces: FaceBoxes, images: _ImageIndex) -> None:
    """Adds a box, a problem, or both to `faces`."""
    cells = line.text.rsplit(",", 5)  # from the right, because a file name may contain commas
    image = images.find(cells[0], line.list_name)
    if len(cells) != 6:
        _report(faces, "bad_row", line.where, f"{len(cells)} cells, not {_FORMAT}", image)
        return
    if image is None:
        path = str(images.root / cells[0].strip())
        _report(faces, "missing", path, f"listed in {line.where}, but not found", None, unusable=False)
        return
    label_error = _check_label(cells[1], image.label)
    edges = _parse_edges(cells[2:])
    if label_error or edges is None:
        _report(faces, "bad_row", line.where, label_error or f"{cells[2:]} are not four numbers", image)
        return
    _add_box(line, faces, images.root / image.subject_id, image, edges)


def _add_box(line: _FaceLine, faces: FaceBoxes, path: Path, image: _FoundImage, edges: Edges) -> None:
    subject_id = image.subject_id
    problem = box_problem(edges)
    if problem is not None:
        kind, what = problem
        _report(faces, kind, str(path), f"{line.where}: box {edges} {what}", image)
    elif subject_id in faces.boxes:
        message = f"{path} already has a line; the largest of its boxes is used"
        _report(faces, "repeated_id", line.where, message, image, unusable=False)
        faces.boxes[subject_id] = max(faces.boxes[subject_id], Box.from_tuple(edges), key=_area)
    else:
        faces.boxes[subject_id] = Box.from_tuple(edges)


def _report(
    faces: FaceBoxes, kind: str, file: str, message: str, image: _FoundImage | None, *, unusable: bool = True
) -> None:
    """A line whose image is unknown may refer to any image, of either folder."""
    subject_id = None if image is None else image.subject_id
    folder = None if subject_id is None else subject_id.split("/")[0]
    problem = Problem(kind=kind, file=file, message=message)
    located = LocatedProblem(problem=problem, folder=folder, unusable=unusable, subject_id=subject_id)
    faces.problems.append(located)


def _check_label(cell: str, folder_label: str) -> str:
    """Why the label in the list contradicts the image's folder; empty if it does not."""
    cell = cell.strip()
    is_index = cell.isascii() and cell.isdigit() and int(cell) < len(CAERS)
    listed = CAERS.labels[int(cell)] if is_index else class_from_name(cell)
    if listed is None:
        return f"{cell!r} is neither a class nor its number"
    return "" if listed == folder_label else f"the line says {listed}, the folder {folder_label}"


def _parse_edges(cells: Sequence[str]) -> Edges | None:
    try:
        left, top, right, bottom = (float(cell) for cell in cells)
    except ValueError:
        return None
    return left, top, right, bottom


def _area(box: Box) -> float:
    return box.width * box.height
