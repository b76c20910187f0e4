"""How much of a photo is decoded: a JPEG decoder makes a half or a quarter of its size in less time.

A model that takes a small square sees no more in the whole. The scale follows from the content of the file,
the box and the view alone, so keys of descriptions and features can state it before anything is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mien.media.augment import LARGEST_CUT
from mien.media.images import ImageIdentity, Marking, Square
from mien.types import Box

__all__ = ["View"]

# The decoded image has at least so many times the side of the square. Pillow calls the result of its
# `reducing_gap=2.0` nearly the same as that of resizing the whole.
_GAP: Final = 2
# An eighth would save little more, and the two models of a prediction, whose squares differ, would share a
# decoded photo less often.
_SCALES: Final = (4, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a subject is shown to a model.

    Attributes:
        marking: How the subject is marked.
        square: What the images are fitted to; None if they keep their size, and so all of their pixels.
        is_varied: Whether a variation may cut off its sides.
    """

    marking: Marking
    square: Square | None = None
    is_varied: bool = False

    def scale_of(self, image: ImageIdentity, box: Box | None) -> int:
        """At which scale a file is decoded; the pixels of one of scale 1 are all of those in the file."""
        return 1 if image.shrinkable_size is None else self.scale(image.shrinkable_size, box)

    def scale(self, size: tuple[int, int], box: Box | None) -> int:
        """At which scale a JPEG of this (width, height), upright or as stored, is decoded: 1, 2 or 4."""
        if self.square is None:
            return 1
        enough = _GAP * self.square.side / (1 - 2 * LARGEST_CUT if self.is_varied else 1)
        if max(size) < 2 * enough:  # nearly every image of a dataset
            return 1
        if box is not None and self.marking.style == "crop":
            size = _part_inside(box, size)
        side = max(size) if self.square.mode == "letterbox" else min(size)
        return next((scale for scale in _SCALES if side >= scale * enough), 1)


def _part_inside(box: Box, size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the part of a box inside an image; the smaller, as the image may be turned."""
    parts = [
        (min(box.right, width) - max(box.left, 0), min(box.bottom, height) - max(box.top, 0))
        for width, height in (size, size[::-1])
    ]
    inside = [part for part in parts if min(part) > 0] or [(0, 0)]
    return int(min(width for width, _ in inside)), int(min(height for _, height in inside))
