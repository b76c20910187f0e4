"""Detectors as ONNX files, run by ONNX Runtime on the CPU: YOLOX for people, YuNet for faces.

Which of the two a file is follows from the names and shapes of its outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final, Self

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from pydantic import JsonValue

from mien.detection.onnx_model import Arrays, OnnxModel
from mien.detection.yolox import Yolox
from mien.detection.yunet import Yunet
from mien.errors import ConfigError, EngineError, MienError, WeightsError
from mien.predict.detect.detector import Detection, Detector, DetectorOptions
from mien.predict.detect.opened import detect_opened
from mien.predict.detect.selection import select_detections
from mien.predict.results import BoxSource

__all__ = ["OnnxDetector", "body_boxes"]

_VERSION: Final = 1  # raise it when the same file and options give other boxes

Proposals = tuple[Float[np.ndarray, "box 4"], Float[np.ndarray, " box"]]


class OnnxDetector(Detector):
    """A YOLOX or YuNet model.

    Args:
        file: The ONNX file, with its weights inside.
        options: Which boxes are returned.

    Raises:
        WeightsError: The file cannot be read, or its model is neither YOLOX nor YuNet.
        EngineDownError: ONNX Runtime is not installed.
    """

    def __init__(self, file: str | Path, options: DetectorOptions | None = None) -> None:
        self._model = OnnxModel(Path(file), noun="detector", num_threads=torch.get_num_threads())
        self._format = _identify(self._model)
        self._options = (options or DetectorOptions()).with_defaults(
            min_score=self._format.min_score, max_overlap=self._format.max_overlap
        )

    @classmethod
    def open(cls, model: str | None, options: DetectorOptions, *, device: str) -> Self:
        if model is None:
            raise ConfigError("the detector 'onnx' needs a file", hint="give the path of the .onnx file")
        return cls(model, options)

    @property
    def name(self) -> str:
        return f"onnx/{self._model.name}"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {
            "detector": "onnx",
            "version": _VERSION,
            "format": self._format.name,
            "weights": self._model.digest,
            **self._options.identity(),
        }

    @property
    def box_source(self) -> BoxSource:
        return self._format.box_source

    def detect(self, images: Sequence[Image.Image]) -> Sequence[Sequence[Detection] | MienError]:
        return detect_opened(images, lambda opened: [self._detect_one(image) for image in opened])

    def _detect_one(self, image: Image.Image) -> Sequence[Detection] | MienError:
        try:
            boxes, scores = self._format.propose(self._model.run, image)
            return select_detections(boxes, scores, image.size, self._options, widen=self._format.widen)
        except EngineError as error:
            return error


# --- Formats -------------------------------------------------------------------------------------------


class _Format(ABC):
    """How the boxes of a kind of model become people.

    Attributes:
        name: For signatures.
        min_score: The usual least score.
        max_overlap: The usual largest overlap of two boxes.
        box_source: What its boxes are.
        widen: Makes body boxes of its boxes; None if they are.
    """

    name: ClassVar[str]
    min_score: ClassVar[float]
    max_overlap: ClassVar[float]
    box_source: ClassVar[BoxSource] = "detected"
    widen: Callable[[Float[np.ndarray, "box 4"]], Float[np.ndarray, "box 4"]] | None = None

    @abstractmethod
    def propose(self, run: Callable[[np.ndarray], Arrays], image: Image.Image) -> Proposals:
        """Boxes in pixels of the image, with scores."""


class _People(_Format):
    """YOLOX, whose class 0 is the person."""

    name = "yolox"
    min_score = 0.3
    max_overlap = Yolox.max_overlap

    def __init__(self, reader: Yolox) -> None:
        self._reader = reader

    def propose(self, run: Callable[[np.ndarray], Arrays], image: Image.Image) -> Proposals:
        boxes, scores = self._reader.propose(run, image)
        return boxes, scores[:, 0]


class _Faces(_Format):
    """YuNet; the body is guessed from the face."""

    name = "yunet"
    min_score = Yunet.min_score
    max_overlap = Yunet.max_overlap
    box_source: ClassVar[BoxSource] = "face"

    def __init__(self, reader: Yunet) -> None:
        self._reader = reader

    def propose(self, run: Callable[[np.ndarray], Arrays], image: Image.Image) -> Proposals:
        return self._reader.propose(run, image)

    @staticmethod
    def widen(faces: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, "box 4"]:
        return body_boxes(faces)


def body_boxes(faces: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, "box 4"]:
    """Boxes around the bodies that belong to faces, if people are upright: a guess.

    They are 3.5 faces wide, and reach from 0.3 faces above the top of the face to 7 faces below that top.
    """
    left, top, right, bottom = faces.T
    width, height = right - left, bottom - top
    return np.stack([left - 1.25 * width, top - 0.3 * height, right + 1.25 * width, top + 7 * height], axis=1)


def _identify(model: OnnxModel) -> _Format:
    """The format of a model; WeightsError if it is none of those that are known."""
    faces, people = Yunet.identify(model), Yolox.identify(model)
    if faces is not None:
        return _Faces(faces)
    if people is not None:
        return _People(people)
    raise WeightsError(
        f"{model.path} is neither a YOLOX nor a YuNet model: its outputs are {', '.join(model.outputs)}",
        hint="give a model of one of them, or the folder of a model that transformers can load",
    )
