"""A square view says where a photo's pixels are in the square that `mien.media` makes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mien.media.images import FIT_MODES, Marking, Square, mark_subject
from mien.predict.explain.geometry import CellGrid, square_view
from mien.types import Box

BOX = Box(left=100, top=60, right=180, bottom=260)


@pytest.mark.parametrize("mode", FIT_MODES)
@pytest.mark.parametrize("style", ["none", "crop"])
@pytest.mark.parametrize("size", [(400, 300), (240, 330), (300, 300)])
def test_each_cell_is_where_the_square_shows_it(mode: str, style: str, size: tuple[int, int]) -> None:
    grid = CellGrid.fit(size, 6)
    colors = np.random.default_rng(0).permutation(255)[: grid.num_cells].astype(np.uint8)
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    painted = colors[grid.cell_at(x, y)]
    photo = Image.fromarray(np.repeat(painted[:, :, None], 3, axis=2))
    marking, square = Marking(style=style), Square(96, mode)  # type: ignore[arg-type]
    pixels = np.asarray(square(mark_subject(photo, BOX, marking)))[:, :, 0].astype(int)
    cells = square_view(size, BOX, marking, square).cells(grid)
    # Edges between cells are blends; all other pixels have the color of their cell.
    inner = np.ones_like(cells, dtype=bool)
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            inner &= np.roll(cells, step, axis) == cells
    inner[:2] = inner[-2:] = False
    inner[:, :2] = inner[:, -2:] = False
    shown = inner & (cells >= 0)
    assert shown.sum() > 1000
    assert np.abs(pixels[shown] - colors[cells[shown]]).max() <= 2
    padding = inner & (cells < 0)
    assert padding.any() == (mode == "letterbox" and (style == "crop" or size[0] != size[1]))
    assert (np.abs(pixels[padding] - 124) <= 1).all()
    left, top, right, bottom = square_view(size, BOX, marking, square).content()
    inside = np.zeros_like(cells, dtype=bool)
    inside[top:bottom, left:right] = True
    assert (inside == (cells >= 0)).mean() > 0.98


def test_cells_are_about_square_and_cover_the_photo() -> None:
    grid = CellGrid.fit((640, 480), 8)
    assert (grid.rows, grid.columns, grid.num_cells) == (6, 8, 48)
    places = np.array([[0.0, 639.9, -0.1, 640.0], [0.0, 479.9, 10.0, 10.0]])
    assert grid.cell_at(*places).tolist() == [0, 47, -1, -1]
    assert CellGrid.fit((1000, 10), 8).rows == 1
