"""Photos as they are, blurred, or left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.factories.shared_data import shared

from mien.errors import WeightsError
from mien.evaluate.results.examples import Example
from mien.report.photos import FaceFinder, PhotoReader, blur_region, head_area
from mien.types import Box

_BODY = Box(left=40, top=20, right=80, bottom=180)


def _noise(width: int = 200, height: int = 200, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def _example(path: Path, box: Box | None, id: str = "a") -> Example:
    return Example(
        id=id, images=(path,), frames=(None,), boxes=(box,), labels={}, dimensions=None, description=None
    )


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    _noise().save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def _pixels(image: Image.Image | None) -> np.ndarray:
    assert image is not None
    return np.asarray(image).astype(int)


def test_a_photo_is_as_it_is(photo: Path) -> None:
    found = PhotoReader("full").read(_example(photo, _BODY))
    assert (_pixels(found.image) == _pixels(Image.open(photo))).all()
    assert (found.box, found.reason) == (_BODY, "")


def test_a_photo_that_is_left_out_is_not_opened(tmp_path: Path) -> None:
    reader = PhotoReader("none")
    assert reader.read(_example(tmp_path / "missing.png", None)).reason == "left out"
    assert "left out" in reader.note


def test_the_head_of_the_person_is_blurred_and_the_rest_is_not(photo: Path) -> None:
    example = _example(photo, _BODY)
    before = _pixels(Image.open(photo))
    after = _pixels(PhotoReader("blurred", [example]).read(example).image)
    changed = (before != after).any(axis=2)
    assert changed[20:84, 40:80].mean() > 0.95
    assert not changed[90:].any()
    assert not changed[:, 90:].any()


def test_the_heads_of_everyone_in_the_photo_are_blurred(photo: Path) -> None:
    other = Box(left=120, top=20, right=160, bottom=180)
    people = [_example(photo, _BODY), _example(photo, other, "b")]
    after = _pixels(PhotoReader("blurred", people).read(people[0]).image)
    changed = (after != _pixels(Image.open(photo))).any(axis=2)
    assert changed[20:80, 125:155].mean() > 0.95


def test_without_a_box_the_whole_photo_is_blurred(photo: Path) -> None:
    example = _example(photo, None)
    after = _pixels(PhotoReader("blurred", [example]).read(example).image)
    assert (after != _pixels(Image.open(photo))).any(axis=2).mean() > 0.99


def test_blurring_forgets_everything_but_a_few_means() -> None:
    """Two regions with the same means of 4 x 4 cells are the same afterwards, so neither can be recovered."""
    rng = np.random.default_rng(1)
    first = rng.integers(60, 190, (80, 80, 3)).astype(np.int64)
    second = first.copy()
    for row in range(0, 80, 20):
        for column in range(0, 80, 20):  # pixels of a cell in another order
            cell = second[row : row + 20, column : column + 20].reshape(-1, 3)
            second[row : row + 20, column : column + 20] = rng.permutation(cell).reshape(20, 20, 3)
    assert np.abs(first - second).mean() > 20
    area = Box(left=0, top=0, right=80, bottom=80)
    blurred = [
        _pixels(blur_region(Image.fromarray(pixels.astype(np.uint8)), area)) for pixels in (first, second)
    ]
    assert np.abs(blurred[0] - blurred[1]).max() <= 1


@pytest.mark.parametrize(
    ("box", "least"),
    [
        (Box(left=0, top=0, right=50, bottom=200), 0.4),  # a whole body
        (Box(left=0, top=0, right=100, bottom=100), 0.9),  # head and shoulders
        (Box(left=0, top=0, right=200, bottom=100), 1.0),  # a wide box
    ],
)
def test_the_head_area_grows_as_the_box_shows_less_of_the_body(box: Box, least: float) -> None:
    head = head_area(box)
    assert head.bottom - box.top == pytest.approx(least * box.height)
    assert head.left < box.left
    assert head.right > box.right
    assert head.top < box.top


def test_a_detector_finds_further_faces() -> None:
    find = FaceFinder(shared("weights", "face_detection_yunet.onnx"))
    with_faces = 0
    for path in sorted(shared("emotic-photos", "images").iterdir())[:12]:
        example = _example(path, Box(left=0, top=0, right=2, bottom=2))
        reader = PhotoReader("blurred", [example], find)
        photo = reader.read(example).image
        faces = find(Image.open(path).convert("RGB"))
        with_faces += bool(faces)
        before = _pixels(Image.open(path).convert("RGB"))
        for face in faces:
            left, top = max(0, int(face.left)), max(0, int(face.top))
            inside = (slice(top, round(face.bottom)), slice(left, round(face.right)))
            assert (_pixels(photo)[inside] != before[inside]).any(axis=2).mean() > 0.9
        assert "face detector" in reader.note
    assert with_faces > 0


def test_a_file_that_is_not_a_face_detector_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(WeightsError):
        FaceFinder(tmp_path / "x.onnx")
    with pytest.raises(WeightsError, match="not a YuNet"):
        FaceFinder(shared("weights", "efficientnet-lite0.onnx"))
