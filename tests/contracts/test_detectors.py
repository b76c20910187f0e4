"""What every detector promises. To add a detector, add a function and a line to `DETECTORS`."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from tests.factories.tiny_detectors import build_tiny_detector
from tests.factories.tiny_onnx import write_yolox, write_yunet

from mien import registry
from mien.digests import canonical_json
from mien.errors import ConfigError, ImageError, MienError
from mien.predict.detect.detector import Detection, Detector, DetectorOptions
from mien.predict.detect.open import open_detector
from mien.predict.results import BoxSource

ALL = DetectorOptions(min_score=0.02, min_size=1)
Open = Callable[[Path, DetectorOptions], Detector]


def _tiny(kind: str) -> Open:
    def open_tiny(folder: Path, options: DetectorOptions) -> Detector:
        model = folder / kind
        return open_detector(
            model if model.exists() else build_tiny_detector(kind, model), options, device="cpu"
        )

    return open_tiny


def _yolox(folder: Path, options: DetectorOptions) -> Detector:
    people = [(9, 0.9, (0.5, 0.5, 1, 1)), (30, 0.4, (0, 0, 2, 2)), (62, 0.7, (0.3, 0.2, 0.5, 1))]
    return open_detector(write_yolox(folder / "yolox.onnx", people), options)


def _yunet(folder: Path, options: DetectorOptions) -> Detector:
    faces = [(8, 9, 0.9, (0.5, 0.5, 0.1, 0.1)), (16, 3, 0.8, (0.1, 0.1, -0.5, -0.4))]
    return open_detector(write_yunet(folder / "yunet.onnx", faces), options)


def _whole(folder: Path, options: DetectorOptions) -> Detector:
    return open_detector("whole")


# By registered name, and then by kind of model.
DETECTORS: dict[str, dict[str, Open]] = {
    "onnx": {"yolox": _yolox, "yunet": _yunet},
    "transformers": {kind: _tiny(kind) for kind in ("d_fine", "rt_detr_v2", "yolos")},
    "whole": {"whole": _whole},
}
OPEN = {kind: opened for kinds in DETECTORS.values() for kind, opened in kinds.items()}


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Detector]:
    """detectors(kind, options): opens each detector once."""
    opened: dict[tuple[str, DetectorOptions], Detector] = {}
    folder = tmp_path_factory.mktemp("models")

    def get(kind: str, options: DetectorOptions = ALL) -> Detector:
        if (kind, options) not in opened:
            pytest.importorskip("onnxruntime" if kind in DETECTORS["onnx"] else "PIL")
            opened[kind, options] = OPEN[kind](folder, options)
        return opened[kind, options]

    return get


@pytest.fixture(params=list(OPEN))
def detector(request: pytest.FixtureRequest, detectors: Callable[..., Detector]) -> Detector:
    return detectors(request.param)


def make_images(count: int = 10) -> list[Image.Image]:
    """Noise in few shapes, so that some images have the same."""
    rng = np.random.default_rng(4)
    shapes = [(60, 90), (120, 40), (64, 64)]
    return [
        Image.fromarray(rng.integers(0, 256, (*shapes[number % 3], 3), dtype=np.uint8))
        for number in range(count)
    ]


def found(results: Sequence[Sequence[Detection] | MienError]) -> list[Sequence[Detection]]:
    """The results of images that have no errors."""
    errors = [result for result in results if isinstance(result, MienError)]
    assert errors == []
    return [result for result in results if not isinstance(result, MienError)]


# --- Identity ---


def test_every_detector_of_the_registry_runs_this_suite() -> None:
    assert DETECTORS.keys() == set(registry.registered_names("detector"))


def test_a_detector_is_abstract_or_not_subclassed() -> None:
    classes = [registry.resolve("detector", name) for name in DETECTORS]
    assert [parent for child in classes if isinstance(child, type) for parent in child.__bases__] == [
        Detector for _ in DETECTORS
    ]


def test_the_signature_is_plain_json_and_names_the_detector(detector: Detector) -> None:
    signature = dict(detector.signature)
    assert json.loads(canonical_json(signature)) == signature
    assert signature["detector"] in DETECTORS


@pytest.mark.parametrize("kind", list(OPEN))
def test_the_signature_depends_on_neither_time_nor_place(
    kind: str, detectors: Callable[..., Detector], tmp_path: Path
) -> None:
    assert dict(OPEN[kind](tmp_path, ALL).signature) == dict(detectors(kind).signature)


@pytest.mark.parametrize("kind", sorted(OPEN.keys() - {"whole"}))
@pytest.mark.parametrize(
    "options",
    [
        DetectorOptions(min_score=0.03, min_size=1),
        DetectorOptions(min_score=0.02, min_size=2),
        DetectorOptions(min_score=0.02, min_size=1, max_overlap=0.11),
        DetectorOptions(min_score=0.02, min_size=1, max_people=3),
    ],
    ids=["min_score", "min_size", "max_overlap", "max_people"],
)
def test_another_option_is_another_signature(
    kind: str, options: DetectorOptions, detectors: Callable[..., Detector]
) -> None:
    assert dict(detectors(kind, options).signature) != dict(detectors(kind).signature)


def test_the_name_is_one_short_line(detector: Detector) -> None:
    assert 0 < len(detector.name) < 100
    assert detector.name == detector.name.strip()
    assert "\n" not in detector.name


def test_the_source_of_boxes_is_one_of_those_that_results_name(detector: Detector) -> None:
    assert detector.box_source in set(get_args(BoxSource)) - {"given"}


# --- Boxes ---


def test_no_images_have_no_results(detector: Detector) -> None:
    assert list(detector.detect([])) == []


def test_people_are_found_in_every_image_and_in_order(detector: Detector) -> None:
    images = make_images()
    results = found(detector.detect(images))
    assert len(results) == len(images)
    for image, people in zip(images, results, strict=True):
        assert people, "the tiny models find people in any image"
        if detector.box_source == "whole":
            assert people == (Detection(box=None, score=None),)
            continue
        order = []
        for person in people:
            assert person.box is not None
            assert person.score is not None
            assert 0 <= person.score <= 1
            left, top, right, bottom = person.box.as_tuple()
            assert 0 <= left < right <= image.width
            assert 0 <= top < bottom <= image.height
            assert all(edge.is_integer() for edge in person.box.as_tuple())
            order.append((-person.score, person.box.as_tuple()))
        assert order == sorted(order)


def test_the_same_images_have_the_same_results(detector: Detector) -> None:
    images = make_images()
    assert list(detector.detect(images)) == list(detector.detect(images))


def test_a_batch_gives_what_its_images_give_one_by_one_in_any_order(detector: Detector) -> None:
    images = make_images()
    alone = [found(detector.detect([image]))[0] for image in images]
    assert_close(found(detector.detect(images)), alone)
    assert_close(found(detector.detect(images[::-1])), alone[::-1])


def assert_close(results: Sequence[Sequence[Detection]], expected: Sequence[Sequence[Detection]]) -> None:
    """The same people up to the rounding of scores and edges, which the size of a batch may change."""
    for people, other in zip(results, expected, strict=True):
        assert len(people) == len(other)
        for person, same in zip(people, other, strict=True):
            assert person.score == pytest.approx(same.score, abs=2e-4)
            if person.box is not None and same.box is not None:
                assert person.box.as_tuple() == pytest.approx(same.box.as_tuple(), abs=1)


def test_images_stay_as_they_are(detector: Detector) -> None:
    images = make_images(3)
    before = [(image.mode, image.tobytes()) for image in images]
    detector.detect(images)
    assert [(image.mode, image.tobytes()) for image in images] == before


def test_an_image_that_cannot_be_read_is_an_error_in_its_place(detector: Detector, tmp_path: Path) -> None:
    first, last, other = make_images(3)
    other.save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "cut.png") as cut:
        before, failure, after = detector.detect([first, cut, last])
    assert isinstance(failure, ImageError)
    assert "cut.png" in str(failure)
    assert_close(found([before, after]), found(detector.detect([first, last])))


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (70, 3), (3, 70), (1, 900), (900, 1)])
def test_a_tiny_image_has_few_people_or_an_error_and_costs_no_other(
    detector: Detector, size: tuple[int, int]
) -> None:
    (whole,) = make_images(1)
    result, other = detector.detect([Image.new("RGB", size, "red"), whole])
    assert_close(found([other]), found(detector.detect([whole])))
    if isinstance(result, MienError):
        assert isinstance(result, ImageError)
        assert f"{size[0]} x {size[1]}" in str(result)
        return
    for person in result:
        assert person.box is None or (person.box.right <= size[0] and person.box.bottom <= size[1])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_images_of_any_mode_are_taken(detector: Detector, mode: str) -> None:
    assert len(found(detector.detect([Image.new(mode, (60, 40))]))) == 1


def test_boxes_are_in_pixels_of_the_upright_image(detector: Detector, tmp_path: Path) -> None:
    (image,) = make_images(1)
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    image.save(tmp_path / "turned.png", exif=exif)
    upright = image.transpose(Image.Transpose.ROTATE_270)
    with Image.open(tmp_path / "turned.png") as turned:
        assert_close(found(detector.detect([turned])), found(detector.detect([upright])))


# --- Options ---


# D-FINE and RT-DETRv2 differ from YOLOS only inside.
@pytest.mark.parametrize("kind", ["yolos", "yolox", "yunet"])
def test_higher_limits_leave_some_of_the_same_people(kind: str, detectors: Callable[..., Detector]) -> None:
    (image,) = make_images(1)
    (everyone,) = found(detectors(kind).detect([image]))
    score = everyone[0].score
    (people,) = found(
        detectors(kind, DetectorOptions(min_score=score, min_size=1, max_people=1)).detect([image])
    )
    assert list(people) == list(everyone[:1])


def test_the_whole_image_has_no_options() -> None:
    with pytest.raises(ConfigError, match="no options"):
        open_detector("whole", DetectorOptions(min_score=0.9))
