"""Regions of a photo that are hidden from the model, and what that does to the scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageFilter

from mien.features.image_reader import load_pixels
from mien.media.images import Marking
from mien.media.views import OpenedPhoto, load_image
from mien.predict.explain.geometry import CellGrid, SquareView, square_view
from mien.predict.explain.probe import ModelProbe, TextTokens

if TYPE_CHECKING:
    from mien.types import Subject

__all__ = ["PhotoRegions", "blur"]

_BLUR: Final = 0.08  # standard deviation, as a share of the side; a face becomes a spot
_WINDOW: Final = 2  # cells per side of what is hidden at once
_GRAY: Final = (124, 116, 104)  # of padding


class PhotoRegions:
    """The cells of a photo, each of which can be hidden: shown so blurred that only its color is left.

    The line that marks the subject is never hidden. In a run with several views, a cell is hidden in all.

    Args:
        probe: The model.
        subject: A person in a photo.
        text: The description, which stays the same.
        cells: Cells along the longer side of the photo.

    Attributes:
        grid: The cells.
        num_parts: Their number.
        pixels: The photo as the model reads it, shape (view, height, width, channel).
    """

    def __init__(self, probe: ModelProbe, subject: Subject, text: TextTokens | None, *, cells: int) -> None:
        vision, markings = probe.predictor.vision, probe.predictor.markings
        assert vision is not None, "the model reads no images"
        (reference,), (box,) = subject.images, subject.boxes
        size = load_image(reference).full_size
        self._probe, self._text = probe, text
        self.grid = CellGrid.fit(size, cells)
        self.num_parts = self.grid.num_cells
        self._views = [square_view(size, box, marking, vision.square) for marking in markings]
        photo = OpenedPhoto()
        self.pixels = load_pixels(subject, markings, vision.square, photo=photo)
        unmarked = [Marking(style="none") if marking.style == "red_box" else marking for marking in markings]
        plain = load_pixels(subject, unmarked, vision.square, photo=photo)
        self._is_line = (plain != self.pixels).any(axis=-1)
        self._blurred = np.stack(
            [_blur_content(pixels, view) for pixels, view in zip(plain, self._views, strict=True)]
        )
        self._cells = np.stack([view.cells(self.grid) for view in self._views])

    def hide(self, hidden: Bool[np.ndarray, " cell"]) -> UInt8[np.ndarray, "view height width channel"]:
        """The pixels with some cells hidden."""
        is_hidden = hidden[self._cells] & (self._cells >= 0) & ~self._is_line
        return np.where(is_hidden[..., None], self._blurred, self.pixels)

    def blank(self) -> UInt8[np.ndarray, "view height width channel"]:
        """A gray square instead of the image, without a mark."""
        return np.broadcast_to(np.array(_GRAY, dtype=np.uint8), self.pixels.shape).copy()

    def scores(self, hidden: Bool[np.ndarray, "variant cell"]) -> Float[np.ndarray, "variant label"]:
        """The scores with some cells hidden, for each choice of cells."""
        return self._probe.scores_of_pixels(map(self.hide, hidden), self._text)

    def occlusion(self, base: Float[np.ndarray, " label"]) -> Float[np.ndarray, "label row column"]:
        """How much the score of each label drops while a cell is hidden.

        As in Zeiler and Fergus (2014, section 4.2): windows of 2 x 2 cells are hidden in turn; a
        cell has the mean drop of the windows over it.

        Args:
            base: The scores with nothing hidden.
        """
        windows = np.stack(list(self._windows()))
        drops = base - self.scores(windows)
        mean: np.ndarray = drops.T @ windows / windows.sum(axis=0)
        return mean.reshape(len(base), self.grid.rows, self.grid.columns)

    def _windows(self) -> Iterator[Bool[np.ndarray, " cell"]]:
        rows, columns = np.divmod(np.arange(self.num_parts), self.grid.columns)
        for top in range(1 - _WINDOW, self.grid.rows):
            for left in range(1 - _WINDOW, self.grid.columns):
                yield (
                    (rows >= top) & (rows < top + _WINDOW) & (columns >= left) & (columns < left + _WINDOW)
                )

    def spread(
        self, patches: Float[np.ndarray, " patch"], patch_grid: tuple[int, int], grid: CellGrid
    ) -> tuple[Float[np.ndarray, "row column"], float]:
        """What each cell of a grid gets of values of patches, and the share that is outside of the photo.

        A value is spread evenly over the area of its patch. All views are added up.

        Args:
            patches: A value per image token, view after view.
            patch_grid: As `mien.features.vision_encoder.VisionTransformer.patch_grid`.
            grid: The cells.
        """
        others, side = patch_grid
        total, whole = np.zeros((grid.rows, grid.columns)), float(patches.sum())
        for view, values in zip(self._views, patches.reshape(len(self._views), -1), strict=True):
            columns, rows = view.cell_edges(grid)
            edges = np.linspace(0, view.side, side + 1)
            on_patches = values[others:].reshape(side, side)
            total += _overlap(edges, rows).T @ on_patches @ _overlap(edges, columns)
        # Rounding may lift the sum slightly above the whole.
        return total, max(0.0, 1 - float(total.sum()) / whole) if whole else 0.0


def blur(image: Image.Image, radius: float) -> Image.Image:
    """A Gaussian blur with this standard deviation, in pixels."""
    return image.filter(ImageFilter.GaussianBlur(radius))


def _blur_content(
    pixels: UInt8[np.ndarray, "height width channel"], view: SquareView
) -> UInt8[np.ndarray, "height width channel"]:
    """The square with its photo blurred; padding does not bleed into it."""
    image = Image.fromarray(pixels)
    edges = view.content()
    image.paste(blur(image.crop(edges), _BLUR * view.side), edges[:2])
    return np.asarray(image)


def _overlap(
    edges: Float[np.ndarray, " edge"], cell_edges: Float[np.ndarray, " cell_edge"]
) -> Float[np.ndarray, "interval cell"]:
    """Which share of each interval between two edges is in each cell."""
    left, right = edges[:-1, None], edges[1:, None]
    inside = np.minimum(right, cell_edges[None, 1:]) - np.maximum(left, cell_edges[None, :-1])
    share: np.ndarray = inside.clip(min=0) / (right - left)
    return share
