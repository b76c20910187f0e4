"""ONNX files whose outputs are constants: the outer form of a detector without a network, written by hand.

Only what ONNX's protobuf needs for that is written: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

_FLOAT = 1  # TensorProto.DataType


def write_constants(
    path: Path, outputs: Mapping[str, np.ndarray], *, size: tuple[int | str, int | str] = (64, 64)
) -> Path:
    """Writes a model that takes one image and returns these arrays.

    Args:
        path: The file.
        outputs: The outputs by name, with their batch axis.
        size: (height, width) of the input; names stand for any.
    """
    graph = b"".join(
        (
            *(_node(f"{name}_value", name) for name in outputs),
            _text(2, "constants"),
            *(_message(5, _tensor(f"{name}_value", array)) for name, array in outputs.items()),
            _message(11, _value("images", (1, 3, *size))),
            *(_message(12, _value(name, array.shape)) for name, array in outputs.items()),
        )
    )
    opset = _text(1, "") + _number(2, 13)
    path.write_bytes(_number(1, 8) + _message(7, graph) + _message(8, opset))
    return path


def write_yolox(
    path: Path, people: Sequence[tuple[int, float, Sequence[float]]], *, side: int = 64, classes: int = 2
) -> Path:
    """A YOLOX that always finds the same.

    Args:
        path: The file.
        people: (cell, score, (x, y, w, h) as in the raw output), the cell counted over all grids.
        side: Of the square input.
        classes: How many.
    """
    cells = sum((side // stride) ** 2 for stride in (8, 16, 32))
    output = np.zeros((1, cells, 5 + classes), np.float32)
    for cell, score, raw in people:
        output[0, cell] = [*raw, score, 1.0, *[0.0] * (classes - 1)]
    return write_constants(path, {"output": output}, size=(side, side))


def write_yunet(
    path: Path, faces: Sequence[tuple[int, int, float, Sequence[float]]], *, side: int = 64
) -> Path:
    """A YuNet of a fixed input that always finds the same: (stride, cell, score, raw box)."""
    outputs: dict[str, np.ndarray] = {}
    for stride in (8, 16, 32):
        cells = (side // stride) ** 2
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{kind}_{stride}"] = np.zeros((1, cells, width), np.float32)
    for stride, cell, score, raw in faces:
        outputs[f"cls_{stride}"][0, cell] = outputs[f"obj_{stride}"][0, cell] = score
        outputs[f"bbox_{stride}"][0, cell] = raw
    return write_constants(path, outputs, size=(side, side))


# --- Messages ---


def _node(source: str, target: str) -> bytes:
    return _message(1, _text(1, source) + _text(2, target) + _text(4, "Identity"))


def _tensor(name: str, array: np.ndarray) -> bytes:
    dimensions = b"".join(_number(1, length) for length in array.shape)
    values = array.astype("<f4").tobytes()
    return dimensions + _number(2, _FLOAT) + _text(8, name) + _message(9, values)


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    dimensions = b"".join(
        _message(1, _text(2, length) if isinstance(length, str) else _number(1, length)) for length in shape
    )
    tensor = _number(1, _FLOAT) + _message(2, dimensions)
    return _text(1, name) + _message(2, _message(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
