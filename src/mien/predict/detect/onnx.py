"""Detectors as ONNX files, run by ONNX Runtime on the CPU: YOLOX for people, YuNet for faces.

Which of the two a file is follows from the names and shapes of its outputs.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from pydantic import JsonValue

from mien.documents import read_bytes
from mien.errors import ConfigError, EngineDownError, EngineError, MienError, WeightsError, first_line
from mien.predict.detect.detector import Detection, Detector, DetectorOptions
from mien.predict.detect.opened import detect_opened
from mien.predict.detect.selection import select_detections
from mien.predict.results import BoxSource

__all__ = ["OnnxDetector", "body_boxes"]

_VERSION: Final = 1  # raise it when the same file and options give other boxes
_STRIDES: Final = (8, 16, 32)  # pixels of the input per cell, of each of a model's grids
_MAX_BYTES: Final = 2**31  # of a file; ONNX cannot hold more
_MAX_LOG_SIZE: Final = 20.0  # larger than any box, so that exp does not overflow

Arrays = Mapping[str, np.ndarray]  # outputs by name, without the batch axis
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
        path = Path(file).expanduser()
        content = _read(path)
        self._digest = hashlib.sha256(content).hexdigest()
        self._name = path.stem
        self._session = _open_session(content, path)
        self._format = _identify(self._session, path)
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
        return f"onnx/{self._name}"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {
            "detector": "onnx",
            "version": _VERSION,
            "format": self._format.name,
            "weights": self._digest,
            **self._options.identity(),
        }

    @property
    def box_source(self) -> BoxSource:
        return self._format.box_source

    def detect(self, images: Sequence[Image.Image]) -> Sequence[Sequence[Detection] | MienError]:
        return detect_opened(images, lambda opened: [self._detect_one(image) for image in opened])

    def _detect_one(self, image: Image.Image) -> Sequence[Detection] | MienError:
        try:
            boxes, scores = self._format.propose(self._run, image)
            return select_detections(boxes, scores, image.size, self._options, widen=self._format.widen)
        except EngineError as error:
            return error

    def _run(self, pixels: Float[np.ndarray, "1 3 height width"]) -> Arrays:
        names = [output.name for output in self._session.get_outputs()]
        try:
            values = self._session.run(names, {self._session.get_inputs()[0].name: pixels})
        except Exception as error:  # the library has no common base of its errors
            raise EngineError(
                f"the detector {self._name} failed: {first_line(error)}", hint="check the model file"
            ) from error
        return {name: value[0] for name, value in zip(names, values, strict=True)}


# --- Formats -------------------------------------------------------------------------------------------


class _Format(ABC):
    """How a kind of model is fed and read.

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

    def __init__(self, size: tuple[int, int] | None) -> None:
        self._size = size  # (height, width) of the input; None for any

    @abstractmethod
    def propose(self, run: Callable[[np.ndarray], Arrays], image: Image.Image) -> Proposals:
        """Boxes in pixels of the image, with scores."""


class _Yolox(_Format):
    """YOLOX (Ge et al., 2021) as its authors export it: one output, not decoded, class 0 is the person."""

    name = "yolox"
    min_score = 0.3
    max_overlap = 0.45

    _GRAY: Final = 114  # that YOLOX pads with

    def propose(self, run: Callable[[np.ndarray], Arrays], image: Image.Image) -> Proposals:
        assert self._size is not None
        pixels, scale = _letterbox(image, self._size, self._GRAY)
        (output,) = run(pixels).values()
        grids = [_cells(self._size, stride) for stride in _STRIDES]
        strides = np.repeat(_STRIDES, [len(grid) for grid in grids])[:, None]
        middle = (output[:, :2] + np.concatenate(grids)) * strides
        half = np.exp(output[:, 2:4].clip(max=_MAX_LOG_SIZE)) * strides / 2
        scores = output[:, 4] * output[:, 5]  # that there is an object, and that it is a person
        return np.concatenate([middle - half, middle + half], axis=1) / scale, scores


class _Yunet(_Format):
    """YuNet (Wu et al., 2023): faces, from which the body is guessed."""

    name = "yunet"
    min_score = 0.7
    max_overlap = 0.3
    box_source: ClassVar[BoxSource] = "face"

    _SIDE: Final = 640  # pixels of the longer side, if the file takes any size; YuNet was trained at this one
    _MULTIPLE: Final = 32  # both sides of the input are multiples of it

    def propose(self, run: Callable[[np.ndarray], Arrays], image: Image.Image) -> Proposals:
        size = self._size or self._choose_size(image.size)
        pixels, scale = _letterbox(image, size, 0)
        outputs = run(pixels)
        boxes, scores = zip(*(self._decode(outputs, size, stride) for stride in _STRIDES), strict=True)
        return np.concatenate(boxes) / scale, np.concatenate(scores)

    def _choose_size(self, image: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the input: that of the image, but at most `_SIDE`, in whole multiples."""
        scale = min(1.0, self._SIDE / max(image))
        width, height = (math.ceil(side * scale / self._MULTIPLE) * self._MULTIPLE for side in image)
        return height, width

    def _decode(self, outputs: Arrays, size: tuple[int, int], stride: int) -> Proposals:
        found, scores = outputs[f"bbox_{stride}"], outputs[f"cls_{stride}"] * outputs[f"obj_{stride}"]
        middle = (found[:, :2] + _cells(size, stride)) * stride
        half = np.exp(found[:, 2:].clip(max=_MAX_LOG_SIZE)) * stride / 2
        return np.concatenate([middle - half, middle + half], axis=1), np.sqrt(scores[:, 0].clip(0, 1))

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


def _letterbox(
    image: Image.Image, size: tuple[int, int], padding: int
) -> tuple[Float[np.ndarray, "1 3 height width"], float]:
    """The image in the top left corner of the input, as BGR from 0 to 255, and by how much it was scaled."""
    height, width = size
    scale = min(height / image.height, width / image.width)
    inner = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    resized = np.asarray(image.resize(inner, Image.Resampling.BILINEAR))
    pixels = np.full((height, width, 3), padding, np.float32)
    pixels[: inner[1], : inner[0]] = resized[:, :, ::-1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]), scale


def _cells(size: tuple[int, int], stride: int) -> Float[np.ndarray, "cell 2"]:
    """(column, row) of each cell of a grid, row by row."""
    rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)


# --- Files ---------------------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, max_bytes=_MAX_BYTES)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror}", hint="give the path of an ONNX file"
        ) from error


def _open_session(content: bytes, path: Path) -> Any:
    """From the bytes that the digest is of; so weights in other files are not found."""
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineDownError(
            f"the detector {path.name} needs ONNX Runtime: {first_line(error)}",
            hint='install it with: pip install "mien[onnx]"',
        ) from error
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()  # by default it takes all cores
    settings.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library has no common base of its errors
        raise WeightsError(
            f"{path} is not an ONNX model that can be run: {first_line(error)}",
            hint="copy the file again; its weights must be inside of it",
        ) from error


def _identify(session: Any, path: Path) -> _Format:
    """The format of a model; WeightsError if it is none of those that are known."""
    inputs, outputs = session.get_inputs(), {output.name: output.shape for output in session.get_outputs()}
    shape = inputs[0].shape if len(inputs) == 1 else []
    if len(shape) == 4 and shape[1] == 3:
        size = (shape[2], shape[3]) if all(isinstance(side, int) for side in shape[2:]) else None
        if {f"{kind}_{stride}" for kind in ("cls", "obj", "bbox") for stride in _STRIDES} <= outputs.keys():
            return _Yunet(size)
        if size is not None and [_num_classes(output, size) > 0 for output in outputs.values()] == [True]:
            return _Yolox(size)
    raise WeightsError(
        f"{path} is neither a YOLOX nor a YuNet model: its outputs are {', '.join(outputs)}",
        hint="give a model of one of them, or the folder of a model that transformers can load",
    )


def _num_classes(shape: list[Any], size: tuple[int, int]) -> int:
    """The classes of a YOLOX output of this shape (batch, cell, 5 + class); 0 if it is not one."""
    num_cells = sum(len(_cells(size, stride)) for stride in _STRIDES)
    is_known = len(shape) == 3 and shape[1] == num_cells and isinstance(shape[2], int)
    return shape[2] - 5 if is_known else 0
