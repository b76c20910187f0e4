"""Variations of an image, such as its mirror image, with the subject's box transformed accordingly.

A variation is determined by a name and a number, so that features of varied images can be cached. It is
applied before the subject is marked, and never cuts into a box. Descriptions are of the original image: in a
mirror image, their "left" is right.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from PIL import Image, ImageEnhance, ImageOps

from mien.recipe.features import AugmentKind
from mien.types import Box

__all__ = ["LARGEST_CUT", "Variation", "draw_variation", "vary"]

_VERSION: Final = 1  # raise this when a variation gives other pixels
LARGEST_CUT: Final = 0.2  # of a side, at each end
_LARGEST_CHANGE: Final = 0.3  # of brightness, contrast and color

Frames = Sequence[tuple[Image.Image, Box | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """A transformation of an image.

    Attributes:
        cut: Shares of the sides to remove at left, top, right and bottom, before flipping.
        flip: Mirror the image horizontally.
        brightness: Factor; 1 for no change.
        contrast: Factor; 1 for no change.
        color: Factor; 1 for no change.
    """

    cut: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    flip: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    color: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """JSON values that change if and only if varied images may change."""
        return {"version": _VERSION, **asdict(self)}


def draw_variation(kinds: Sequence[AugmentKind], *, name: str, number: int) -> Variation | None:
    """Draws the variation of a name and number, of these kinds; None for the original, which is number 0."""
    if number == 0:
        return None
    rng = random.Random(f"{name} {number}")
    left, top, right, bottom = (rng.uniform(0, LARGEST_CUT) for _ in range(4))
    factors = [1 + rng.uniform(-_LARGEST_CHANGE, _LARGEST_CHANGE) for _ in range(3)]
    brightness, contrast, color = factors if "color" in kinds else (1.0, 1.0, 1.0)
    drawn = Variation(
        cut=(left, top, right, bottom) if "crop" in kinds else (0.0, 0.0, 0.0, 0.0),
        flip="flip" in kinds
        and number % 2 == 1,  # alternating, so that variants differ even if there are few
        brightness=brightness,
        contrast=contrast,
        color=color,
    )
    return None if drawn == Variation() else drawn


def vary(frames: Frames, variation: Variation | None) -> list[tuple[Image.Image, Box | None]]:
    """Varies the images of one subject and their boxes, all in the same way; None leaves them unchanged.

    Every frame of a clip loses the same shares of its sides, and never part of a box.
    """
    if variation is None:
        return list(frames)
    cut = _limit_cut(frames, variation.cut)
    varied = []
    for image, box in frames:
        window = _window(image.size, cut)
        kept = image.crop(window)
        moved = None if box is None else _shift(box, window)
        if variation.flip:
            kept = ImageOps.mirror(kept)
            moved = None if moved is None else _mirror(moved, kept.width)
        varied.append((_adjust_color(kept, variation), moved))
    return varied


def _limit_cut(frames: Frames, cut: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The shares that can be removed without cutting into a box."""
    left, top, right, bottom = cut
    for image, box in frames:
        if box is not None:
            width, height = image.size
            left, right = min(left, box.left / width), min(right, 1 - box.right / width)
            top, bottom = min(top, box.top / height), min(bottom, 1 - box.bottom / height)
    # A box can extend beyond its image.
    return max(0.0, left), max(0.0, top), max(0.0, right), max(0.0, bottom)


def _window(size: tuple[int, int], cut: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """The remaining window in pixels, rounded outwards so that boxes stay whole."""
    width, height = size
    left, top, right, bottom = cut
    return (int(left * width), int(top * height), width - int(right * width), height - int(bottom * height))


def _shift(box: Box, window: tuple[int, int, int, int]) -> Box:
    left, top = window[:2]
    return Box(left=box.left - left, top=box.top - top, right=box.right - left, bottom=box.bottom - top)


def _mirror(box: Box, width: int) -> Box:
    return Box(left=width - box.right, top=box.top, right=width - box.left, bottom=box.bottom)


def _adjust_color(image: Image.Image, variation: Variation) -> Image.Image:
    for enhancer, factor in (
        (ImageEnhance.Brightness, variation.brightness),
        (ImageEnhance.Contrast, variation.contrast),
        (ImageEnhance.Color, variation.color),
    ):
        if factor != 1.0:
            image = enhancer(image).enhance(factor)
    return image
