"""Parses a manifest row into records: its people, their boxes and labels, in an image or a clip.

Images are not opened. A clip is opened to learn its length, if the row does not say which frames to take.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from mien.data.dataset import Record
from mien.data.manifest.cells import (
    MISSING,
    RowError,
    decode,
    is_empty,
    parse_box,
    parse_dimensions,
    parse_frame,
    parse_frames,
    parse_id,
    parse_labels,
    parse_size,
    shown,
    to_python,
)
from mien.data.manifest.columns import COLUMNS, PERSON_COLUMNS, column_names
from mien.data.manifest.embedded_images import EmbeddedImages, content_name
from mien.data.manifest.image_paths import find_image, require_encodable
from mien.data.manifest.readers import EXAMPLE, Cells, ManifestRow
from mien.errors import ImageError, MienError, nearest_hint
from mien.labels import LabelSet
from mien.media.clips import probe_clip, spread_frames
from mien.media.formats import is_clip
from mien.names import plain_name_fault
from mien.types import DIMENSIONS, Box, ImageRef, Problem, Sample, Subject, Target

__all__ = ["RowParser", "image_name", "split_spelling"]

_TEXT_COLUMNS: Final = ("id", "image", "clip")  # where a word such as "NA" can be meant
_CLIP_COLUMNS: Final = ("frames", "first_frame", "last_frame", "boxes")
_SPLIT_TYPES: Final = (str, int, float)
_INFINITE: Final = (math.inf, -math.inf)
_MAX_KEPT: Final = 1_000  # characters of a text whose meaning is remembered
_MAX_LABEL_FAULTS: Final = 1_000  # unknown names for which the nearest label is shown
_SUM_TOLERANCE: Final = 1e-3  # of scores that should sum to one; the same as in training


@dataclass(frozen=True, slots=True, kw_only=True)
class _FrameRange:
    """The frames of a clip to take. `span` is the length of the range they are spread over, 0 for a list."""

    frames: tuple[int, ...]
    first: int = 0
    span: int = 0


class RowParser:
    """Parses rows.

    Args:
        label_set: The labels that rows may use.
        folder: The folder that image paths are relative to.
        embedded: Where images that are embedded in rows are written.
        num_frames: How many frames to take of a clip.
        ignore: Columns to ignore.
        only_below: Whether images must lie in the folder.
    """

    def __init__(
        self,
        *,
        label_set: LabelSet,
        folder: Path,
        embedded: EmbeddedImages,
        num_frames: int,
        ignore: frozenset[str] = frozenset(),
        only_below: bool = False,
    ) -> None:
        self._label_set = label_set
        self._folder = folder
        self._embedded = embedded
        self._num_frames = num_frames
        self._ignore = ignore
        self._labels = frozenset(label_set.labels)
        self._label_faults: dict[str, str] = {}
        self._last_path: tuple[Any, Any, tuple[Path, bool] | None] = (None, None, None)
        self._only_below = only_below
        self._clip_lengths: dict[Path, int] = {}

    def parse(self, row: ManifestRow, split: str | None) -> Iterator[tuple[str, Record | Problem]]:
        """The location of each person in the row, with their record or what is wrong with them or the row.

        Args:
            row: The row.
            split: Its split; None if the row names one that cannot be used.
        """
        try:
            cells, people = self._people(row, is_split_known=split is not None)
        except RowError as error:
            yield row.location, Problem(kind=error.kind, file=row.source, message=error.message)
            return
        if people is None:
            yield row.location, self._record(row, cells, split or "")
            return
        for index, person in enumerate(people):
            place = row._replace(place=f"{row.location}, person {index + 1}")
            yield place.location, self._record(place, cells, split or "", person, f"{cells['id']}.{index}")

    def _people(self, row: ManifestRow, *, is_split_known: bool) -> tuple[dict[str, Any], list[Cells] | None]:
        """The row's cells that are not empty, and its people, None if the row itself is one."""
        if row.cells is None:
            raise RowError("bad_row", row.error)
        given = _from_export(row.cells) if "images" in row.cells else row.cells
        cells = self._filled(given, COLUMNS)
        if not is_split_known:
            split_spelling(cells)  # to say why
        people = decode(cells.pop("people", None))
        cells["id"] = parse_id(cells["id"]) if "id" in cells else f"{image_name(cells)}#{row.number}"
        if people is None:
            return cells, None
        if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
            raise RowError("bad_row", "people is not a list of objects")
        for name in ("box", "boxes", "labels", "dimensions", *DIMENSIONS):
            if name in cells:
                raise RowError("bad_row", f"the row has both people and {name}; give each person a {name}")
        return cells, people

    def _filled(self, given: Cells, columns: frozenset[str]) -> dict[str, Any]:
        """The cells that are not empty, by column."""
        cells = {}
        for name, value in given.items():
            kind = type(value)
            if kind is str:
                if not (value.isspace() or (value in MISSING and self._is_missing(name, value))):
                    cells[name] = value
            elif kind is list or kind is dict or not is_empty(value):
                cells[name] = value
        if not cells.keys() <= columns or not cells.keys().isdisjoint(self._ignore):
            names = _known_columns(cells, columns, self._ignore)
            cells = {names[name]: value for name, value in cells.items() if name in names}
        return cells

    def _is_missing(self, name: str, value: str) -> bool:
        """Whether a word of pandas for a missing value is meant as such. A label may be called "None"."""
        if name == "labels":
            return value not in self._labels
        return not value or name not in _TEXT_COLUMNS

    def _record(
        self, row: ManifestRow, cells: Cells, split: str, person: Cells | None = None, default_id: str = ""
    ) -> Record | Problem:
        """One person: the row's only one, or one of its `people`, whose cells come first."""
        try:
            if person is not None:
                own = self._filled(person, PERSON_COLUMNS)
                cells = {**cells, **own, "id": parse_id(own["id"]) if "id" in own else default_id}
            if not cells["id"].isascii():
                require_encodable(cells["id"])
            path, is_clip = self._image_path(cells.get("image"), cells.get("clip"))
            try:
                subject = self._subject(cells, path, is_clip=is_clip)
            except RowError as error:
                if not error.kind.startswith("box"):
                    raise
                return Problem(kind=error.kind, file=str(path), message=f"{row.source}: {error.message}")
            sample = Sample(subject=subject, target=self._target(cells), split=split)
            return Record(sample=sample, size=subject.stated_size)
        except RowError as error:
            return Problem(kind=error.kind, file=row.source, message=error.message)
        except (MienError, TypeError, ValueError, OverflowError) as error:
            return Problem(kind="bad_row", file=row.source, message=str(error))

    # --- Images and clips

    def _image_path(self, image: Any, clip: Any) -> tuple[Path, bool]:
        """The path of the image or clip, and whether it is a clip; the last one is kept.

        The people of a row share its cells, which may embed a whole image.
        """
        last_image, last_clip, found = self._last_path
        if found is None or not (_is_same(image, last_image) and _is_same(clip, last_clip)):
            found = self._find_path(image, clip)
            self._last_path = image, clip, found
        return found

    def _find_path(self, image: Any, clip: Any) -> tuple[Path, bool]:
        """Embedded bytes become a cached file."""
        image, clip = to_python(image), to_python(clip)
        if image and clip:
            raise RowError("bad_row", "the row has both image and clip; give one of them")
        data = image.get("bytes") if isinstance(image, dict) else image
        if isinstance(data, bytes):
            return self._embedded.path(data), False
        name = clip or (image.get("path") if isinstance(image, dict) else image)
        if not name:
            raise RowError("bad_row", f"the row names no image; {EXAMPLE}")
        path = find_image(self._folder, name, only_below=self._only_below)
        return path, bool(clip) or is_clip(path)

    def _subject(self, cells: Cells, path: Path, *, is_clip: bool) -> Subject:
        size, box = parse_size(cells.get("size")), parse_box(cells.get("box"))
        if not is_clip:
            if not cells.keys().isdisjoint(_CLIP_COLUMNS):
                clip_columns = [name for name in _CLIP_COLUMNS if name in cells]
                raise RowError("bad_row", f"{clip_columns[0]} is for clips, but {path.name} is an image")
            return Subject.still(cells["id"], path, box, stated_size=size)
        chosen = self._frame_range(cells, path)
        images = tuple(ImageRef(path=path, frame=frame) for frame in chosen.frames)
        boxes = _parse_frame_boxes(decode(cells.get("boxes")), box, chosen)
        return Subject(id=cells["id"], images=images, boxes=boxes, stated_size=size)

    def _frame_range(self, cells: Cells, path: Path) -> _FrameRange:
        frames = parse_frames(cells.get("frames"))
        if frames is not None:
            if "first_frame" in cells or "last_frame" in cells:
                raise RowError("bad_row", "the row has both frames and a range of frames; give one of them")
            return _FrameRange(frames=frames)
        start = parse_frame(cells["first_frame"]) if "first_frame" in cells else 0
        end = parse_frame(cells["last_frame"]) if "last_frame" in cells else self._clip_length(path) - 1
        if end < start:
            raise RowError("frame_range", f"frames go from {start} to {end}")
        chosen = spread_frames(start, end, self._num_frames)
        return _FrameRange(frames=chosen, first=start, span=end - start + 1)

    def _clip_length(self, path: Path) -> int:
        if path not in self._clip_lengths:
            try:
                self._clip_lengths[path] = probe_clip(path).num_frames
            except ImageError as error:
                kind = "clip_unreadable" if path.is_file() else "missing"
                raise RowError(kind, str(error)) from error
        return self._clip_lengths[path]

    # --- Targets

    def _target(self, cells: Cells) -> Target | None:
        """None if the row has no labels: such a row is for prediction only."""
        dimensions = parse_dimensions(cells.get("dimensions"), cells)
        given = cells.get("labels")
        if type(given) is str and given in self._labels:
            given = [given]  # a name may begin with a bracket, or contain "|"
        if given is None:
            if dimensions is not None:
                raise RowError(
                    "no_label", "the row has dimensions but no labels; labels may be an empty list"
                )
            return None
        if type(given) is str and len(given) <= _MAX_KEPT:
            labels = _text_labels(given)
        elif type(given) is list and self._are_known(given):
            labels = dict.fromkeys(given, 1.0)
        else:
            labels = parse_labels(given)
        if not self._labels.issuperset(labels):
            self._raise_unknown_label(next(name for name in labels if name not in self._labels))
        if self._label_set.exclusive:
            total = sum(labels.values())
            if not abs(total - 1) <= _SUM_TOLERANCE:
                kind = "bad_row" if labels else "no_label"
                raise RowError(kind, f"labels sum to {total:g}, but exactly one label of this set holds")
        return Target(labels=labels, dimensions=dimensions)

    def _are_known(self, names: list[Any]) -> bool:
        try:
            return self._labels.issuperset(names)
        except TypeError:  # a list or an object among them
            return False

    def _raise_unknown_label(self, name: str) -> None:
        message = self._label_faults.get(name)
        if message is None:
            message = f"unknown label of set {self._label_set.name!r}: {name!r}"
            # Looking for a label that is near takes longer than all else in a row.
            if len(self._label_faults) < _MAX_LABEL_FAULTS and len(name) <= _MAX_KEPT:
                several = "; separate labels by |" if "," in name or ";" in name else ""
                message += f"; {nearest_hint(name, self._label_set.labels)}{several}"
                self._label_faults[name] = message
        raise RowError("unknown_label", message)


@lru_cache(maxsize=4096)
def _text_labels(text: str) -> dict[str, float]:
    """The caller does not change it."""
    return parse_labels(text)


def _is_same(value: Any, other: Any) -> bool:
    return value is other or (type(value) is str and type(other) is str and value == other)


def image_name(cells: Cells) -> str:
    """The identity of a row's image: its path, or a digest of its bytes, as text that can be encoded."""
    image = cells.get("image") or cells.get("clip")
    if isinstance(image, dict):
        data = image.get("bytes")
        image = content_name(data) if isinstance(data, bytes) else image.get("path")
    elif isinstance(image, bytes):
        image = to_python(image)
        image = content_name(image) if isinstance(image, bytes) else image
    return str(image).encode("utf-8", "backslashreplace").decode()


def split_spelling(cells: Cells) -> str | None:
    """The split that a row names, in the row's spelling; None for an empty cell.

    Raises:
        RowError: The cell is not a name.
    """
    split = cells.get("split")
    if type(split) is str:
        return _checked_split(split) if len(split) <= _MAX_KEPT else _checked_split.__wrapped__(split)
    split = to_python(split)
    if is_empty(split):
        return None
    if isinstance(split, bool) or not isinstance(split, _SPLIT_TYPES) or split in _INFINITE:
        raise RowError("bad_row", f"the split {shown(split)} is not a name")
    try:
        return _checked_split(str(split))
    except ValueError as error:  # a whole number of thousands of digits
        raise RowError("bad_row", "the split is a number of thousands of digits") from error


@lru_cache(maxsize=256)
def _checked_split(name: str) -> str | None:
    if name.strip() in MISSING:
        return None
    fault = plain_name_fault(name.strip())
    if fault:
        raise RowError("bad_row", f"the split {ascii(name)[:100]} {fault}")
    return name


# --- Rows --------------------------------------------------------------------------------------------


def _from_export(cells: Cells) -> dict[str, Any]:
    """Converts a line that `mien data export` wrote, with lists of images and frames, to manifest cells."""
    cells = dict(cells)
    images, frames, boxes = (decode(cells.pop(name, None)) for name in ("images", "frames", "boxes"))
    if not isinstance(images, list) or len(set(map(str, images))) != 1:
        raise RowError("bad_row", "images must name one image, or the same clip for each frame")
    if not is_empty(cells.get("image")) or not is_empty(cells.get("clip")):
        raise RowError("bad_row", "the row has images and also image or clip; give one of them")
    if "size" not in cells and not cells.get("labels") and cells.get("dimensions") is None:
        cells["labels"] = None  # version 0.1.0 wrote {} for subjects without annotations
    if frames is None or frames == [None]:
        box = boxes[0] if isinstance(boxes, list) and boxes else None
        return {**cells, "image": images[0], "box": cells.get("box", box)}
    return {**cells, "clip": images[0], "frames": frames, "boxes": boxes}


def _known_columns(given: Cells, columns: frozenset[str], ignore: frozenset[str]) -> dict[str, str]:
    """The column of each name; RowError for an unknown one. An index is left out."""
    try:
        names = column_names(map(str, given), ignore)
    except ValueError as error:
        raise RowError("bad_row", str(error)) from error
    unknown = sorted(set(names.values()) - columns)
    if unknown:
        raise RowError("bad_row", f"unknown column {unknown[0]!r}; columns are {', '.join(sorted(columns))}")
    return names


def _parse_frame_boxes(given: Any, box: Box | None, chosen: _FrameRange) -> tuple[Box | None, ...]:
    """One box per chosen frame; `given` has one for each of them, or for each frame of the range."""
    if given is None:
        return (box,) * len(chosen.frames)
    if box is not None:
        raise RowError("bad_row", "the row has both box and boxes; give one of them")
    expected = chosen.span or len(chosen.frames)
    if not isinstance(given, list) or len(given) != expected:
        actual = f"{len(given)} boxes" if isinstance(given, list) else "boxes that are not a list"
        raise RowError("bad_row", f"the row has {actual}; it needs {expected}, one per frame")
    picked = [given[frame - chosen.first] for frame in chosen.frames] if chosen.span else given
    return tuple(parse_box(value) for value in picked)
