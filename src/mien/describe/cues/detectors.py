"""What is in an image: people, things and faces, each with a box and a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from PIL import Image

from mien.describe.cues.coco import CLASSES
from mien.describe.cues.geometry import Edges
from mien.detection.onnx_model import OnnxModel
from mien.detection.overlap import suppress_duplicates
from mien.detection.yolox import Yolox
from mien.detection.yunet import Yunet
from mien.errors import WeightsError

__all__ = ["FaceFinder", "Found", "ObjectFinder"]

_MIN_SCORE: Final = 0.3
_MIN_FACE_SCORE: Final = 0.6
_MIN_SIZE: Final = 4.0  # pixels
_DIGITS: Final = 4  # of scores, so that a text does not depend on the last bits
_PERSON: Final = CLASSES[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something in an image: its name, its box in pixels, and a score from 0 to 1."""

    name: str
    box: Edges
    score: float

    @property
    def is_person(self) -> bool:
        return self.name == _PERSON


class ObjectFinder:
    """A YOLOX of COCO's 80 classes.

    Raises:
        WeightsError: The model is something else.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        reader = Yolox.identify(model)
        if reader is None or reader.num_classes != len(CLASSES):
            raise WeightsError(
                f"{model.path} is not a YOLOX with the {len(CLASSES)} classes of COCO: its outputs are "
                f"{_show_outputs(model)}",
                hint="set describe.model to a YOLOX as its authors export it",
            )
        self._reader = reader

    def find(self, image: Image.Image) -> tuple[Found, ...]:
        """What is in an RGB image, by falling score; EngineError if the model fails on it."""
        boxes, scores = self._reader.propose(self._model.run, image)
        best = scores.argmax(axis=1)
        scores = scores[np.arange(len(best)), best].astype(np.float64).round(_DIGITS)
        likely = ~(scores < _MIN_SCORE)  # keeps NaN, which is an error
        boxes, scores, best = boxes[likely], scores[likely], best[likely]
        self._model.require_finite(boxes, scores)
        found: list[Found] = []
        for number in np.unique(best):
            mine = best == number
            found += _select(CLASSES[number], boxes[mine], scores[mine], self._reader.max_overlap, image.size)
        return tuple(sorted(found, key=lambda one: (-one.score, one.name, one.box)))


class FaceFinder:
    """A YuNet.

    Raises:
        WeightsError: The model is something else.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        reader = Yunet.identify(model)
        if reader is None:
            raise WeightsError(
                f"{model.path} is not a YuNet: its outputs are {_show_outputs(model)}",
                hint="set describe.options.faces to a YuNet",
            )
        self._reader = reader

    def find(self, image: Image.Image) -> tuple[Found, ...]:
        """The faces in an RGB image, by falling score; EngineError if the model fails on it."""
        boxes, scores = self._reader.propose(self._model.run, image)
        scores = scores.astype(np.float64).round(_DIGITS)
        likely = ~(scores < _MIN_FACE_SCORE)
        boxes, scores = boxes[likely], scores[likely]
        self._model.require_finite(boxes, scores)
        found = _select("face", boxes, scores, self._reader.max_overlap, image.size)
        return tuple(sorted(found, key=lambda one: (-one.score, one.box)))


def _select(
    name: str,
    boxes: Float[np.ndarray, "box 4"],
    scores: Float[np.ndarray, " box"],
    max_overlap: float,
    size: tuple[int, int],
) -> list[Found]:
    kept = suppress_duplicates(boxes, scores, max_overlap)
    edges = np.floor(boxes[kept].clip(0, [*size, *size]) + 0.5)
    return [
        Found(name=name, box=(left, top, right, bottom), score=score)
        for (left, top, right, bottom), score in zip(edges.tolist(), scores[kept].tolist(), strict=True)
        if min(right - left, bottom - top) >= _MIN_SIZE
    ]


def _show_outputs(model: OnnxModel) -> str:
    return ", ".join(model.outputs)
