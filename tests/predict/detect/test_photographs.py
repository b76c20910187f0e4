"""Real detectors on real photographs, against people that COCO's annotators drew."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from tests.factories.shared_data import shared

from mien.detection.overlap import intersection_over_union
from mien.predict.detect.detector import DetectorOptions
from mien.predict.detect.open import open_detector

LARGE = 0.02  # of the photo
SAME = 0.5  # intersection over union


@dataclass(frozen=True)
class Score:
    """How many large people were found, and how many of the found boxes are people of any size."""

    recall: float
    precision: float


def measure(file: str, options: DetectorOptions | None = None) -> Score:
    detector = open_detector(shared("weights", file), options)
    folder = shared("scene-photos")
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert len(rows) == 30
    photos = [Image.open(folder / row["image"]) for row in rows]
    num_large = num_large_found = num_found = num_right = 0
    for row, photo, people in zip(rows, photos, detector.detect(photos), strict=True):
        assert not isinstance(people, Exception)
        truth = np.array(row["person_boxes_xyxy"], float).reshape(-1, 4)
        found = np.array([person.box.as_tuple() for person in people if person.box]).reshape(-1, 4)
        is_large = np.prod(truth[:, 2:] - truth[:, :2], axis=1) > LARGE * photo.width * photo.height
        matched: set[int] = set()
        for overlaps in intersection_over_union(found, truth):  # the surest first
            free = [
                index for index in np.argsort(-overlaps) if overlaps[index] >= SAME and index not in matched
            ]
            matched.update(free[:1])
        num_large += int(is_large.sum())
        num_large_found += sum(bool(is_large[index]) for index in matched)
        num_found += len(found)
        num_right += len(matched)
    return Score(recall=num_large_found / num_large, precision=num_right / num_found)


def test_yolox_nano_finds_most_large_people() -> None:
    pytest.importorskip("onnxruntime")
    score = measure("yolox_nano_416_coco80.onnx")
    assert score.recall >= 0.80
    assert score.precision >= 0.75


def test_bodies_guessed_from_faces_are_right_more_often_than_not() -> None:
    pytest.importorskip("onnxruntime")
    assert measure("face_detection_yunet.onnx").precision >= 0.55


@pytest.mark.parametrize("file", ["yolox_nano_416_coco80.onnx", "face_detection_yunet.onnx"])
@pytest.mark.parametrize("size", [(640, 480), (3, 3), (1, 2000)])
def test_no_one_is_found_where_no_one_is(file: str, size: tuple[int, int]) -> None:
    pytest.importorskip("onnxruntime")
    assert open_detector(shared("weights", file)).detect([Image.new("RGB", size, "white")]) == [()]


def test_another_onnx_model_is_not_a_detector() -> None:
    pytest.importorskip("onnxruntime")
    from mien.errors import WeightsError

    with pytest.raises(WeightsError, match="neither a YOLOX nor a YuNet"):
        open_detector(shared("weights", "efficientnet-lite0.onnx"))
