"""A subject as models see it: its picture, or the frames of its clip, each marked and fitted.

Goes in: a subject, how it is marked, how a clip is shown. Comes out: pictures.
Knows nothing about: models, labels, how a file is decoded.

An encoder gets every frame. A describing model gets every frame too, if it takes several pictures; else the
frame in the middle, or a contact sheet of all frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, get_args

from PIL import Image

from mien.errors import unknown_name
from mien.media.augment import Variation, vary
from mien.media.clips import read_frames
from mien.media.images import Marking, fit, mark, open_image, upright_rgb
from mien.recipe.describe import ClipView
from mien.recipe.features import FitMode
from mien.types import Box, ImageRef, Subject

__all__ = [
    "CLIP_VIEWS",
    "load_frames",
    "load_image",
    "prepare",
    "prepare_frames",
    "prepare_pictures",
    "viewed",
]

CLIP_VIEWS: Final[tuple[ClipView, ...]] = get_args(ClipView)
_SHEET: Final = 1344  # pixels of a contact sheet's side where a model names no size of its own
_GAP: Final = (255, 255, 255)


def viewed(subject: Subject, clip: ClipView) -> Subject:
    """The subject reduced to the frames that this view shows.

    The frame in the middle is the one nearest to it in which the person's place is known.
    """
    if clip not in CLIP_VIEWS:
        raise unknown_name("view of a clip", clip, CLIP_VIEWS)
    if clip != "middle_frame" or len(subject.images) == 1:
        return subject
    middle = (len(subject.images) - 1) / 2
    index = min(range(len(subject.images)), key=lambda i: (subject.boxes[i] is None, abs(i - middle), i))
    return replace(subject, images=(subject.images[index],), boxes=(subject.boxes[index],))


def load_frames(subject: Subject) -> Iterator[Image.Image]:
    """The pictures of a subject, in order, upright and RGB; each clip is opened once."""
    by_file: dict[object, list[int]] = {}
    for image in subject.images:
        if image.frame is not None:
            by_file.setdefault(image.path, []).append(image.frame)
    waiting: dict[object, Iterator[Image.Image]] = {}
    for image in subject.images:
        if image.frame is None:
            yield load_image(image)
            continue
        if image.path not in waiting:
            waiting[image.path] = iter(read_frames(image.path, by_file[image.path]))
        yield next(waiting[image.path])


def load_image(image: ImageRef) -> Image.Image:
    """The image of a reference, upright and RGB.

    Raises:
        ImageError: The file cannot be read as an image.
        ClipError: The frame cannot be read.
    """
    if image.pixels is not None:
        return upright_rgb(image.pixels)
    if image.frame is not None:
        return next(iter(read_frames(image.path, [image.frame])))
    return open_image(image.path)


def prepare_frames(
    subject: Subject,
    *,
    marking: Marking,
    variation: Variation | None = None,
    fit_mode: FitMode = "letterbox",
    size: int | None = None,
) -> tuple[Image.Image, ...]:
    """Every picture of a subject, varied if asked, marked, and fitted to a square if a size is given."""
    frames: Iterable[tuple[Image.Image, Box | None]] = zip(load_frames(subject), subject.boxes, strict=True)
    if variation is not None:
        frames = vary(list(frames), variation)
    marked = (mark(image, box, marking) for image, box in frames)
    return tuple(image if size is None else fit(image, size, fit_mode) for image in marked)


def prepare(
    subject: Subject,
    *,
    marking: Marking,
    clip: ClipView = "middle_frame",
    fit_mode: FitMode = "letterbox",
    size: int | None = None,
) -> Image.Image:
    """One picture of a subject: the photo itself, or its clip in this view; marked, and fitted if asked."""
    seen = viewed(subject, clip)
    if len(seen.images) == 1:
        return prepare_frames(seen, marking=marking, fit_mode=fit_mode, size=size)[0]
    return _contact_sheet(prepare_frames(seen, marking=marking), size or _SHEET, fit_mode)


def prepare_pictures(
    subject: Subject,
    *,
    marking: Marking,
    clip: ClipView = "middle_frame",
    fit_mode: FitMode = "letterbox",
    size: int | None = None,
) -> tuple[Image.Image, ...]:
    """What a describing model gets to see: every frame in the view "frames", else one picture."""
    if clip == "frames":
        return prepare_frames(subject, marking=marking, fit_mode=fit_mode, size=size)
    return (prepare(subject, marking=marking, clip=clip, fit_mode=fit_mode, size=size),)


def _contact_sheet(frames: tuple[Image.Image, ...], size: int, fit_mode: FitMode) -> Image.Image:
    """A square of frames, in reading order."""
    columns = math.ceil(math.sqrt(len(frames)))
    cell = max(1, size // columns)
    sheet = Image.new("RGB", (size, size), _GAP)
    for index, frame in enumerate(frames):
        row, column = divmod(index, columns)
        sheet.paste(fit(frame, cell, fit_mode), (column * cell, row * cell))
    return sheet
