"""Where the pixels of a photo are in the squares that an encoder reads, and in which cell of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mien.media.images import Marking, Square, crop_edges
from mien.types import Box

__all__ = ["CellGrid", "SquareView", "square_view"]


@dataclass(frozen=True, slots=True)
class CellGrid:
    """A photo cut into equal cells, row by row.

    Attributes:
        size: (width, height) of the photo in pixels.
        rows: Number of rows.
        columns: Number of columns.
    """

    size: tuple[int, int]
    rows: int
    columns: int

    @classmethod
    def fit(cls, size: tuple[int, int], cells: int) -> CellGrid:
        """A grid of about square cells, with this many along the longer side."""
        width, height = size
        longer = max(size)
        return cls(size, max(1, round(cells * height / longer)), max(1, round(cells * width / longer)))

    @property
    def num_cells(self) -> int:
        return self.rows * self.columns

    def cell_at(
        self, x: Float[np.ndarray, "*place"], y: Float[np.ndarray, "*place"]
    ) -> Int[np.ndarray, "*place"]:
        """The index of the cell at each place of the photo, in pixels; -1 outside of it."""
        width, height = self.size
        column = np.floor(x * self.columns / width).astype(np.int64)
        row = np.floor(y * self.rows / height).astype(np.int64)
        is_inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        return np.where(is_inside, row * self.columns + column, -1)


@dataclass(frozen=True, slots=True)
class SquareView:
    """How a square shows a photo: x in the photo is `left + x / scale_x` for x in the square, and so is y.

    Attributes:
        side: Of the square, in pixels.
        left: Where the left edge of the square is, in pixels of the photo; negative with padding.
        top: Where its top edge is.
        scale_x: Pixels of the square per pixel of the photo, horizontally.
        scale_y: The same, vertically.
        shown: (left, top, right, bottom) of the part of the photo that the square shows.
    """

    side: int
    left: float
    top: float
    scale_x: float
    scale_y: float
    shown: tuple[float, float, float, float]

    def cells(self, grid: CellGrid) -> Int[np.ndarray, "height width"]:
        """The cell that each pixel of the square shows; -1 where it shows none of the photo."""
        centers = np.arange(self.side) + 0.5
        x, y = np.meshgrid(self.left + centers / self.scale_x, self.top + centers / self.scale_y)
        left, top, right, bottom = self.shown
        is_shown = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        return np.where(is_shown, grid.cell_at(x, y), -1)

    def cell_edges(
        self, grid: CellGrid
    ) -> tuple[Float[np.ndarray, " column_edge"], Float[np.ndarray, " row_edge"]]:
        """The edges of columns and rows in pixels of the square, bounded to what is shown."""
        left, top, right, bottom = self.shown
        x = np.linspace(0, grid.size[0], grid.columns + 1).clip(left, right)
        y = np.linspace(0, grid.size[1], grid.rows + 1).clip(top, bottom)
        return (x - self.left) * self.scale_x, (y - self.top) * self.scale_y

    def content(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the pixels of the square that show the photo."""
        left, top, right, bottom = self.shown
        edges = (
            (left - self.left) * self.scale_x,
            (top - self.top) * self.scale_y,
            (right - self.left) * self.scale_x,
            (bottom - self.top) * self.scale_y,
        )
        first, second, third, fourth = (min(self.side, max(0, round(edge))) for edge in edges)
        return first, second, max(first + 1, third), max(second + 1, fourth)


def square_view(size: tuple[int, int], box: Box | None, marking: Marking, square: Square) -> SquareView:
    """The view of a photo that an encoder reads.

    Args:
        size: (width, height) of the upright photo.
        box: The subject's box in it.
        marking: How the subject is marked; the style "crop" shows a part of the photo.
        square: What the encoder takes.
    """
    left, top, right, bottom = 0, 0, *size
    if marking.style == "crop" and box is not None:
        left, top, right, bottom = crop_edges(box.clip(*size), size)
    width, height, side = right - left, bottom - top, square.side
    if square.mode == "squash":
        x, y, scale_x, scale_y = float(left), float(top), side / width, side / height
    elif square.mode == "letterbox":
        scale = side / max(width, height)
        inner = [max(1, round(edge * scale)) for edge in (width, height)]
        scale_x, scale_y = inner[0] / width, inner[1] / height
        x = left - (side - inner[0]) // 2 / scale_x
        y = top - (side - inner[1]) // 2 / scale_y
    else:  # the center
        scale_x = scale_y = side / min(width, height)
        x = left + (width - min(width, height)) / 2
        y = top + (height - min(width, height)) / 2
    shown = (
        max(float(left), x),
        max(float(top), y),
        min(float(right), x + side / scale_x),
        min(float(bottom), y + side / scale_y),
    )
    return SquareView(side=side, left=x, top=y, scale_x=scale_x, scale_y=scale_y, shown=shown)
