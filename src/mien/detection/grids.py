"""What detectors that predict on grids of cells have in common: input, places of cells, boxes."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float
from PIL import Image

__all__ = ["STRIDES", "decode_boxes", "grid_cells", "letterbox"]

STRIDES: Final = (8, 16, 32)  # pixels of the input per cell, of each of a model's grids
_MAX_LOG_SIZE: Final = 20.0  # larger than any box, so that exp does not overflow


def letterbox(
    image: Image.Image, size: tuple[int, int], padding: int
) -> tuple[Float[np.ndarray, "1 3 height width"], float]:
    """The image in the top left corner of the input, as BGR from 0 to 255, and by how much it was scaled.

    Args:
        image: In RGB.
        size: (height, width) of the input.
        padding: The gray level of the rest.
    """
    height, width = size
    scale = min(height / image.height, width / image.width)
    inner = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    resized = np.asarray(image.resize(inner, Image.Resampling.BILINEAR))
    pixels = np.full((height, width, 3), padding, np.float32)
    pixels[: inner[1], : inner[0]] = resized[:, :, ::-1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]), scale


def grid_cells(size: tuple[int, int], stride: int) -> Float[np.ndarray, "cell 2"]:
    """(column, row) of each cell of a grid, row by row."""
    rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)


def decode_boxes(
    offsets: Float[np.ndarray, "cell 4"],
    cells: Float[np.ndarray, "cell 2"],
    strides: int | Float[np.ndarray, "cell 1"],
) -> Float[np.ndarray, "cell 4"]:
    """Left, top, right and bottom in pixels of the input.

    Args:
        offsets: The center, in cells from its cell, and the logarithms of width and height, in cells.
        cells: (column, row) of each cell.
        strides: Pixels per cell.
    """
    middle = (offsets[:, :2] + cells) * strides
    half = np.exp(offsets[:, 2:].clip(max=_MAX_LOG_SIZE)) * strides / 2
    return np.concatenate([middle - half, middle + half], axis=1)
