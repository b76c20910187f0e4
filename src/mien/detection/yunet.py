"""YuNet (Wu et al., 2023): faces."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Final

import numpy as np
from jaxtyping import Float
from PIL import Image

from mien.detection.grids import STRIDES, decode_boxes, grid_cells, letterbox
from mien.detection.onnx_model import Arrays, OnnxModel

__all__ = ["Yunet"]

_SIDE: Final = 640  # pixels of the longer side, if the file takes any size; YuNet was trained at this one
_MULTIPLE: Final = 32  # both sides of the input are multiples of it
_OUTPUTS: Final = frozenset(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox") for stride in STRIDES)


class Yunet:
    """How a YuNet is fed and read.

    Args:
        size: (height, width) of the input; None for any.
    """

    min_score: ClassVar[float] = 0.7  # the usual least score
    max_overlap: ClassVar[float] = 0.3  # the usual one, of two boxes that both remain

    def __init__(self, size: tuple[int, int] | None) -> None:
        self._size = size

    @classmethod
    def identify(cls, model: OnnxModel) -> Yunet | None:
        """The reader for this model; None if it is not a YuNet."""
        shape = model.input_shape
        if len(shape) != 4 or shape[1] != 3 or not model.outputs.keys() >= _OUTPUTS:
            return None
        height, width = shape[2:]
        return cls((height, width) if isinstance(height, int) and isinstance(width, int) else None)

    def propose(
        self, run: Callable[[np.ndarray], Arrays], image: Image.Image
    ) -> tuple[Float[np.ndarray, "box 4"], Float[np.ndarray, " box"]]:
        """Boxes of faces in pixels of the image, with scores."""
        size = self._size or _choose_size(image.size)
        pixels, scale = letterbox(image, size, 0)
        outputs = run(pixels)
        boxes = [
            decode_boxes(outputs[f"bbox_{stride}"], grid_cells(size, stride), stride) for stride in STRIDES
        ]
        scores = [outputs[f"cls_{stride}"] * outputs[f"obj_{stride}"] for stride in STRIDES]
        return np.concatenate(boxes) / scale, np.sqrt(np.concatenate(scores)[:, 0].clip(0, 1))


def _choose_size(image: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the input: that of the image, but at most `_SIDE`, in whole multiples."""
    scale = min(1.0, _SIDE / max(image))
    width, height = (math.ceil(side * scale / _MULTIPLE) * _MULTIPLE for side in image)
    return height, width
