"""Images that fit into a budget."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.evaluate.results.examples import Example
from mien.report.error_browser.thumbnails import MAX_SIDE, Thumbnail, make_thumbnails
from mien.report.photos import PhotoReader
from mien.types import Box


def _example(id: str, path: Path, box: Box | None = None) -> Example:
    return Example(
        id=id, images=(path,), frames=(None,), boxes=(box,), labels={}, dimensions=None, description=None
    )


def _open(thumbnail: Thumbnail) -> Image.Image:
    return Image.open(
        io.BytesIO(base64.b64decode(thumbnail.source.removeprefix("data:image/webp;base64,")))
    ).convert("RGB")


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    """Twelve noisy photos, in which a image takes many bytes."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(12):
        path = tmp_path / f"{index}.png"
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((400, 300)).save(path)
        found.append(_example(f"p{index}", path, Box(left=100, top=100, right=200, bottom=200)))
    return found


@pytest.mark.parametrize("num_bytes", [36_000, 72_000, 100_000])
def test_images_fit_into_the_budget_and_use_most_of_it(examples: list[Example], num_bytes: int) -> None:
    found = make_thumbnails(PhotoReader("full"), examples, num_bytes)
    used = sum(len(item.source) for item in found.values())
    assert all(item.source for item in found.values())
    assert num_bytes / 2 < used <= num_bytes
    for item in found.values():
        assert _open(item).size == (item.width, item.height)
        assert max(item.width, item.height) <= MAX_SIDE


def test_who_does_not_fit_has_no_image_and_the_reason(examples: list[Example]) -> None:
    found = make_thumbnails(PhotoReader("full"), examples, 12 * 100)
    assert {(item.source, item.reason) for item in found.values()} == {("", "no space for it on this page")}


def test_who_needs_more_gets_what_others_left(examples: list[Example], tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    Image.new("RGB", (60, 40), (128, 128, 128)).save(path)
    plain = [_example(f"plain{index}", path) for index in range(36)]
    num_bytes = 48 * 600  # less than the smallest image of noise, more than one of a plain photo
    found = make_thumbnails(PhotoReader("full"), [*plain, *examples], num_bytes)
    assert sum(len(item.source) for item in found.values()) <= num_bytes
    assert all(found[example.id].source for example in plain)
    assert sum(len(found[example.id].source) > 600 for example in examples) > len(examples) / 2


def test_the_box_is_drawn_after_shrinking(tmp_path: Path) -> None:
    path = tmp_path / "gray.png"
    Image.new("RGB", (2000, 1000), (128, 128, 128)).save(path)
    box = Box(left=500, top=200, right=1500, bottom=800)
    found = make_thumbnails(PhotoReader("full"), [_example("a", path, box)], 10**6)["a"]
    pixels = np.asarray(_open(found)).astype(int)
    red = pixels[..., 0] - pixels[..., 1:].max(axis=-1)
    middle = pixels.shape[0] // 2
    assert red[middle, pixels.shape[1] // 4 - 3 : pixels.shape[1] // 4 + 2].max() > 60
    assert red[middle, pixels.shape[1] // 2] < 20


def test_people_in_one_photo_have_their_own_boxes(tmp_path: Path) -> None:
    path = tmp_path / "gray.png"
    Image.new("RGB", (200, 200), (128, 128, 128)).save(path)
    boxes = [Box(left=10, top=10, right=60, bottom=60), Box(left=120, top=120, right=190, bottom=190)]
    people = [_example(f"p{index}", path, box) for index, box in enumerate(boxes)]
    far = _example("far", path, Box(left=500, top=500, right=600, bottom=600))
    found = make_thumbnails(PhotoReader("full"), [*people, far], 10**6)
    assert found["p0"].source != found["p1"].source
    assert (found["far"].source, "outside" in found["far"].reason) == ("", True)


def test_a_missing_photo_has_the_reason(tmp_path: Path) -> None:
    (found,) = make_thumbnails(PhotoReader("full"), [_example("a", tmp_path / "no.png")], 10**6).values()
    assert found.source == ""
    assert "no.png" in found.reason


def test_photos_that_are_left_out_are_never_opened(tmp_path: Path) -> None:
    (found,) = make_thumbnails(PhotoReader("none"), [_example("a", tmp_path / "no.png")], 10**6).values()
    assert (found.source, found.reason) == ("", "left out")
