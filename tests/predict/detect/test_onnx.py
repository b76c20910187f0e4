"""ONNX files: which formats are known, how their outputs become boxes, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.factories.tiny_onnx import write_constants, write_yolox, write_yunet

from mien.errors import ConfigError, EngineDownError, EngineError, WeightsError
from mien.predict.detect.detector import Detection, DetectorOptions
from mien.predict.detect.onnx import OnnxDetector, body_boxes
from mien.predict.detect.open import open_detector
from mien.types import Box

pytest.importorskip("onnxruntime")

BLANK = Image.new("RGB", (128, 64))


def person(left: float, top: float, right: float, bottom: float, score: float) -> Detection:
    return Detection(box=Box(left=left, top=top, right=right, bottom=bottom), score=score)


def test_yolox_boxes_are_decoded_by_their_cell_and_stride(tmp_path: Path) -> None:
    # 64 pixels: 64 cells of stride 8, 16 of 16, 4 of 32. Centers and sizes are in cells, sizes as logarithms.
    people = [
        (9, 0.9, (0.5, 0.5, np.log(2), np.log(3))),  # column 1, row 1
        (64 + 6, 0.8, (0.25, 0.5, 0.0, 0.0)),  # column 2, row 1
        (64 + 16 + 3, 0.7, (0.0, 0.0, np.log(0.5), 0.0)),  # column 1, row 1
    ]
    detector = OnnxDetector(write_yolox(tmp_path / "a.onnx", people))
    (found,) = detector.detect([Image.new("RGB", (64, 64))])
    assert found == (person(4, 0, 20, 24, 0.9), person(28, 16, 44, 32, 0.8), person(24, 16, 40, 48, 0.7))


def test_boxes_are_scaled_from_the_letterboxed_input_to_the_image(tmp_path: Path) -> None:
    detector = OnnxDetector(write_yolox(tmp_path / "a.onnx", [(9, 0.9, (0.5, 0.5, 0.7, 0.7))]))
    square, wide, high = detector.detect([Image.new("RGB", size) for size in ((64, 64), (128, 64), (32, 64))])
    assert square == (person(4, 4, 20, 20, 0.9),)
    assert wide == (person(8, 8, 40, 40, 0.9),)
    assert high == (person(4, 4, 20, 20, 0.9),)


def test_a_score_is_the_product_of_object_and_person_and_other_classes_are_left_out(tmp_path: Path) -> None:
    output = np.zeros((1, 84, 7), np.float32)
    output[0, 9] = [0.5, 0.5, 0.7, 0.7, 0.8, 0.75, 0.0]
    output[0, 30] = [0.5, 0.5, 0.7, 0.7, 0.9, 0.1, 0.9]
    detector = OnnxDetector(write_constants(tmp_path / "a.onnx", {"output": output}))
    (found,) = detector.detect([Image.new("RGB", (64, 64))])
    assert found == (person(4, 4, 20, 20, 0.6),)


def test_duplicates_are_suppressed(tmp_path: Path) -> None:
    people = [(9, 0.9, (0.5, 0.5, 0.7, 0.7)), (9 + 1, 0.8, (-0.4, 0.5, 0.7, 0.7))]
    file = write_yolox(tmp_path / "a.onnx", people)
    assert [len(found) for found in OnnxDetector(file).detect([BLANK]) if isinstance(found, tuple)] == [1]
    both = OnnxDetector(file, DetectorOptions(max_overlap=1.0))
    assert [len(found) for found in both.detect([BLANK]) if isinstance(found, tuple)] == [2]


def test_a_face_becomes_a_body_that_is_clipped_to_the_image(tmp_path: Path) -> None:
    # A face of 8 x 8 pixels around (20, 12) of 64, so of twice that in an image of 128.
    faces = [(8, 10, 0.9, (0.5, 0.5, 0.0, 0.0)), (8, 11, 0.8, (-0.5, 0.5, 0.0, 0.0))]
    detector = OnnxDetector(write_yunet(tmp_path / "a.onnx", faces))
    assert detector.box_source == "face"
    (found,) = detector.detect([Image.new("RGB", (128, 128))])
    assert found == (person(12, 11, 68, 128, 0.9),)


def test_a_body_is_as_wide_and_high_as_documented() -> None:
    assert body_boxes(np.array([[100.0, 50, 110, 60]])).tolist() == [[87.5, 47, 122.5, 120]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error_of_the_image(tmp_path: Path, value: float) -> None:
    file = write_yolox(tmp_path / "a.onnx", [(9, 0.9, (value, 0, 0, 0))])
    (failure,) = OnnxDetector(file).detect([BLANK])
    assert isinstance(failure, EngineError)
    assert "not finite" in str(failure)


def test_a_huge_box_is_clipped(tmp_path: Path) -> None:
    file = write_yolox(tmp_path / "a.onnx", [(9, 0.9, (0, 0, 800, 800))])
    (found,) = OnnxDetector(file).detect([BLANK])
    assert found == (person(0, 0, 128, 64, 0.9),)


# --- Files ---


def test_the_signature_is_of_the_content_and_not_of_the_path(tmp_path: Path) -> None:
    one = write_yolox(tmp_path / "one.onnx", [(9, 0.9, (0, 0, 0, 0))])
    two = write_yolox(tmp_path / "two.onnx", [(9, 0.8, (0, 0, 0, 0))])
    before = OnnxDetector(one).signature
    assert OnnxDetector(one.rename(tmp_path / "moved.onnx")).signature == before
    assert OnnxDetector(two).signature != before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is not an ONNX model that can be run"),
        (b"not an ONNX file", "is not an ONNX model that can be run"),
    ],
    ids=["missing", "empty", "other"],
)
def test_a_file_that_is_not_a_model_is_an_error_with_exit_code_5(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "some.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(WeightsError, match=said) as caught:
        open_detector(file)
    assert caught.value.exit_code == 5
    assert "some.onnx" in str(caught.value)
    assert caught.value.hint


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "some.onnx").mkdir()
    with pytest.raises(WeightsError, match="cannot be read"):
        open_detector(tmp_path / "some.onnx")


@pytest.mark.parametrize(
    "outputs",
    [
        {"logits": (1, 300, 80), "pred_boxes": (1, 300, 4)},
        {"output": (1, 83, 7)},
        {"output": (1, 84, 5)},
        {"probabilities": (1, 1000)},
    ],
    ids=["detr", "cells", "no class", "classifier"],
)
def test_another_model_is_refused_with_its_outputs(
    tmp_path: Path, outputs: dict[str, tuple[int, ...]]
) -> None:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in outputs.items()}
    with pytest.raises(WeightsError, match="neither a YOLOX nor a YuNet") as caught:
        OnnxDetector(write_constants(tmp_path / "a.onnx", arrays))
    assert all(name in str(caught.value) for name in outputs)


def test_without_onnx_runtime_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_yolox(tmp_path / "a.onnx", [])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineDownError, match="needs ONNX Runtime") as caught:
        open_detector(file)
    assert 'pip install "mien[onnx]"' in caught.value.hint
    assert caught.value.exit_code == 6


def test_the_name_alone_is_not_a_model() -> None:
    with pytest.raises(ConfigError, match="'onnx' needs a file"):
        open_detector("onnx")
