"""Real detectors on real photographs, against people that COCO's annotators drew."""

import pytest
from PIL import Image
from tests.factories.coco_people import Score, coco_photos, score_boxes
from tests.factories.shared_data import shared

from mien.predict.detect.detector import DetectorOptions
from mien.predict.detect.open import open_detector


def measure(file: str, options: DetectorOptions | None = None) -> Score:
    detector = open_detector(shared("weights", file), options)
    photos = coco_photos(shared("scene-photos"))
    detected = detector.detect([Image.open(photo.path) for photo in photos])
    found = []
    for people in detected:
        assert not isinstance(people, Exception)
        found.append([person.box.as_tuple() for person in people if person.box])
    return score_boxes(photos, found)


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
