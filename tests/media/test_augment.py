"""Variations: boxes follow the image, stay whole, and are determined by a name and a number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.media.augment import Variation, draw_variation, vary
from mien.recipe.features import AugmentKind
from mien.types import Box

KINDS: tuple[AugmentKind, ...] = ("flip", "crop", "color")
GREEN, GRAY = (0, 200, 0), (90, 90, 90)


def scene(box: Box, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A gray image, green inside the box."""
    image = Image.new("RGB", size, GRAY)
    left, top, right, bottom = (int(edge) for edge in box.as_tuple())
    image.paste(GREEN, (left, top, right, bottom))
    return image


def green_box(image: Image.Image) -> tuple[int, int, int, int]:
    pixels = np.asarray(image).astype(int)
    found = np.argwhere(pixels[..., 1] > pixels[..., 0] + 20)
    (top, left), (bottom, right) = found.min(axis=0), found.max(axis=0) + 1
    return int(left), int(top), int(right), int(bottom)


BOXES = st.tuples(st.integers(0, 35), st.integers(0, 25), st.integers(1, 40), st.integers(1, 30)).map(
    lambda edges: Box(
        left=edges[0],
        top=edges[1],
        right=min(40, edges[0] + edges[2]),
        bottom=min(30, edges[1] + edges[3]),
    )
)


@given(BOXES, st.integers(0, 50))
def test_the_box_is_transformed_and_never_cut(box: Box, number: int) -> None:
    variation = draw_variation(KINDS, name="subject", number=number)
    ((image, moved),) = vary([(scene(box), box)], variation)
    assert moved is not None
    assert green_box(image) == moved.as_tuple()
    assert (moved.width, moved.height) == (box.width, box.height)


@given(st.lists(BOXES, min_size=2, max_size=4), st.integers(1, 20))
def test_all_frames_of_a_clip_vary_alike(boxes: list[Box], number: int) -> None:
    variation = draw_variation(KINDS, name="clip", number=number)
    varied = vary([(scene(box), box) for box in boxes], variation)
    assert len({image.size for image, _ in varied}) == 1
    for (image, moved), box in zip(varied, boxes, strict=True):
        assert moved is not None
        assert green_box(image) == moved.as_tuple()
        assert moved.width == box.width


def test_a_flip_mirrors_and_a_crop_cuts() -> None:
    box = Box(left=2, top=3, right=10, bottom=12)
    ((flipped, moved),) = vary([(scene(box), box)], Variation(flip=True))
    assert flipped.size == (40, 30)
    assert moved == Box(left=30, top=3, right=38, bottom=12)
    ((cut, moved),) = vary([(scene(box), box)], Variation(cut=(0.2, 0.2, 0.25, 0.1)))
    # Left and top stop at the box.
    assert (cut.size, moved) == ((28, 24), Box(left=0, top=0, right=8, bottom=9))
    ((free, nothing),) = vary([(scene(box), None)], Variation(cut=(0.2, 0.2, 0.25, 0.1)))
    assert (free.size, nothing) == ((22, 21), None)


def test_a_box_beyond_the_image_can_vary() -> None:
    box = Box(left=-5, top=0, right=20, bottom=40)
    ((_, moved),) = vary([(scene(Box(left=0, top=0, right=20, bottom=30)), box)], Variation(flip=True))
    assert moved == Box(left=20, top=0, right=45, bottom=40)


def test_a_variation_is_determined_by_name_and_number() -> None:
    drawn = [draw_variation(KINDS, name="a", number=number) for number in range(6)]
    assert drawn[0] is None
    assert drawn == [draw_variation(KINDS, name="a", number=number) for number in range(6)]
    assert len({str(variation) for variation in drawn}) == 6
    assert draw_variation(KINDS, name="b", number=1) != drawn[1]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_requested_kinds_vary(kind: AugmentKind) -> None:
    plain = Variation()
    drawn = [draw_variation((kind,), name="a", number=number) or plain for number in range(1, 30)]
    differing = {
        "crop": {one.cut for one in drawn} != {plain.cut},
        "flip": {one.flip for one in drawn} == {False, True},
        "color": any((one.brightness, one.contrast, one.color) != (1, 1, 1) for one in drawn),
    }
    assert differing == {name: name == kind for name in differing}


def test_without_kinds_the_image_is_unchanged() -> None:
    image, box = Image.new("RGB", (5, 4)), Box(left=0, top=0, right=2, bottom=2)
    assert draw_variation((), name="a", number=3) is None
    assert vary([(image, box)], None) == [(image, box)]
