"""Small images of many people, as large as a budget of bytes allows."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from mien.evaluate.results.examples import Example
from mien.media.images import draw_mark
from mien.prefetch import prefetch, thread_pool
from mien.report.page_images import RED_BOX
from mien.report.photos import Photo, PhotoReader
from mien.types import Box

__all__ = ["MAX_SIDE", "Thumbnail", "make_thumbnails"]

MAX_SIDE: Final = 224  # pixels
_MIN_SIDE: Final = 56  # below that, little can be seen
_FIRST_SIDE: Final = 128
_QUALITY: Final = 35  # a larger image tells more than a smoother one of as many bytes
_METHOD: Final = 2  # of the encoder: slower ones save less than a tenth
_GROWTH: Final = 1.7  # bytes grow as about this power of the side
_TRIES: Final = 4
_MAX_THREADS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A image as a data URI with its size in pixels, or "" and the reason."""

    source: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


_NO_SPACE: Final = Thumbnail(reason="no space for it on this page")


def make_thumbnails(
    reader: PhotoReader, examples: Sequence[Example], num_bytes: int
) -> Mapping[str, Thumbnail]:
    """The images of people with the red box, by id; each photo is opened once.

    Everyone may have the same number of bytes. Who does not fit into them even with the smallest image may
    have what others left, and has no image if that is used up.

    Args:
        reader: Opens photos.
        examples: The people.
        num_bytes: Of all data URIs together, at most.
    """
    if reader.mode == "none" or not examples:
        return {example.id: Thumbnail(reason="left out") for example in examples}
    largest = num_bytes // len(examples)
    groups: dict[object, list[Example]] = {}
    for example in examples:
        groups.setdefault(reader.place(example), []).append(example)

    def render(group: list[Example]) -> list[tuple[str, Thumbnail]]:
        photos = reader.read_all(group)
        return [
            (example.id, _thumbnail(photo, largest)) for example, photo in zip(group, photos, strict=True)
        ]

    workers = min(_MAX_THREADS, os.cpu_count() or 1)
    with thread_pool(workers) as pool:
        rendered = prefetch(render, groups.values(), pool=pool, window=4 * workers)
        found = dict(item for items in rendered for item in items)
    left = num_bytes - sum(len(item.source) for item in found.values() if len(item.source) <= largest)
    for id, item in found.items():
        if len(item.source) > largest:
            if len(item.source) <= left:
                left -= len(item.source)
            else:
                found[id] = _NO_SPACE
    return found


def _thumbnail(photo: Photo, max_bytes: int) -> Thumbnail:
    """About the largest image that fits, or the smallest if none does; bytes depend on the content."""
    if photo.image is None:
        return Thumbnail(reason=photo.reason)
    largest = min(MAX_SIDE, max(photo.image.size))
    best, side = None, min(_FIRST_SIDE, largest)
    for _ in range(_TRIES):
        found = _encode(photo.image, photo.box, side)
        if len(found.source) <= max_bytes:
            best = found if best is None else max(best, found, key=lambda item: item.width)
        fitting = side * (0.97 * max_bytes / len(found.source)) ** (1 / _GROWTH)
        following = round(min(largest, max(_MIN_SIDE, fitting)))
        if following == side or (best and following < 1.1 * max(best.width, best.height)):
            break
        side = following
    return best or _encode(photo.image, photo.box, min(_MIN_SIDE, largest))


def _encode(image: Image.Image, box: Box | None, side: int) -> Thumbnail:
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if box is not None:
        # Drawn after shrinking, so that the line stays visible.
        edges = [edge * scale for edge in box.as_tuple()]
        small = draw_mark(small, Box(left=edges[0], top=edges[1], right=edges[2], bottom=edges[3]), RED_BOX)
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=_QUALITY, method=_METHOD)
    source = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Thumbnail(source=source, width=size[0], height=size[1])
