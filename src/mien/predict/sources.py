"""Images for prediction: from paths, folders, glob patterns, PIL images and NumPy arrays."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from mien.errors import BoxError, DataError, ImageError, MienError, first_line
from mien.media.boxes import parse_box
from mien.media.formats import CLIP_SUFFIXES, FOLDER_SUFFIXES, sniff_file
from mien.types import Box, ImageRef

__all__ = ["BoxLike", "ImageLike", "Source", "open_source", "open_sources"]

# (left, top, right, bottom) in pixels of the upright image.
BoxLike = Box | Sequence[float]
ImageLike = str | Path | Image.Image | np.ndarray

_GLOB_CHARACTERS: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One image and the boxes of the people in it, or why it cannot be used.

    Without boxes the whole image is the subject.
    """

    image: ImageRef
    boxes: tuple[Box, ...] = ()
    error: MienError | None = None

    @property
    def name(self) -> str:
        """How the image is named in results and messages."""
        return str(self.image.path)


def open_source(image: ImageLike, boxes: Iterable[BoxLike] | None = None, *, name: str = "image") -> Source:
    """One image with its boxes.

    Args:
        image: A path, a PIL image, or an array of shape (height, width), (height, width, 3) or
            (height, width, 4) with values from 0 to 255 in RGB order (dtype uint8).
        boxes: (left, top, right, bottom) in pixels of the upright image, one per person.
        name: The name of an image that is given as pixels.

    Raises:
        ImageError: The array has another shape or dtype.
        BoxError: A box is empty, not finite, or given as shares of the image.
        DataError: A box does not have four numbers.
    """
    if isinstance(image, str | Path):
        reference = ImageRef(path=Path(image))
    else:
        pixels = _from_array(image) if isinstance(image, np.ndarray) else image
        if not isinstance(pixels, Image.Image):
            raise ImageError(
                f"cannot read an image from {type(image).__name__}",
                hint="give a path, a PIL image or a NumPy array",
            )
        try:
            pixels.load()  # an image of a file that was only opened so far
        except Exception as error:  # hostile bytes make decoders raise nearly anything
            raise ImageError(
                f"{name} cannot be read: {first_line(error)}", hint="give an image that is complete"
            ) from error
        reference = ImageRef(path=Path(name), pixels=pixels)
    return Source(image=reference, boxes=tuple(map(_to_box, () if boxes is None else boxes)))


def open_sources(sources: ImageLike | Iterable[object]) -> Iterator[Source]:
    """The images of a path, folder, glob pattern, PIL image, array, or an iterable of these, in order.

    The images of a folder and of a pattern come in the order of their names; a folder is not searched
    recursively. An item of an iterable may be a pair (image, boxes). An item that cannot be used, such as a
    clip in a folder, is returned in its place with its error.

    Raises:
        DataError: The folder holds no image, or the pattern matches nothing.
    """
    if isinstance(sources, str | Path):
        for path in _expand(sources):
            yield open_source(path)
    elif isinstance(sources, Image.Image | np.ndarray):
        yield open_source(sources)
    else:
        for index, item in enumerate(sources):
            name = f"image {index}"
            try:
                yield from _open_item(item, name)
            except MienError as error:
                yield Source(image=ImageRef(path=Path(_name_of(item, name))), error=error)


def _name_of(item: object, name: str) -> str:
    image = item[0] if isinstance(item, tuple) and item else item
    return str(image) if isinstance(image, str | Path) else name


def _open_item(item: object, name: str) -> Iterator[Source]:
    if isinstance(item, tuple) and len(item) == 2:
        image, boxes = item
        yield open_source(image, boxes, name=name)
    elif isinstance(item, str | Path):
        for path in _expand(item):
            yield open_source(path)
    elif isinstance(item, Image.Image | np.ndarray):
        yield open_source(item, name=name)
    else:
        raise ImageError(
            f"cannot read an image from {type(item).__name__}",
            hint="give paths, PIL images, NumPy arrays, or pairs of an image and its boxes",
        )


def _expand(place: str | Path) -> list[Path]:
    """The files of a folder or pattern; a path that exists is never taken for a pattern."""
    path = Path(place)
    try:
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if _is_listed(file))
            if not found:
                raise DataError(f"no image in {path}", hint="name the images, or the folder that they are in")
            return found
        if not path.exists() and _GLOB_CHARACTERS & set(str(place)):
            matches = sorted(Path(match) for match in glob.glob(str(place), recursive=True))  # noqa: PTH207  the pattern may be absolute
            found = [match for match in matches if not match.is_dir()]
            if not found:
                raise DataError(f"no file matches {place}", hint="check the pattern")
            return found
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="check its name and rights"
        ) from error
    except ValueError as error:  # a NUL in a pattern
        raise DataError(f"{path} cannot be read: {error}", hint="check its name") from error
    return [path]


def _is_listed(file: Path) -> bool:
    """Whether a file of a folder is an image or clip, by its ending, or else by its content.

    Clips and images of other formats are listed, too: they fail by name, rather than be passed over.
    """
    suffix = file.suffix.lower()
    if file.name.startswith("._"):  # companions that macOS writes
        return False
    if suffix in FOLDER_SUFFIXES or suffix in CLIP_SUFFIXES:
        return True
    return file.is_file() and sniff_file(file).role != "other"


def _from_array(array: np.ndarray) -> Image.Image:
    shape_is_known = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in {3, 4})
    if array.dtype != np.uint8 or not shape_is_known or 0 in array.shape:
        raise ImageError(
            f"an array of shape {array.shape} and dtype {array.dtype} is not an image",
            hint="give uint8 values from 0 to 255 in shape (height, width, 3), RGB",
        )
    return Image.fromarray(array)


def _to_box(box: BoxLike) -> Box:
    try:
        return parse_box(box)
    except BoxError:
        raise
    except DataError as error:
        raise DataError(
            str(error), hint="give a list of boxes, as in boxes=[(left, top, right, bottom)]"
        ) from error
