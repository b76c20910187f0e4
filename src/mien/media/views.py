"""A subject as models see it: its image, or the frames of its clip, each marked and fitted.

An encoder gets every frame. A describing model gets every frame if it accepts several images; otherwise the
middle frame, or a contact sheet of all frames.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final, get_args

from PIL import Image

from mien.errors import BoxError, unknown_name
from mien.media.augment import Variation, vary
from mien.media.boxes import fits_only_turned
from mien.media.clips import frame_pixels, read_frames
from mien.media.decode import ChooseScale, decoded_pixels
from mien.media.images import (
    LoadedImage,
    Marking,
    Square,
    check_box,
    crop_pixels,
    draw_mark,
    fit_to_square,
    load_image_file,
    place_in_mark,
    upright_rgb,
)
from mien.media.memory import Reservation, image_bytes
from mien.media.shrink import View
from mien.recipe.describe import ClipView
from mien.recipe.features import FitMode
from mien.types import Box, ImageRef, Subject

__all__ = [
    "CLIP_VIEWS",
    "OpenedPhoto",
    "check_box_orientation",
    "load_frames",
    "load_image",
    "prepare_frames",
    "prepare_image",
    "prepare_images",
    "prepare_with_boxes",
    "prepared_bytes",
    "select_frames",
]

log = logging.getLogger(__name__)

CLIP_VIEWS: Final[tuple[ClipView, ...]] = get_args(ClipView)
_MAY: Final = "it may mark another region"
_SHEET: Final = 1344  # pixels per side of a contact sheet if the model has no fixed size
_GAP: Final = (255, 255, 255)

# An image, the box in it, and pixels of the file per pixel of the image.
_Frame = tuple[Image.Image, Box | None, int]


def select_frames(subject: Subject, clip: ClipView) -> Subject:
    """The subject with only the frames that this view shows.

    The middle frame is the one nearest to the middle that has a box.
    """
    if clip not in CLIP_VIEWS:
        raise unknown_name("view of a clip", clip, CLIP_VIEWS)
    if clip != "middle_frame" or len(subject.images) == 1:
        return subject
    middle = (len(subject.images) - 1) / 2
    index = min(range(len(subject.images)), key=lambda i: (subject.boxes[i] is None, abs(i - middle), i))
    return replace(subject, images=(subject.images[index],), boxes=(subject.boxes[index],))


class OpenedPhoto:
    """The last photo that was decoded, for the people and models that see it next. Not for several threads.

    It also holds the last squares that were made for a model, because a second model often takes the same.

    Args:
        memory: Gets what the photo takes, with a copy of it; by default each preparation reserves its own.
    """

    def __init__(self, memory: Reservation | None = None) -> None:
        self.memory = memory
        self._image: ImageRef | None = None
        self._scale = 1
        self._loaded: LoadedImage | None = None
        self._squares: tuple[Subject, Marking, Square, tuple[Image.Image, ...]] | None = None

    def load(self, image: ImageRef, memory: Reservation | None, choose_scale: ChooseScale) -> LoadedImage:
        """The image of `load_image`, which is a still."""
        loaded = self._loaded
        if loaded is not None and self._image == image and _scale(loaded, choose_scale) == self._scale:
            if memory is not None:
                memory.hold(2 * image_bytes("RGB", *loaded.image.size))
            return loaded
        loaded = self._loaded = None  # before another is decoded
        self._loaded = loaded = load_image(image, memory, choose_scale)
        self._image, self._scale = image, _scale(loaded, choose_scale)
        return loaded

    def squares(
        self, subject: Subject, marking: Marking, square: Square, make: Callable[[], tuple[Image.Image, ...]]
    ) -> tuple[Image.Image, ...]:
        """The images of a subject, marked and fitted; made if the last ones were others."""
        last = self._squares
        if last is not None and last[0] is subject and last[1:3] == (marking, square):
            return last[3]
        self._squares = (subject, marking, square, make())
        return self._squares[3]


def _scale(loaded: LoadedImage, choose_scale: ChooseScale) -> int:
    return choose_scale(loaded.full_size) if loaded.is_shrinkable else 1


def load_frames(
    subject: Subject,
    memory: Reservation | None = None,
    *,
    view: View | None = None,
    photo: OpenedPhoto | None = None,
) -> Iterator[LoadedImage]:
    """The images of a subject, in order, upright and RGB; each clip is opened once.

    Args:
        subject: Who.
        memory: Gets what the next image takes, with a copy of it.
        view: How they will be shown; a JPEG may be decoded at a smaller size for it.
        photo: Keeps the last one.
    """
    photo = photo or OpenedPhoto()
    shown = view or View(marking=Marking())
    by_file: dict[object, list[int]] = {}
    for image in subject.images:
        if image.frame is not None:
            by_file.setdefault(image.path, []).append(image.frame)
    pending: dict[object, Iterator[Image.Image]] = {}
    for image, box in zip(subject.images, subject.boxes, strict=True):
        if image.frame is None:
            yield photo.load(image, memory, partial(shown.scale, box=box))
            continue
        if image.path not in pending:
            pending[image.path] = iter(read_frames(image.path, by_file[image.path], memory))
        frame = next(pending[image.path])
        yield LoadedImage(frame, frame.size)


def load_image(
    image: ImageRef, memory: Reservation | None = None, choose_scale: ChooseScale | None = None
) -> LoadedImage:
    """The image of a reference, upright and RGB, at the scale that is chosen for its size if it is a JPEG.

    Raises:
        ImageError: The file cannot be read as an image.
        ClipError: The frame cannot be read.
    """
    if image.pixels is not None:
        pixels = upright_rgb(image.pixels)
        return LoadedImage(pixels, pixels.size, is_turned=pixels.size != image.pixels.size)
    if image.frame is not None:
        (frame,) = read_frames(image.path, [image.frame], memory)
        return LoadedImage(frame, frame.size)
    return load_image_file(image.path, memory=memory, choose_scale=choose_scale)


def prepared_bytes(subject: Subject, marking: Marking) -> int:
    """About how much memory the marked images of a subject will take, by their headers."""
    pixels = 0
    for image, box in zip(subject.images, subject.boxes, strict=True):
        num_pixels = _num_pixels(image)
        if box is not None and marking.style == "crop":
            num_pixels = min(num_pixels, crop_pixels(box))
        pixels += num_pixels
    return image_bytes("RGB", pixels, 1)


def _num_pixels(image: ImageRef) -> int:
    if image.pixels is not None:
        return image.pixels.width * image.pixels.height
    return decoded_pixels(image.path) if image.frame is None else frame_pixels(image.path)


def _mark_frames(
    subject: Subject,
    *,
    marking: Marking,
    square: Square | None = None,
    variation: Variation | None = None,
    memory: Reservation | None = None,
    photo: OpenedPhoto | None = None,
) -> Iterator[Image.Image]:
    """Every image of a subject in turn: varied and marked.

    Args:
        subject: Who.
        marking: How the box is marked.
        square: What the caller will fit the images to; large photos are then decoded at a smaller size.
        variation: How the images are varied, if at all.
        memory: Gets what the next image takes, with a copy of it.
        photo: Keeps the last photo.
    """
    view = View(marking=marking, square=square, is_varied=variation is not None)
    frames: Iterable[_Frame] = _frames_with_boxes(subject, memory, view, photo)
    if variation is not None:
        whole = list(frames)
        varied = vary([(image, box) for image, box, _ in whole], variation)
        frames = [(image, box, scale) for (image, box), (*_, scale) in zip(varied, whole, strict=True)]
    return (draw_mark(image, box, marking, scale) for image, box, scale in frames)


def check_box_orientation(
    subject: Subject, image: ImageRef, box: Box, size: tuple[int, int], *, is_turned: bool = False
) -> None:
    """Checks that a box was drawn on the upright image, as far as one can know when the image is opened.

    A size that the annotations state and the image does not have is a warning. So is a box that the upright
    image does not contain, but the image as stored does.

    Args:
        subject: Who.
        image: One of the subject's images.
        box: The subject's box in it.
        size: Its (width, height), upright.
        is_turned: Whether width and height are exchanged in its file.

    Raises:
        BoxError: The annotations state the size before the image's EXIF orientation is applied, so the box
            would mark another region.
    """
    stated = subject.stated_size
    if stated is None:
        if fits_only_turned(box, size) and (image.frame is not None or is_turned):
            _warn(f"the box of {subject.id!r} fits {image.path} only as stored, not upright; {_MAY}")
        return
    if stated == size:
        return
    said, actual = (f"{width} x {height} pixels" for width, height in (stated, size))
    if stated == size[::-1] and (image.frame is not None or is_turned):
        raise BoxError(
            f"the box of {subject.id!r} was drawn on {image.path} as stored, {said}, but upright "
            f"the image has {actual}",
            hint="turn the box as the EXIF orientation says, and state the upright size",
        )
    _warn(f"{image.path} has {actual}, but its annotations state {said}; {_MAY}")


@lru_cache(maxsize=1)
def _warn(message: str) -> None:
    """Only once for one image after another."""
    log.warning("%s", message)


def _frames_with_boxes(
    subject: Subject, memory: Reservation | None, view: View, photo: OpenedPhoto | None
) -> Iterator[_Frame]:
    frames = load_frames(subject, memory, view=view, photo=photo)
    for image, loaded, box in zip(subject.images, frames, subject.boxes, strict=True):
        if box is not None:
            check_box_orientation(subject, image, box, loaded.full_size, is_turned=loaded.is_turned)
            check_box(box, loaded.full_size)
        yield loaded.image, loaded.place(box), loaded.scale


def prepare_frames(
    subject: Subject,
    *,
    marking: Marking,
    variation: Variation | None = None,
    fit_mode: FitMode = "letterbox",
    size: int | None = None,
    photo: OpenedPhoto | None = None,
) -> tuple[Image.Image, ...]:
    """Every image of a subject: varied, marked, and fitted to a square if a size is given.

    With `photo`, the photo of the last call is decoded only once, and the same squares are made only once.
    """
    square = None if size is None else Square(size, fit_mode)

    def prepare() -> tuple[Image.Image, ...]:
        with _reserved(photo) as memory:
            marked = _mark_frames(
                subject, marking=marking, square=square, variation=variation, memory=memory, photo=photo
            )
            return tuple(image if square is None else square(image) for image in marked)

    if photo is None or square is None or variation is not None:
        return prepare()
    return photo.squares(subject, marking, square, prepare)


@contextmanager
def _reserved(photo: OpenedPhoto | None) -> Iterator[Reservation]:
    """The reservation of an opened photo, or a new one."""
    if photo is not None and photo.memory is not None:
        yield photo.memory
        return
    with Reservation() as memory:
        yield memory


def prepare_image(
    subject: Subject,
    *,
    marking: Marking,
    clip: ClipView = "middle_frame",
    fit_mode: FitMode = "letterbox",
    size: int | None = None,
    photo: OpenedPhoto | None = None,
) -> Image.Image:
    """One image of a subject, or its clip in this view; marked, and fitted if a size is given."""
    selected = select_frames(subject, clip)
    if len(selected.images) == 1:
        return prepare_frames(selected, marking=marking, fit_mode=fit_mode, size=size, photo=photo)[0]
    frames = prepare_frames(selected, marking=marking, photo=photo)
    return _draw_contact_sheet(frames, size or _SHEET, fit_mode)


def prepare_images(
    subject: Subject,
    *,
    marking: Marking,
    clip: ClipView = "middle_frame",
    fit_mode: FitMode = "letterbox",
    size: int | None = None,
    photo: OpenedPhoto | None = None,
) -> tuple[Image.Image, ...]:
    """The input of a describing model: every frame in the view "frames", else one image."""
    if clip == "frames":
        return prepare_frames(subject, marking=marking, fit_mode=fit_mode, size=size, photo=photo)
    shown = prepare_image(subject, marking=marking, clip=clip, fit_mode=fit_mode, size=size, photo=photo)
    return (shown,)


def prepare_with_boxes(
    subject: Subject, *, marking: Marking, clip: ClipView = "middle_frame", photo: OpenedPhoto | None = None
) -> tuple[tuple[Image.Image, ...], tuple[Box | None, ...]]:
    """The input of a model that takes boxes: the frames of the view without a red line, and the boxes.

    The marking "none" keeps boxes from the model. Of a contact sheet, it gets the frames.
    """
    shown = select_frames(subject, clip)
    with _reserved(photo) as memory:
        frames = _frames_with_boxes(shown, memory, View(marking=marking), photo)
        placed = [place_in_mark(image, box, marking) for image, box, _ in frames]
    return tuple(image for image, _ in placed), tuple(box for _, box in placed)


def _draw_contact_sheet(frames: tuple[Image.Image, ...], size: int, fit_mode: FitMode) -> Image.Image:
    """A square of frames, in reading order."""
    columns = math.ceil(math.sqrt(len(frames)))
    cell = max(1, size // columns)
    sheet = Image.new("RGB", (size, size), _GAP)
    for index, frame in enumerate(frames):
        row, column = divmod(index, columns)
        sheet.paste(fit_to_square(frame, cell, fit_mode), (column * cell, row * cell))
    return sheet
