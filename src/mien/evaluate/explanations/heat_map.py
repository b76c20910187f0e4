"""Importance of the places of a photo, drawn on it in colors that people with color blindness distinguish."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFont
from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

from mien.types import Box

__all__ = ["AGAINST", "FOR", "HeatMap", "HeatMapDict", "draw_heat_map"]

# Okabe and Ito's orange and blue.
FOR: Final = "#D55E00"
AGAINST: Final = "#0072B2"

_SIDE: Final = 480  # pixels of the longer side of a drawn map, at least
_MAX_SIDE: Final = 1280
_OPACITY: Final = 0.78  # of the strongest color
_FADE: Final = 0.45  # of the photo towards white, so that colors are the darkest there is
_LEGEND: Final = 26  # pixels
_INK: Final = "#1A1A1A"


class HeatMapDict(TypedDict):
    """`HeatMap` as plain values."""

    method: str
    values: list[list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """A value for each cell of a photo.

    Attributes:
        method: "attention" or "occlusion".
        values: Shape (row, column); cells cover the photo evenly. Of attention, the shares of the attention
            to the photo, which sum to 1. Of occlusion, by how much the score drops while a cell is hidden;
            negative where it rises.
    """

    method: str
    values: Float[np.ndarray, "row column"] = field(repr=False, compare=False)

    def share(self, mask: Bool[np.ndarray, "height width"]) -> float:
        """Which share of the importance is in a part of the photo; NaN if nothing is important.

        Only positive values count. A map without information has the part's share of the area.

        Args:
            mask: True inside, one value per pixel of the photo.
        """
        positive = self.values.clip(min=0)
        inside = _resize(mask.astype(np.float64), positive.shape)
        whole = positive.sum()
        return float((positive * inside).sum() / whole) if whole > 0 else float("nan")

    def to_dict(self) -> HeatMapDict:
        """Plain values for JSON."""
        return {"method": self.method, "values": [[float(value) for value in row] for row in self.values]}


def _resize(
    values: Float[np.ndarray, "height width"], shape: tuple[int, ...]
) -> Float[np.ndarray, "row column"]:
    """The mean of the values in each cell."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BOX), dtype=np.float64)


def draw_heat_map(image: Image.Image, heat_map: HeatMap, box: Box | None, title: str) -> Image.Image:
    """The photo in pale gray with the map in color, the person's box, and a legend.

    Orange speaks for the label and blue against it. The strongest color has the largest value of the map.

    Args:
        image: The upright photo.
        heat_map: Its map.
        box: The person's box in pixels of the photo.
        title: Of the legend.
    """
    scale = min(max(1.0, _SIDE / max(image.size)), _MAX_SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    gray = np.asarray(image.convert("L").resize(size, Image.Resampling.BICUBIC), dtype=np.float64)
    pale = np.repeat((255 - (255 - gray) * (1 - _FADE))[:, :, None], 3, axis=2)
    strength = _strength(heat_map, size)
    opacity = _OPACITY * np.abs(strength)[:, :, None]
    color = np.where(strength[:, :, None] >= 0, _rgb(FOR), _rgb(AGAINST))
    drawn = Image.fromarray((pale * (1 - opacity) + color * opacity).round().clip(0, 255).astype(np.uint8))
    if box is not None:
        edges = [edge * scale for edge in box.clip(*image.size).as_tuple()]
        draw = ImageDraw.Draw(drawn)
        draw.rectangle((*edges[:2], edges[2] - 1, edges[3] - 1), outline="#FFFFFF", width=4)
        draw.rectangle((edges[0] + 1, edges[1] + 1, edges[2] - 2, edges[3] - 2), outline=_INK, width=2)
    return _with_legend(drawn, title, has_negative=bool((heat_map.values < 0).any()))


def _strength(heat_map: HeatMap, size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
    """From -1 to 1, smooth between the middles of cells."""
    image = Image.fromarray(heat_map.values.astype(np.float32))
    smooth = np.asarray(image.resize(size, Image.Resampling.BILINEAR), dtype=np.float64)
    largest = np.abs(heat_map.values).max()
    return smooth / largest if largest > 0 else np.zeros_like(smooth)


def _with_legend(drawn: Image.Image, title: str, *, has_negative: bool) -> Image.Image:
    canvas = Image.new("RGB", (drawn.width, drawn.height + _LEGEND), "#FFFFFF")
    canvas.paste(drawn)
    draw, y = ImageDraw.Draw(canvas), drawn.height + 6
    font = ImageFont.load_default(size=13)
    x = 6.0
    entries = [(FOR, title), *([(AGAINST, "against")] if has_negative else [])]
    for color, text in entries:
        draw.rectangle((x, y, x + 14, y + 14), fill=color, outline=_INK)
        draw.text((x + 20, y), text, fill=_INK, font=font)
        x += 34 + draw.textlength(text, font=font)
    return canvas


def _rgb(color: str) -> Float[np.ndarray, " channel"]:
    return np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)], dtype=np.float64)
