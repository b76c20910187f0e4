"""Tiny ONNX files written by hand: outputs that are constants, and a detector that depends on the image.

Only what ONNX's protobuf needs for that is written: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

_FLOAT, INT32, _INT64 = 1, 6, 7  # TensorProto.DataType


def write_constants(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    *,
    size: tuple[int | str, int | str] = (64, 64),
    input_shape: Sequence[int | str] = (),
    input_type: int = _FLOAT,
) -> Path:
    """Writes a model that takes one image and returns these arrays.

    Args:
        path: The file.
        outputs: The outputs by name, with their batch axis.
        size: (height, width) of the input; names stand for any.
        input_shape: Of an input that is not (1, 3, height, width).
        input_type: Of the input: 1 for float, 6 for int32.
    """
    graph = b"".join(
        (
            *(_node([f"{name}_value"], name) for name in outputs),
            _text(2, "constants"),
            *(_message(5, _tensor(f"{name}_value", array)) for name, array in outputs.items()),
            _message(11, _value("images", input_shape or (1, 3, *size), input_type)),
            *(_message(12, _value(name, array.shape)) for name, array in outputs.items()),
        )
    )
    return _write(path, graph)


def write_yolox(
    path: Path,
    people: Sequence[tuple[int, float, Sequence[float]]],
    *,
    side: int = 64,
    classes: int = 2,
    kinds: Sequence[int] = (),
) -> Path:
    """A YOLOX that always finds the same.

    Args:
        path: The file.
        people: (cell, score, (x, y, w, h) as in the raw output), the cell counted over all grids.
        side: Of the square input.
        classes: How many.
        kinds: The class of each, if they are not all people.
    """
    cells = sum((side // stride) ** 2 for stride in (8, 16, 32))
    output = np.zeros((1, cells, 5 + classes), np.float32)
    for (cell, score, raw), kind in zip(people, kinds or [0] * len(people), strict=True):
        output[0, cell, :5] = [*raw, score]
        output[0, cell, 5 + kind] = 1.0
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


def write_random_yolox(path: Path, *, seed: int = 0, classes: int = 80) -> Path:
    """A YOLOX of 32 pixels whose boxes and scores depend on every pixel: the sigmoid of two random layers."""
    rng = np.random.default_rng(seed)
    cells, rows, columns = 21, 48, 64  # 3 x 32 x 32 pixels are 48 x 64
    constants = {
        "shape": np.array([rows, columns]),
        "left": rng.normal(0, 0.05, (cells, rows)).astype(np.float32),
        "right": rng.normal(0, 0.02, (columns, 5 + classes)).astype(np.float32),
        "axis": np.array([0]),
    }
    graph = b"".join(
        (
            _node(("images", "shape"), "pixels", "Reshape"),
            _node(("left", "pixels"), "mixed", "MatMul"),
            _node(("mixed", "right"), "logits", "MatMul"),
            _node(("logits",), "values", "Sigmoid"),
            _node(("values", "axis"), "output", "Unsqueeze"),
            _text(2, "random"),
            *(_message(5, _tensor(name, array)) for name, array in constants.items()),
            _message(11, _value("images", (1, 3, 32, 32))),
            _message(12, _value("output", (1, cells, 5 + classes))),
        )
    )
    return _write(path, graph)


# --- Messages ---


def _write(path: Path, graph: bytes) -> Path:
    opset = _text(1, "") + _number(2, 13)
    path.write_bytes(_number(1, 8) + _message(7, graph) + _message(8, opset))
    return path


def _node(sources: Sequence[str], target: str, kind: str = "Identity") -> bytes:
    return _message(1, b"".join(_text(1, name) for name in sources) + _text(2, target) + _text(4, kind))


def _tensor(name: str, array: np.ndarray) -> bytes:
    dimensions = b"".join(_number(1, length) for length in array.shape)
    is_whole = array.dtype.kind == "i"
    values = array.astype("<i8" if is_whole else "<f4").tobytes()
    return dimensions + _number(2, _INT64 if is_whole else _FLOAT) + _text(8, name) + _message(9, values)


def _value(name: str, shape: Sequence[int | str], type: int = _FLOAT) -> bytes:
    dimensions = b"".join(
        _message(1, _text(2, length) if isinstance(length, str) else _number(1, length)) for length in shape
    )
    tensor = _number(1, type) + _message(2, dimensions)
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
