"""Marking and fitting images; opening is tested in test_images.py."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from mien.errors import BoxError, DataError, UnknownNameError
from mien.media.images import FIT_MODES, MARK_STYLES, Marking, fit_to_square, mark_subject
from mien.recipe.features import FitMode
from mien.types import Box

Paint = Callable[..., Path]

RED = (255, 0, 0)


def pixels(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(image)


def noise(width: int, height: int) -> Image.Image:
    # Without pure red, which is the color of the line.
    values = np.random.default_rng(0).integers(0, 200, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


# --- Marking -----------------------------------------------------------------------------------------


def a_box(left: float, top: float, right: float, bottom: float) -> Box:
    return Box(left=left, top=top, right=right, bottom=bottom)


@given(st.integers(24, 300), st.integers(24, 300), st.data())
def test_the_red_box_surrounds_the_box_and_hides_nothing_else(
    width: int, height: int, data: st.DataObject
) -> None:
    left = data.draw(st.integers(-5, width - 12))
    top = data.draw(st.integers(-5, height - 12))
    right = data.draw(st.integers(max(left, 0) + 11, width + 5))
    bottom = data.draw(st.integers(max(top, 0) + 11, height + 5))
    image = noise(width, height)
    before = image.tobytes()
    marked = mark_subject(image, a_box(left, top, right, bottom), Marking())
    assert image.tobytes() == before
    red = (pixels(marked) == RED).all(axis=2)
    line = max(2, round(0.01 * max(width, height)))
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    # The line is just outside the box; inside only at an edge of the image.
    assert (columns[0], columns[-1]) == (max(0, left - line), min(width, right + line) - 1)
    assert (rows[0], rows[-1]) == (max(0, top - line), min(height, bottom + line) - 1)
    ring = np.ones_like(red)
    ring[rows[0] + line : rows[-1] + 1 - line, columns[0] + line : columns[-1] + 1 - line] = False
    ring[: rows[0]] = ring[rows[-1] + 1 :] = ring[:, : columns[0]] = ring[:, columns[-1] + 1 :] = False
    assert (red == ring).all()
    assert (pixels(marked)[~red] == pixels(image)[~red]).all()


def test_the_width_of_the_line_is_relative_to_the_longer_side() -> None:
    marked = mark_subject(noise(200, 100), a_box(50, 30, 150, 70), Marking(width=0.05, color=(0, 255, 0)))
    green = (pixels(marked) == (0, 255, 0)).all(axis=2)
    assert np.flatnonzero(green[50]).tolist() == [*range(40, 50), *range(150, 160)]


def test_two_people_in_one_photo_give_two_images() -> None:
    image = noise(100, 60)
    for style in ("red_box", "crop", "blur_background"):
        one = mark_subject(image, a_box(0, 0, 40, 60), Marking(style=style))
        other = mark_subject(image, a_box(60, 0, 100, 60), Marking(style=style))
        assert one.tobytes() != other.tobytes()


def test_a_crop_keeps_the_box_and_a_margin() -> None:
    assert mark_subject(noise(100, 60), a_box(20, 10, 60, 30), Marking(style="crop")).size == (48, 28)
    assert mark_subject(noise(100, 60), a_box(0, 0, 100, 60), Marking(style="crop")).size == (100, 60)


def test_a_blurred_background_leaves_the_box_sharp() -> None:
    image = noise(100, 60)
    marked = pixels(mark_subject(image, a_box(20, 10, 60, 30), Marking(style="blur_background")))
    assert (marked[10:30, 20:60] == pixels(image)[10:30, 20:60]).all()
    assert marked[40:, 70:].std() < pixels(image)[40:, 70:].std() / 2


@pytest.mark.parametrize("style", MARK_STYLES)
def test_without_a_box_every_style_returns_the_image(style: str) -> None:
    image = noise(30, 20)
    assert mark_subject(image, None, Marking(style=style)).tobytes() == image.tobytes()  # type: ignore[arg-type]


def test_the_style_none_returns_the_image() -> None:
    image = noise(30, 20)
    assert mark_subject(image, a_box(1, 1, 9, 9), Marking(style="none")).tobytes() == image.tobytes()


@pytest.mark.parametrize("style", MARK_STYLES)
def test_a_box_outside_the_image_is_an_error_in_every_style(style: str) -> None:
    with pytest.raises(BoxError, match="30 x 20"):
        mark_subject(noise(30, 20), a_box(30, 0, 40, 10), Marking(style=style))  # type: ignore[arg-type]


def test_wrong_markings_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="'red-box'") as caught:
        Marking(style="red-box")  # type: ignore[arg-type]
    assert "did you mean 'red_box'?" in caught.value.hint
    with pytest.raises(DataError, match=r"width 1\.5"):
        Marking(width=1.5)


def test_the_digest_changes_if_and_only_if_the_drawing_does() -> None:
    markings = [Marking(), Marking(width=0.02), Marking(color=(0, 0, 255))]
    markings += [Marking(style=style) for style in MARK_STYLES if style != "red_box"]
    assert len({marking.digest() for marking in markings}) == len(markings)
    assert Marking(style="crop", width=0.02).digest() == Marking(style="crop").digest()


# --- Fitting -----------------------------------------------------------------------------------------


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 128))
def test_every_mode_gives_a_square_of_the_size(width: int, height: int, size: int) -> None:
    for mode in FIT_MODES:
        assert fit_to_square(Image.new("RGB", (width, height)), size, mode).size == (size, size)


@given(st.integers(20, 400), st.integers(20, 400), st.integers(16, 128))
def test_a_letterbox_keeps_the_aspect_ratio_and_centers_the_image(width: int, height: int, size: int) -> None:
    assume(max(width, height) / min(width, height) < size)
    square = pixels(fit_to_square(Image.new("RGB", (width, height), RED), size))
    shown = (square == RED).all(axis=2)
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    tall, wide = len(rows), len(columns)
    assert shown.sum() == tall * wide
    assert max(tall, wide) == size
    assert abs(tall - size * height / max(width, height)) <= 0.5
    assert abs(wide - size * width / max(width, height)) <= 0.5
    assert abs(rows[0] - (size - 1 - rows[-1])) <= 1
    assert abs(columns[0] - (size - 1 - columns[-1])) <= 1


def test_a_subject_at_the_edge_is_kept_by_a_letterbox_and_lost_by_a_center_crop() -> None:
    image = Image.new("RGB", (400, 100))
    image.paste(RED, (0, 0, 40, 100))

    def shows_red(mode: FitMode) -> bool:
        return bool((pixels(fit_to_square(image, 64, mode)) == RED).all(axis=2).any())

    assert [shows_red("letterbox"), shows_red("squash"), shows_red("center_crop")] == [True, True, False]


def test_unknown_modes_and_sizes_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="'leterbox'"):
        fit_to_square(noise(4, 4), 8, "leterbox")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="0 pixels"):
        fit_to_square(noise(4, 4), 0)
