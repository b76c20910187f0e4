"""Opens what images come from: paths, folders, glob patterns, lists, manifests, videos, and pixels.

Everything is read as it is needed and in a fixed order. An item that cannot be used is a source with an
error, in its place.
"""

from __future__ import annotations

import glob
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from mien.errors import ClipError, ConfigError, DataError, ImageError, ManifestError, MienError
from mien.media.formats import CLIP_SUFFIXES, FOLDER_SUFFIXES, is_clip, sniff_file
from mien.predict.sources.image import ImageLike, Source, open_source, refuse_address
from mien.predict.sources.listed import MANIFESTS, ListedPath, list_lines, manifest_sources, stdin_lines
from mien.predict.sources.video import video_sources
from mien.types import ImageRef

__all__ = ["STDIN", "SourceOptions", "open_sources", "require_source"]

STDIN: Final = "-"
_LISTS: Final = (".txt", ".lst", ".list")
_MEDIA: Final = frozenset({*FOLDER_SUFFIXES, *CLIP_SUFFIXES})
_GLOB_CHARACTERS: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How sources are read.

    Attributes:
        recursive: Search folders with all folders in them.
        fps: Frames per second to take of a video.
        every: Take each n-th frame of a video instead.

    Raises:
        ConfigError: A value is out of range, or both `fps` and `every` are given.
    """

    recursive: bool = False
    fps: float | None = None
    every: int | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ConfigError(f"{self.fps} frames per second", hint="give more than 0, up to 1000")
        if self.every is not None and self.every < 1:
            raise ConfigError(f"every {self.every} frames", hint="give at least 1")
        if self.fps is not None and self.every is not None:
            raise ConfigError("fps and every exclude each other", hint="give one of them")


def open_sources(
    sources: ImageLike | Iterable[object], options: SourceOptions | None = None
) -> Iterator[Source]:
    """The images of a source, or of an iterable of sources, in order.

    A source is a path, a folder, a glob pattern, a list of paths (.txt), a manifest (.jsonl, .csv, .parquet
    or .json), a video, "-" for paths from the standard input, a PIL image, or an array. An item of an
    iterable may also be a pair (image, boxes). Files of a folder and of a pattern come in the order of their
    names. An item that cannot be used is returned in its place with its error.

    Raises:
        DataError: The only source is a folder without images, a pattern without matches, a list or manifest
            that cannot be read, or a path with nothing at it that does not end like an image or video.
    """
    opener = _Opener(options or SourceOptions())
    if isinstance(sources, str | Path):
        yield from opener.open_path(sources)
    elif isinstance(sources, Image.Image | np.ndarray):
        yield open_source(sources)
    else:
        for index, item in enumerate(sources):
            name = f"image {index}"
            try:
                yield from opener.open_item(item, name)
            except MienError as error:
                yield _failed(_name_of(item, name), error)


def require_source(place: str) -> None:
    """Raises the error of a path that does not exist before a model is loaded for it.

    Raises:
        DataError: Nothing is at the path, and it is not a pattern; or it is an address.
    """
    refuse_address(place)
    if place == STDIN or _GLOB_CHARACTERS & set(place):
        return
    try:
        os.lstat(place)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(place) from error
    except (OSError, ValueError):  # reading it says why
        return


def _missing(place: str | Path) -> DataError:
    """Why nothing can be read at a path: the error of what its ending stands for."""
    if not str(place):  # which would be the current folder
        return DataError("a source is an empty path", hint="name a file or a folder")
    suffix = Path(place).suffix.lower()
    kinds: tuple[tuple[str, type[DataError], Iterable[str]], ...] = (
        ("image", ImageError, FOLDER_SUFFIXES),
        ("clip", ClipError, CLIP_SUFFIXES),
        ("list", ManifestError, _LISTS),
        ("manifest", ManifestError, MANIFESTS),
    )
    found = ((noun, kind) for noun, kind, suffixes in kinds if suffix in suffixes)
    noun, kind = next(found, ("file or folder", DataError))
    return kind(f"no {noun} at {place}", hint="check the path")


class _Opener:
    """Opens sources, and numbers the videos among them."""

    def __init__(self, options: SourceOptions) -> None:
        self._options = options
        self._videos = itertools.count()

    def open_item(self, item: object, name: str) -> Iterator[Source]:
        if isinstance(item, tuple) and len(item) == 2:
            image, boxes = item
            source = open_source(image, boxes, name=name)
            if isinstance(image, str | Path) and is_clip(Path(image)):
                yield from self._open_video(Path(image), source)
            else:
                yield source
        elif isinstance(item, str | Path):
            yield from self.open_path(item)
        elif isinstance(item, Image.Image | np.ndarray):
            yield open_source(item, name=name)
        else:
            raise ImageError(
                f"cannot read an image from {type(item).__name__}",
                hint="give paths, PIL images, NumPy arrays, or pairs of an image and its boxes",
            )

    def open_path(self, place: str | Path) -> Iterator[Source]:
        """The images of a path that may be anything."""
        path = Path(place)
        if not str(place):
            raise _missing(place)
        refuse_address(place)
        if str(place) == STDIN:
            yield from self._open_lines(stdin_lines(sys.stdin))
        elif path.suffix.lower() in _LISTS and _is_file(path):
            note = f"a {path.suffix} file is read as a list of paths, one per line; "
            yield from self._open_lines(list_lines(path), note)
        elif path.suffix.lower() in MANIFESTS and _is_file(path):
            for source in manifest_sources(path):
                yield from self._open_found(source.image.path, source)
        else:
            yield from self._open_files(place)

    def _open_lines(self, lines: Iterable[ListedPath], note: str = "") -> Iterator[Source]:
        for line in lines:
            try:
                refuse_address(line.text)
                require_source(str(line.path))
                yield from self._open_files(line.path)
            except MienError as error:
                located = type(error)(f"{line.where}: {error}", hint=f"{note}{error.hint}")
                yield _failed(str(line.path), located)

    def _open_files(self, place: str | Path) -> Iterator[Source]:
        for path in _expand(place, recursive=self._options.recursive):
            yield from self._open_found(path)

    def _open_found(self, path: Path, source: Source | None = None) -> Iterator[Source]:
        source = source or open_source(path)
        if source.error is None and source.image.pixels is None and is_clip(path):
            yield from self._open_video(path, source)
        else:
            yield source

    def _open_video(self, path: Path, source: Source) -> Iterator[Source]:
        number, options = next(self._videos), self._options
        yield from (
            replace(frame, boxes=source.boxes)
            for frame in video_sources(path, number, fps=options.fps, every=options.every)
        )


def _failed(name: str, error: MienError) -> Source:
    return Source(image=ImageRef(path=Path(name)), error=error)


def _name_of(item: object, name: str) -> str:
    image = item[0] if isinstance(item, tuple) and item else item
    return str(image) if isinstance(image, str | Path) else name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _expand(place: str | Path, *, recursive: bool) -> Iterator[Path]:
    """The files of a folder or pattern; a path that exists is never taken for a pattern."""
    path = Path(place)
    try:
        if path.is_dir():
            files = _walk(path, recursive=recursive)
            first = next(files, None)
            if first is None:
                inside = "" if recursive else "; folders in it are searched only on request"
                hint = f"name the images, or the folder that they are in{inside}"
                raise DataError(f"no image in {path}", hint=hint)
            yield first
            yield from files
        elif not path.exists() and _GLOB_CHARACTERS & set(str(place)):
            matches = sorted(Path(match) for match in glob.glob(str(place), recursive=True))  # noqa: PTH207  the pattern may be absolute
            found = [match for match in matches if not match.is_dir()]
            if not found:
                raise DataError(f"no file matches {place}", hint="check the pattern")
            yield from found
        elif path.suffix.lower() in _MEDIA or path.exists() or path.is_symlink():
            yield path  # opening it says what is wrong
        else:
            raise _missing(place)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="check its name and rights"
        ) from error
    except ValueError as error:  # a NUL in a pattern
        raise DataError(f"{path} cannot be read: {error}", hint="check its name") from error


def _walk(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """The images and videos of a folder, in the order of their paths; links to folders are not followed."""
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in found:
        if is_folder and recursive:
            yield from _walk(folder / name, recursive=True)
        elif _is_listed(folder / name):
            yield folder / name


def _is_listed(file: Path) -> bool:
    """Whether a file of a folder is an image or video, by its ending, or else by its content.

    Images and videos of formats that are not read are listed, too: they fail by name, rather than be passed
    over.
    """
    suffix = file.suffix.lower()
    if file.name.startswith("._"):  # companions that macOS writes
        return False
    if suffix in FOLDER_SUFFIXES or suffix in CLIP_SUFFIXES:
        return True
    return file.is_file() and sniff_file(file).role != "other"
