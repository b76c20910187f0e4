"""One image to predict on, with the boxes of the people in it: from a path, a PIL image or a NumPy array."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from mien.errors import BoxError, DataError, ImageError, MienError, first_line
from mien.media.boxes import parse_box
from mien.types import Box, ImageRef

__all__ = ["BoxLike", "ImageLike", "Source", "open_source", "refuse_address"]

# (left, top, right, bottom) in pixels of the upright image.
BoxLike = Box | Sequence[float]
ImageLike = str | Path | Image.Image | np.ndarray

# Of a path as well, which has lost a slash.
_ADDRESS: Final = re.compile(r"(https?|ftp|file|s3|gs|hf):/|data:", re.IGNORECASE)
_MAX_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One image and the boxes of the people in it, or why it cannot be used.

    Attributes:
        image: The image. The frame of a video has its pixels here.
        boxes: Given boxes; without any, people are looked for, or the whole image is the subject.
        error: Why the image cannot be used.
        video: Which video of the stream a frame belongs to, from 0; None for images.
        frame: The number of the frame, from 0.
        time: Seconds since the first frame of the video.
    """

    image: ImageRef
    boxes: tuple[Box, ...] = ()
    error: MienError | None = None
    video: int | None = None
    frame: int | None = None
    time: float | None = None

    @property
    def name(self) -> str:
        """How the image or video is named in results and messages."""
        return str(self.image.path)

    def released(self) -> Source:
        """The same source without the pixels of a frame, which can be read from the video again."""
        if self.video is None or self.image.pixels is None:
            return self
        return replace(self, image=ImageRef(path=self.image.path, frame=self.frame))


def open_source(image: ImageLike, boxes: Iterable[BoxLike] | None = None, *, name: str = "image") -> Source:
    """One image with its boxes.

    Args:
        image: A path, a PIL image, or an array of shape (height, width), (height, width, 3) or
            (height, width, 4) with values from 0 to 255 in RGB order (dtype uint8).
        boxes: (left, top, right, bottom) in pixels of the upright image, one per person.
        name: The name of an image that is given as pixels.

    Raises:
        ImageError: The array has another shape or dtype, or an address takes the place of a path.
        BoxError: A box is empty, not finite, or given as shares of the image.
        DataError: A box does not have four numbers.
    """
    if isinstance(image, str | Path):
        refuse_address(image)
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


def refuse_address(place: str | Path) -> None:
    """ImageError for an address on the web or the like, unless a file has this name."""
    text = str(place)
    if _ADDRESS.match(text) and not os.path.lexists(place):
        text = re.sub(r"^(\w+):/(?!/)", r"\1://", text) if isinstance(place, Path) else text
        shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} ..."
        raise ImageError(
            f"addresses are not opened: {shown}",
            hint="download the image first, and give the path of the file",
        )


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
