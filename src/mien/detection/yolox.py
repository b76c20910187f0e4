"""YOLOX (Ge et al., 2021) as its authors export it: one output, which is not decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

import numpy as np
from jaxtyping import Float
from PIL import Image

from mien.detection.grids import STRIDES, decode_boxes, grid_cells, letterbox
from mien.detection.onnx_model import Arrays, OnnxModel

__all__ = ["Yolox"]

_GRAY: Final = 114  # that YOLOX pads with


class Yolox:
    """How a YOLOX is fed and read.

    Args:
        size: (height, width) of the input.
        num_classes: How many kinds of objects it knows.
    """

    max_overlap: ClassVar[float] = 0.45  # the usual one, of two boxes that both remain

    def __init__(self, size: tuple[int, int], num_classes: int) -> None:
        self.num_classes = num_classes
        self._size = size
        grids = [grid_cells(size, stride) for stride in STRIDES]
        self._cells = np.concatenate(grids)
        self._strides = np.repeat(STRIDES, [len(grid) for grid in grids])[:, None]

    @classmethod
    def identify(cls, model: OnnxModel) -> Yolox | None:
        """The reader for this model; None if it is not a YOLOX."""
        shape, outputs = model.input_shape, [*model.outputs.values()]
        if len(shape) != 4 or shape[1] != 3 or len(outputs) != 1:
            return None
        height, width = shape[2:]
        if not (isinstance(height, int) and isinstance(width, int)):
            return None
        num_classes = _num_classes(outputs[0], (height, width))
        return cls((height, width), num_classes) if num_classes > 0 else None

    def propose(
        self, run: Callable[[np.ndarray], Arrays], image: Image.Image
    ) -> tuple[Float[np.ndarray, "box 4"], Float[np.ndarray, "box class"]]:
        """Boxes in pixels of the image, with the score of each class."""
        pixels, scale = letterbox(image, self._size, _GRAY)
        (output,) = run(pixels).values()
        boxes = decode_boxes(output[:, :4], self._cells, self._strides)
        # That there is an object, and that it is of this class.
        return boxes / scale, output[:, 4:5] * output[:, 5:]


def _num_classes(shape: list[Any], size: tuple[int, int]) -> int:
    """The classes of a YOLOX output of this shape (batch, cell, 5 + class); 0 if it is not one."""
    num_cells = sum(len(grid_cells(size, stride)) for stride in STRIDES)
    is_known = len(shape) == 3 and shape[1] == num_cells and isinstance(shape[2], int)
    return shape[2] - 5 if is_known else 0
