"""What a row of a manifest says: people, their boxes and labels, in a still or a clip.

In: a `Line` and the split it belongs to. Out: a `Record` a person, or the `Problem` that is in its place.
Knows nothing about files of rows, splits, or which ids were seen. Pictures are not opened; a clip is, to
learn its length, where a row does not say which frames are meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mien.data.dataset import Record
from mien.data.manifest.cells import (
    Broken,
    box_cell,
    cell,
    dimension_cells,
    frame_cells,
    label_cell,
    size_cell,
)
from mien.data.manifest.embedded_images import Embedded, content_name
from mien.data.manifest.rows import EXAMPLE, Line
from mien.errors import ImageError, MienError
from mien.labels import LabelSet
from mien.media.clips import probe, spread
from mien.types import DIMENSIONS, Box, ImageRef, Problem, Sample, Subject, Target

__all__ = ["People", "picture_name"]

_OF_A_PERSON: Final = frozenset(
    {"id", "box", "boxes", "frames", "first_frame", "last_frame", "labels", "dimensions", *DIMENSIONS}
)
_COLUMNS: Final = _OF_A_PERSON | {"image", "clip", "people", "size", "split"}
_OF_A_CLIP: Final = ("frames", "first_frame", "last_frame", "boxes")
_CLIP_ENDINGS: Final = (".mp4", ".avi", ".mkv", ".webm", ".mov")
_SLACK: Final = 1e-3  # of scores that sum to one, as in training
Row = Mapping[str, Any]


class People:
    """Reads rows. `folder` is what paths are relative to, `num_frames` how many of a clip are taken."""

    def __init__(
        self,
        *,
        label_set: LabelSet,
        folder: Path,
        embedded: Embedded,
        num_frames: int,
        ignore: frozenset[str] = frozenset(),
    ) -> None:
        self._label_set = label_set
        self._folder = folder
        self._embedded = embedded
        self._num_frames = num_frames
        self._ignore = ignore
        self._lengths: dict[Path, int] = {}

    def read(self, line: Line, split: str) -> Iterator[tuple[str, Record | Problem]]:
        """Where each person of a row stands, and a record of them, or what is wrong with them or the row."""
        try:
            people = list(self._people(line))
        except Broken as broken:
            yield line.place, Problem(kind=broken.kind, file=line.where, message=broken.message)
            return
        for place, row, own in people:
            yield place, self._person(replace(line, place=place), row, own, split)

    def _people(self, line: Line) -> Iterator[tuple[str, Row, Row]]:
        """For each person the place, a row with what the whole row says as well, and their own object."""
        if line.row is None:
            raise Broken("bad_row", line.fault)
        row = {name: value for name, value in line.row.items() if name not in self._ignore}
        row = _as_exported(row) if "images" in row else row
        _require_known(row, _COLUMNS)
        listed = cell(row, "people")
        row.pop("people", None)
        row["id"] = _id(row, f"{picture_name(row)}#{line.number}")
        if listed is None:
            yield line.place, row, {}
            return
        if not isinstance(listed, list) or not all(isinstance(person, dict) for person in listed):
            raise Broken("bad_row", "people is not a list of objects")
        for name in ("box", "boxes", "labels", "dimensions", *DIMENSIONS):
            if row.get(name) not in (None, ""):
                raise Broken("bad_row", f"{name} stands beside people; give it to each of them")
        for index, person in enumerate(listed):
            own = {name: value for name, value in person.items() if value is not None}
            own["id"] = _id(own, f"{row['id']}.{index}")
            yield f"{line.place}, person {index + 1}", {**row, **own}, own

    def _person(self, line: Line, row: Row, own: Row, split: str) -> Record | Problem:
        try:
            _require_known(own, _OF_A_PERSON)
            _require_text(row["id"])
            path, is_clip = self._path(row)
            try:
                subject = self._subject(row, path, is_clip)
            except Broken as broken:
                if not broken.kind.startswith("box"):
                    raise
                return Problem(kind=broken.kind, file=str(path), message=f"{line.where}: {broken.message}")
            sample = Sample(subject=subject, target=self._target(row), split=split)
            return Record(sample=sample, size=size_cell(cell(row, "size")))
        except Broken as broken:
            return Problem(kind=broken.kind, file=line.where, message=broken.message)
        except (MienError, TypeError, ValueError, OverflowError) as error:
            return Problem(kind="bad_row", file=line.where, message=str(error))

    # -- pictures and clips

    def _path(self, row: Row) -> tuple[Path, bool]:
        """The picture or clip, and which of the two it is; bytes in the row become a file in the cache."""
        image, clip = row.get("image"), row.get("clip")
        if image and clip:
            raise Broken("bad_row", "it names an image and a clip; give one of them")
        if isinstance(image, dict):
            if isinstance(image.get("bytes"), bytes):
                return self._embedded.file(image["bytes"]), False
            image = image.get("path")
        name = clip or image
        if not isinstance(name, str) or not name:
            raise Broken("bad_row", f"no image is named; {EXAMPLE}")
        _require_text(name)
        return self._folder / name, bool(clip) or name.lower().endswith(_CLIP_ENDINGS)

    def _subject(self, row: Row, path: Path, is_clip: bool) -> Subject:
        box, given = box_cell(row.get("box")), [name for name in _OF_A_CLIP if cell(row, name) is not None]
        if not is_clip:
            if given:
                raise Broken("bad_row", f"{given[0]} is for clips, and {path.name} is a picture")
            return Subject.still(row["id"], path, box)
        first, frames, span = self._frames(row, path)
        boxes = _frame_boxes(cell(row, "boxes"), box, first, frames, span)
        return Subject(
            id=row["id"], images=tuple(ImageRef(path=path, frame=frame) for frame in frames), boxes=boxes
        )

    def _frames(self, row: Row, path: Path) -> tuple[int, tuple[int, ...], int]:
        """The first frame meant, the frames taken, and how many frames are meant."""
        frames = frame_cells(cell(row, "frames"))
        first, last = (frame_cells([cell]) for cell in (cell(row, "first_frame"), cell(row, "last_frame")))
        if frames is not None:
            if first or last:
                raise Broken("bad_row", "it has frames and a range of frames; give one of them")
            return 0, frames, 0
        start = first[0] if first else 0
        end = last[0] if last else self._length(path) - 1
        if end < start:
            raise Broken("frame_range", f"frames go from {start} to {end}")
        return start, spread(start, end, self._num_frames), end - start + 1

    def _length(self, path: Path) -> int:
        if path not in self._lengths:
            try:
                self._lengths[path] = probe(path).num_frames
            except ImageError as error:
                there = path.is_file()
                raise Broken("clip_unreadable" if there else "missing", str(error)) from error
        return self._lengths[path]

    # -- answers

    def _target(self, row: Row) -> Target | None:
        """None where a row has no labels: then it is for prediction only."""
        labels, dimensions = label_cell(row.get("labels")), dimension_cells(row)
        if labels is None:
            if dimensions is not None:
                raise Broken("no_label", "it has dimensions and no labels; labels may be an empty list")
            return None
        for name in labels:
            if name not in self._label_set.labels:
                self._unknown(name)
        total = sum(labels.values())
        if self._label_set.exclusive and not abs(total - 1) <= _SLACK:
            kind = "bad_row" if labels else "no_label"
            raise Broken(kind, f"labels sum to {total:g}, in a set where exactly one holds")
        return Target(labels=labels, dimensions=dimensions)

    def _unknown(self, name: str) -> None:
        try:
            self._label_set.index(name)
        except MienError as error:
            raise Broken("unknown_label", f"{error}; {error.hint}") from error


def _as_exported(row: dict[str, Any]) -> dict[str, Any]:
    """A line that `mien data export` wrote, with its lists of pictures and frames, in a manifest's words."""
    images, frames, boxes = (row.pop(name, None) for name in ("images", "frames", "boxes"))
    if not isinstance(images, list) or len(set(map(str, images))) != 1:
        raise Broken("bad_row", "images does not name one picture, or one clip for each frame")
    if "image" in row or "clip" in row:
        raise Broken("bad_row", "it names an image or a clip beside images; give one of them")
    if not row.get("labels") and row.get("dimensions") is None:
        row["labels"] = None  # an export writes {} for who was not annotated
    if frames is None or frames == [None]:
        still = boxes[0] if isinstance(boxes, list) and boxes else None
        return {**row, "image": images[0], "box": row.get("box", still)}
    return {**row, "clip": images[0], "frames": frames, "boxes": boxes}


def picture_name(row: Row) -> str:
    """What the picture of a row goes by: its path, or a digest of its bytes, as text that can be written."""
    image = row.get("image") or row.get("clip")
    if isinstance(image, dict):
        data = image.get("bytes")
        image = content_name(data) if isinstance(data, bytes) else image.get("path")
    return str(image).encode("utf-8", "backslashreplace").decode()


def _id(row: Row, default: str) -> str:
    given = row.get("id")
    return default if given is None or given == "" else str(given)


def _require_known(row: Row, columns: frozenset[str]) -> None:
    unknown = sorted(str(name) for name in set(row) - columns)
    if unknown:
        raise Broken("bad_row", f"unknown column {unknown[0]!r}; columns are {', '.join(sorted(columns))}")


def _require_text(name: str) -> None:
    """JSON can name what no file holds: half of a pair of UTF-16."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Broken("bad_row", f"{name!a} is no text: {error.reason}") from error


def _frame_boxes(
    given: Any, box: Box | None, first: int, frames: Sequence[int], span: int
) -> tuple[Box | None, ...]:
    """A box for each frame that is taken; `given` has one for each, or one for each of the whole range."""
    if given is None:
        return (box,) * len(frames)
    if box is not None:
        raise Broken("bad_row", "it has box and boxes; give one of them")
    wanted = span or len(frames)
    if not isinstance(given, list) or len(given) != wanted:
        count = len(given) if isinstance(given, list) else "no list"
        raise Broken("bad_row", f"boxes are {count} and should be {wanted}, one a frame")
    picked = [given[frame - first] for frame in frames] if span else given
    return tuple(box_cell(value) for value in picked)
