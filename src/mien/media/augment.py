"""Variations of a picture, such as its mirror image, in which the subject's box moves along.

Goes in: upright pictures of one subject with its boxes, before anything is marked. Comes out: varied ones.
Knows nothing about: models, marking, labels, when a variation is shown.

A variation follows from a name and a number alone, so that features of varied pictures can be cached. No
variation cuts into a box. A description is of the picture as it is: of a mirror image, its "left" is right.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from PIL import Image, ImageEnhance, ImageOps

from mien.recipe.features import AugmentKind
from mien.types import Box

__all__ = ["Variation", "draw_variation", "vary"]

_VERSION: Final = 1  # raise it when the same variation gives other pixels
_LARGEST_CUT: Final = 0.2  # of a side, at each end
_LARGEST_CHANGE: Final = 0.3  # of brightness, contrast and colour

Frames = Sequence[tuple[Image.Image, Box | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """What is done to a picture. `cut`: shares of its sides that go, at left, top, right, bottom, before it
    is flipped; factors of brightness, contrast and colour, 1 for no change."""

    cut: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    flip: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    color: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """JSON values that change if and only if the varied pictures may."""
        return {"version": _VERSION, **asdict(self)}


def draw_variation(kinds: Sequence[AugmentKind], *, name: str, number: int) -> Variation | None:
    """The variation of this number for what is called so, of these kinds; None for none, as number 0 is."""
    if number == 0:
        return None
    lots = random.Random(f"{name} {number}")
    left, top, right, bottom = (lots.uniform(0, _LARGEST_CUT) for _ in range(4))
    factors = [1 + lots.uniform(-_LARGEST_CHANGE, _LARGEST_CHANGE) for _ in range(3)]
    brightness, contrast, color = factors if "color" in kinds else (1.0, 1.0, 1.0)
    drawn = Variation(
        cut=(left, top, right, bottom) if "crop" in kinds else (0.0, 0.0, 0.0, 0.0),
        flip="flip" in kinds and number % 2 == 1,  # not by chance, so that few variants are alike
        brightness=brightness,
        contrast=contrast,
        color=color,
    )
    return None if drawn == Variation() else drawn


def vary(frames: Frames, variation: Variation | None) -> list[tuple[Image.Image, Box | None]]:
    """The pictures of one subject and their boxes, all varied in the same way; None leaves them as they are.

    Of a clip every frame loses the same shares of its sides, and none so much that a box loses any of it.
    """
    if variation is None:
        return list(frames)
    cut = _spare(frames, variation.cut)
    varied = []
    for image, box in frames:
        window = _window(image.size, cut)
        kept = image.crop(window)
        moved = None if box is None else _shifted(box, window)
        if variation.flip:
            kept = ImageOps.mirror(kept)
            moved = None if moved is None else _mirrored(moved, kept.width)
        varied.append((_colored(kept, variation), moved))
    return varied


def _spare(frames: Frames, cut: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The shares that can go without any box losing some of itself."""
    left, top, right, bottom = cut
    for image, box in frames:
        if box is not None:
            width, height = image.size
            left, right = min(left, box.left / width), min(right, 1 - box.right / width)
            top, bottom = min(top, box.top / height), min(bottom, 1 - box.bottom / height)
    # A box may stick out of its picture.
    return max(0.0, left), max(0.0, top), max(0.0, right), max(0.0, bottom)


def _window(size: tuple[int, int], cut: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """Whole pixels, rounded outwards, so that a box stays whole."""
    width, height = size
    left, top, right, bottom = cut
    return (int(left * width), int(top * height), width - int(right * width), height - int(bottom * height))


def _shifted(box: Box, window: tuple[int, int, int, int]) -> Box:
    left, top = window[:2]
    return Box(left=box.left - left, top=box.top - top, right=box.right - left, bottom=box.bottom - top)


def _mirrored(box: Box, width: int) -> Box:
    return Box(left=width - box.right, top=box.top, right=width - box.left, bottom=box.bottom)


def _colored(image: Image.Image, variation: Variation) -> Image.Image:
    for enhancer, factor in (
        (ImageEnhance.Brightness, variation.brightness),
        (ImageEnhance.Contrast, variation.contrast),
        (ImageEnhance.Color, variation.color),
    ):
        if factor != 1.0:
            image = enhancer(image).enhance(factor)
    return image
