"""Paths and photos that a text file, the standard input, or a manifest lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.data.manifest.coco import CocoReader
from mien.data.manifest.embedded_images import EmbeddedImages
from mien.data.manifest.readers import READERS, ManifestRow, json_form, read_json_array
from mien.data.manifest.row_parser import RowParser
from mien.data.text_files import MAX_LINE, read_lines
from mien.errors import DataError, ManifestError
from mien.files import cache_directory
from mien.labels import EMOTIC
from mien.predict.sources.image import Source
from mien.types import DIMENSIONS, Box, ImageRef, Problem, Subject

__all__ = ["MANIFESTS", "ListedPath", "list_lines", "manifest_sources", "stdin_lines"]

MANIFESTS: Final = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".json")
# Answers are not needed, and may be of any label set.
_ANSWERS: Final = frozenset({"labels", "dimensions", *DIMENSIONS})
_ENDS: Final = "\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPath:
    """A path as it is listed, where it leads, and the place of its line."""

    text: str
    path: Path
    where: str


def list_lines(path: Path) -> Iterator[ListedPath]:
    """The paths in a text file, one per line, relative to its folder; empty lines are skipped.

    Raises:
        ManifestError: The file cannot be read, is not text, or names nothing.
    """
    empty = True
    for number, line in read_lines(path):
        if line is None:
            raise ManifestError(
                f"{path}, line {number}: the line has more than {MAX_LINE:,} characters",
                hint="write one path per line",
            )
        if line.strip():
            empty = False
            text = line.strip(_ENDS)
            yield ListedPath(text=text, path=path.parent / text, where=f"{path}, line {number}")
    if empty:
        raise ManifestError(f"{path} lists nothing", hint="write one path per line")


def stdin_lines(lines: Iterable[str]) -> Iterator[ListedPath]:
    """The paths on the standard input, one per line; empty lines are skipped.

    Raises:
        DataError: The standard input is empty, or is not text.
    """
    empty = True
    try:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                empty = False
                text = line.strip(_ENDS)
                yield ListedPath(text=text, path=Path(text), where=f"the standard input, line {number}")
    except UnicodeError as error:
        raise DataError(f"the standard input is not text: {error}", hint="write one path per line") from error
    if empty:
        raise DataError("the standard input names nothing", hint="write one path per line")


def manifest_sources(path: Path) -> Iterator[Source]:
    """The photos and videos of a manifest, with the boxes of the people in them; labels are not read.

    People of one photo that are listed one after another are one source. A row that cannot be used is a
    source with its error.

    Raises:
        ManifestError: The file cannot be read as a manifest, or lists nothing.
    """
    waiting: Source | None = None
    empty = True
    for found in _row_sources(path):
        empty = False
        if waiting is not None and _is_same_photo(waiting, found):
            waiting = Source(image=waiting.image, boxes=waiting.boxes + found.boxes)
            continue
        if waiting is not None:
            yield waiting
        waiting = found
    if waiting is not None:
        yield waiting
    if empty:
        raise ManifestError(f"{path} lists nothing", hint="write one row per photo or person")


def _is_same_photo(a: Source, b: Source) -> bool:
    return a.image == b.image and bool(a.boxes) and bool(b.boxes) and a.error is None and b.error is None


def _row_sources(path: Path) -> Iterator[Source]:
    cache = cache_directory()
    parser = RowParser(
        label_set=EMOTIC,
        folder=path.parent,
        embedded=EmbeddedImages(cache / "embedded"),
        num_frames=1,
        ignore=_ANSWERS,
    )
    for row in _reader(path, cache)():
        for _, found in parser.parse(row, "all"):
            if isinstance(found, Problem):
                error = ManifestError(f"{found.file}: {found.message}", hint="correct the row")
                yield Source(image=ImageRef(path=path), error=error)
            else:
                yield _person(found.sample.subject, row)


def _person(subject: Subject, row: ManifestRow) -> Source:
    boxes: tuple[Box, ...] = tuple(box for box in subject.boxes[:1] if box is not None)
    image = subject.images[0]
    if image.frame is None:
        return Source(image=image, boxes=boxes)
    cells = row.cells or {}
    if any(name in cells for name in ("frames", "first_frame", "last_frame", "boxes")):
        error = ManifestError(
            f"{row.source}: frames of a clip are not read here",
            hint="name the clip alone, to get all of its people",
        )
        return Source(image=ImageRef(path=image.path), error=error)
    return Source(image=ImageRef(path=image.path), boxes=boxes)


def _reader(path: Path, cache: Path) -> Callable[[], Iterator[ManifestRow]]:
    suffix = path.suffix.lower()
    form = json_form(path) if suffix == ".json" else None
    if form == "document":
        return CocoReader(path, categories=("person",), cache=cache).rows
    if form == "array":
        return lambda: read_json_array(path, _ANSWERS)
    read = READERS[".jsonl" if form == "lines" else suffix]
    return lambda: read(path, _ANSWERS)
