"""Parses a manifest row into records: its people, their boxes and labels, in an image or a clip.

Images are not opened. A clip is opened to learn its length, if the row does not say which frames to take.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from mien.data.dataset import Record
from mien.data.manifest.embedded_images import EmbeddedImages, content_name
from mien.data.manifest.readers import EXAMPLE, Cells, ManifestRow
from mien.errors import ImageError, MienError
from mien.labels import LabelSet
from mien.media.clips import probe_clip, spread_frames
from mien.types import DIMENSIONS, Box, ImageRef, Problem, Sample, Subject, Target

__all__ = ["RowParser", "image_name"]

_PERSON_COLUMNS: Final = frozenset(
    {"id", "box", "boxes", "frames", "first_frame", "last_frame", "labels", "dimensions", *DIMENSIONS}
)
_COLUMNS: Final = _PERSON_COLUMNS | {"image", "clip", "people", "size", "split"}
_CLIP_COLUMNS: Final = ("frames", "first_frame", "last_frame", "boxes")
_CLIP_SUFFIXES: Final = (".mp4", ".avi", ".mkv", ".webm", ".mov")
_SUM_TOLERANCE: Final = 1e-3  # of scores that should sum to one; the same as in training


class _RowError(Exception):
    """Why a cell or row cannot be used. `kind` is a kind of `mien.types.Problem`, which this becomes."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class _Person:
    """One person of a row. `cells` include those of the whole row, `own` are only the person's."""

    row: ManifestRow
    cells: Cells
    own: Cells


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
    """

    def __init__(
        self,
        *,
        label_set: LabelSet,
        folder: Path,
        embedded: EmbeddedImages,
        num_frames: int,
        ignore: frozenset[str] = frozenset(),
    ) -> None:
        self._label_set = label_set
        self._folder = folder
        self._embedded = embedded
        self._num_frames = num_frames
        self._ignore = ignore
        self._clip_lengths: dict[Path, int] = {}

    def parse(self, row: ManifestRow, split: str) -> Iterator[tuple[str, Record | Problem]]:
        """The location of each person in the row, with their record or what is wrong with them or the row."""
        try:
            people = list(self._people(row))
        except _RowError as error:
            yield row.location, Problem(kind=error.kind, file=row.source, message=error.message)
            return
        for person in people:
            yield person.row.location, self._record(person, split)

    def _people(self, row: ManifestRow) -> Iterator[_Person]:
        if row.cells is None:
            raise _RowError("bad_row", row.error)
        cells = {name: value for name, value in row.cells.items() if name not in self._ignore}
        cells = _from_export(cells) if "images" in cells else cells
        _require_known_columns(cells, _COLUMNS)
        people = _cell(cells, "people")
        cells.pop("people", None)
        cells["id"] = _id(cells, f"{image_name(cells)}#{row.number}")
        if people is None:
            yield _Person(row=row, cells=cells, own={})
            return
        if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
            raise _RowError("bad_row", "people is not a list of objects")
        for name in ("box", "boxes", "labels", "dimensions", *DIMENSIONS):
            if cells.get(name) not in (None, ""):
                raise _RowError("bad_row", f"the row has both people and {name}; give each person a {name}")
        for index, person in enumerate(people):
            own = {name: value for name, value in person.items() if value is not None}
            own["id"] = _id(own, f"{cells['id']}.{index}")
            place = replace(row, location=f"{row.location}, person {index + 1}")
            yield _Person(row=place, cells={**cells, **own}, own=own)

    def _record(self, person: _Person, split: str) -> Record | Problem:
        cells, source = person.cells, person.row.source
        try:
            _require_known_columns(person.own, _PERSON_COLUMNS)
            _require_encodable(cells["id"])
            path, is_clip = self._image_path(cells)
            try:
                subject = self._subject(cells, path, is_clip=is_clip)
            except _RowError as error:
                if not error.kind.startswith("box"):
                    raise
                return Problem(kind=error.kind, file=str(path), message=f"{source}: {error.message}")
            sample = Sample(subject=subject, target=self._target(cells), split=split)
            return Record(sample=sample, size=_parse_size(_cell(cells, "size")))
        except _RowError as error:
            return Problem(kind=error.kind, file=source, message=error.message)
        except (MienError, TypeError, ValueError, OverflowError) as error:
            return Problem(kind="bad_row", file=source, message=str(error))

    # --- Images and clips

    def _image_path(self, cells: Cells) -> tuple[Path, bool]:
        """The path of the image or clip, and whether it is a clip; embedded bytes become a cached file."""
        image, clip = cells.get("image"), cells.get("clip")
        if image and clip:
            raise _RowError("bad_row", "the row has both image and clip; give one of them")
        if isinstance(image, dict):
            if isinstance(image.get("bytes"), bytes):
                return self._embedded.path(image["bytes"]), False
            image = image.get("path")
        name = clip or image
        if not isinstance(name, str) or not name:
            raise _RowError("bad_row", f"the row names no image; {EXAMPLE}")
        _require_encodable(name)
        return self._folder / name, bool(clip) or name.lower().endswith(_CLIP_SUFFIXES)

    def _subject(self, cells: Cells, path: Path, *, is_clip: bool) -> Subject:
        box = _parse_box(cells.get("box"))
        clip_columns = [name for name in _CLIP_COLUMNS if _cell(cells, name) is not None]
        if not is_clip:
            if clip_columns:
                raise _RowError("bad_row", f"{clip_columns[0]} is for clips, but {path.name} is an image")
            return Subject.still(cells["id"], path, box)
        chosen = self._frame_range(cells, path)
        return Subject(
            id=cells["id"],
            images=tuple(ImageRef(path=path, frame=frame) for frame in chosen.frames),
            boxes=_parse_frame_boxes(_cell(cells, "boxes"), box, chosen),
        )

    def _frame_range(self, cells: Cells, path: Path) -> _FrameRange:
        frames = _parse_frames(_cell(cells, "frames"))
        first, last = (_parse_frames([_cell(cells, name)]) for name in ("first_frame", "last_frame"))
        if frames is not None:
            if first or last:
                raise _RowError("bad_row", "the row has both frames and a range of frames; give one of them")
            return _FrameRange(frames=frames)
        start = first[0] if first else 0
        end = last[0] if last else self._clip_length(path) - 1
        if end < start:
            raise _RowError("frame_range", f"frames go from {start} to {end}")
        chosen = spread_frames(start, end, self._num_frames)
        return _FrameRange(frames=chosen, first=start, span=end - start + 1)

    def _clip_length(self, path: Path) -> int:
        if path not in self._clip_lengths:
            try:
                self._clip_lengths[path] = probe_clip(path).num_frames
            except ImageError as error:
                kind = "clip_unreadable" if path.is_file() else "missing"
                raise _RowError(kind, str(error)) from error
        return self._clip_lengths[path]

    # --- Targets

    def _target(self, cells: Cells) -> Target | None:
        """None if the row has no labels: such a row is for prediction only."""
        labels, dimensions = _parse_labels(cells.get("labels")), _parse_dimensions(cells)
        if labels is None:
            if dimensions is not None:
                raise _RowError(
                    "no_label", "the row has dimensions but no labels; labels may be an empty list"
                )
            return None
        for name in labels:
            if name not in self._label_set.labels:
                self._raise_unknown_label(name)
        total = sum(labels.values())
        if self._label_set.exclusive and not abs(total - 1) <= _SUM_TOLERANCE:
            kind = "bad_row" if labels else "no_label"
            raise _RowError(kind, f"labels sum to {total:g}, but exactly one label of this set holds")
        return Target(labels=labels, dimensions=dimensions)

    def _raise_unknown_label(self, name: str) -> None:
        try:
            self._label_set.index(name)
        except MienError as error:
            raise _RowError("unknown_label", f"{error}; {error.hint}") from error


def image_name(cells: Cells) -> str:
    """The identity of a row's image: its path, or a digest of its bytes, as text that can be encoded."""
    image = cells.get("image") or cells.get("clip")
    if isinstance(image, dict):
        data = image.get("bytes")
        image = content_name(data) if isinstance(data, bytes) else image.get("path")
    return str(image).encode("utf-8", "backslashreplace").decode()


# --- Rows --------------------------------------------------------------------------------------------


def _from_export(cells: dict[str, Any]) -> dict[str, Any]:
    """Converts a line that `mien data export` wrote, with lists of images and frames, to manifest cells."""
    images, frames, boxes = (cells.pop(name, None) for name in ("images", "frames", "boxes"))
    if not isinstance(images, list) or len(set(map(str, images))) != 1:
        raise _RowError("bad_row", "images must name one image, or the same clip for each frame")
    if "image" in cells or "clip" in cells:
        raise _RowError("bad_row", "the row has images and also image or clip; give one of them")
    if not cells.get("labels") and cells.get("dimensions") is None:
        cells["labels"] = None  # an export writes {} for subjects without annotations
    if frames is None or frames == [None]:
        box = boxes[0] if isinstance(boxes, list) and boxes else None
        return {**cells, "image": images[0], "box": cells.get("box", box)}
    return {**cells, "clip": images[0], "frames": frames, "boxes": boxes}


def _id(cells: Cells, default: str) -> str:
    given = cells.get("id")
    return default if given is None or given == "" else str(given)


def _require_known_columns(cells: Cells, columns: frozenset[str]) -> None:
    unknown = sorted(str(name) for name in set(cells) - columns)
    if unknown:
        raise _RowError("bad_row", f"unknown column {unknown[0]!r}; columns are {', '.join(sorted(columns))}")


def _require_encodable(name: str) -> None:
    """JSON can contain lone surrogates, which no file name can."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise _RowError("bad_row", f"{name!a} is not valid text: {error.reason}") from error


# --- Cells -------------------------------------------------------------------------------------------


def _cell(cells: Cells, name: str) -> Any:
    """A cell, decoded if it holds JSON as text, as in a CSV file; None if it is empty."""
    value = _decode_json(cells.get(name))
    return None if value == "" else value


def _parse_box(value: Any) -> Box | None:
    """[left, top, right, bottom], or the same as comma-separated text."""
    value = _decode_json(value)
    if value is None or value == "":
        return None
    edges = value.split(",") if isinstance(value, str) else value
    if len(edges) != len(("left", "top", "right", "bottom")):
        raise _RowError("bad_row", f"a box has 4 edges, this one has {len(edges)}")
    left, top, right, bottom = (float(edge) for edge in edges)
    box = (left, top, right, bottom)
    if not all(math.isfinite(edge) for edge in box):
        raise _RowError("box_not_finite", f"box {box} is not finite")
    if right <= left or bottom <= top:
        raise _RowError("box_degenerate", f"box {box} is empty; give left, top, right, bottom")
    return Box.from_tuple(box)


def _parse_frame_boxes(given: Any, box: Box | None, chosen: _FrameRange) -> tuple[Box | None, ...]:
    """One box per chosen frame; `given` has one for each of them, or for each frame of the range."""
    if given is None:
        return (box,) * len(chosen.frames)
    if box is not None:
        raise _RowError("bad_row", "the row has both box and boxes; give one of them")
    expected = chosen.span or len(chosen.frames)
    if not isinstance(given, list) or len(given) != expected:
        actual = f"{len(given)} boxes" if isinstance(given, list) else "boxes that are not a list"
        raise _RowError("bad_row", f"the row has {actual}; it needs {expected}, one per frame")
    picked = [given[frame - chosen.first] for frame in chosen.frames] if chosen.span else given
    return tuple(_parse_box(value) for value in picked)


def _parse_labels(value: Any) -> dict[str, float] | None:
    """Scores by label; a list of names, or "A|B", gives each a score of 1."""
    value = _decode_json(value)
    if value is None or value == "":
        return None
    if isinstance(value, Mapping):
        return {str(name): float(score) for name, score in value.items() if score is not None}
    names = value.split("|") if isinstance(value, str) else value
    return {str(name).strip(): 1.0 for name in cast("Iterable[object]", names)}


def _parse_dimensions(cells: Cells) -> dict[str, float] | None:
    """All three dimensions or none, each from 0 to 1."""
    table = _decode_json(cells.get("dimensions")) or {name: cells.get(name) for name in DIMENSIONS}
    if not isinstance(table, Mapping):
        raise _RowError("bad_row", f"dimensions are {table!r}, not an object of {', '.join(DIMENSIONS)}")
    given = {name: float(value) for name, value in table.items() if value not in (None, "")}
    if not given:
        return None
    if set(given) != set(DIMENSIONS):
        raise _RowError(
            "dimension_range", f"dimensions are {sorted(given)}; give all of {', '.join(DIMENSIONS)}"
        )
    for name, value in given.items():
        if not 0 <= value <= 1:  # also excludes NaN
            raise _RowError("dimension_range", f"{name} is {value}; dimensions go from 0 to 1")
    return given


def _parse_frames(values: Any) -> tuple[int, ...] | None:
    """Frame numbers from 0; None for no list, or for one whose only cell is empty."""
    if values is None or values == [None]:
        return None
    if not isinstance(values, list) or not values:
        raise _RowError("bad_row", f"frames are {values!r}, not a list of numbers")
    frames = tuple(_parse_frame(value) for value in values)
    if min(frames) < 0:
        raise _RowError("frame_range", f"frame {min(frames)} is before the first frame, which is 0")
    return frames


def _parse_frame(value: Any) -> int:
    number = int(value)  # ValueError for other text
    if isinstance(value, bool) or (isinstance(value, float) and number != value):
        raise _RowError("bad_row", f"frame {value!r} is not a whole number")
    return number


def _parse_size(value: Any) -> tuple[int, int] | None:
    """[width, height] in pixels."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise _RowError("bad_row", f"size is {value!r}, not [width, height]")
    width, height = value
    return int(width), int(height)


def _decode_json(value: Any) -> Any:
    """Decodes text that holds a JSON list or object; returns anything else unchanged."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except RecursionError as error:
            raise _RowError("bad_row", "a cell is nested too deeply") from error
        except ValueError as error:
            raise _RowError("bad_row", f"a cell is not JSON: {error}") from error
    return value
