"""Large JPEG photos are decoded at a smaller size; what a model sees of them hardly changes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import BoxError
from mien.features.image_reader import load_pixels
from mien.media.images import (
    MARK_STYLES,
    ImageIdentity,
    Marking,
    Square,
    fit_to_square,
    identify_image,
    load_image_file,
    mark_subject,
    open_image,
)
from mien.media.memory import Reservation
from mien.media.shrink import View
from mien.media.views import OpenedPhoto, prepare_frames
from mien.recipe.features import FitMode
from mien.types import Box, ImageRef, Subject

SIDE = 48
SIZE = (1000, 752)
BOX = Box(left=300, top=200, right=560, bottom=640)
ORIENTATION = 0x0112
CROP = Marking(style="crop")


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., Path]:
    """photo(orientation=6, mode="CMYK", kind="JPEG"): an image of 1000 x 752 pixels, as stored."""

    def save(
        *, orientation: int = 1, mode: str = "RGB", kind: str = "JPEG", size: tuple[int, int] = SIZE
    ) -> Path:
        noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        noise[:, :, 0] = noise[:, :, 1:].min(axis=2)  # nothing is red
        image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        path = tmp_path / f"{orientation}-{mode}-{size[0]}.{kind.lower()}"
        image.save(path, kind, quality=95, exif=exif.tobytes())
        return path

    return save


def whole(path: Path, box: Box | None, marking: Marking) -> Image.Image:
    """The photo as a model would see it if all of its pixels were decoded."""
    return fit_to_square(mark_subject(open_image(path), box, marking), SIDE)


def shown(path: Path, box: Box | None, marking: Marking) -> Image.Image:
    return prepare_frames(Subject.still("a", path, box), marking=marking, size=SIDE)[0]


def scale_of(path: Path, box: Box | None = BOX, marking: Marking | None = None) -> int:
    view = View(marking=marking or Marking(), square=Square(SIDE))
    return view.scale_of(identify_image(path), box)


def redness(image: Image.Image) -> np.ndarray:
    values = np.asarray(image).astype(int)
    red: np.ndarray = values[:, :, 0] - values[:, :, 1:].max(axis=2)
    return red.clip(0)


@pytest.mark.parametrize(
    ("size", "mode", "scale"),
    [
        ((640, 480), "letterbox", 1),
        ((895, 600), "letterbox", 1),
        ((896, 100), "letterbox", 2),
        ((1791, 1300), "letterbox", 2),
        ((1792, 1300), "letterbox", 4),
        ((12_000, 9000), "letterbox", 4),
        ((1300, 1792), "center_crop", 2),
        ((1300, 1792), "squash", 2),
    ],
)
def test_twice_the_side_of_the_square_remains(size: tuple[int, int], mode: str, scale: int) -> None:
    view = View(marking=Marking(), square=Square(224, mode))  # type: ignore[arg-type]
    assert view.scale(size, None) == view.scale(size[::-1], None) == scale
    assert View(marking=Marking()).scale(size, None) == 1  # a model that takes every pixel


def test_a_crop_and_a_variation_need_more_of_the_photo() -> None:
    square, size = Square(224), (4000, 3000)
    crop = View(marking=CROP, square=square)
    large, small = Box(left=0, top=0, right=1800, bottom=500), Box(left=10, top=10, right=500, bottom=890)
    assert [crop.scale(size, box) for box in (None, large, small)] == [4, 4, 1]
    # Only the part inside counts, whichever way the photo is turned.
    beyond = Box(left=3900, top=0, right=9000, bottom=2000)
    assert crop.scale(size, beyond) == crop.scale(size[::-1], beyond) == 4
    assert crop.scale(size, Box(left=0, top=2900, right=100, bottom=9000)) == 1
    varied = View(marking=Marking(), square=square, is_varied=True)
    assert [varied.scale((side, side), None) for side in (1400, 1500, 2900, 3000)] == [1, 2, 2, 4]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("style", MARK_STYLES)
def test_a_large_photo_looks_as_if_it_were_decoded_whole(
    photo: Callable[..., Path], orientation: int, style: str
) -> None:
    path, marking = photo(orientation=orientation), Marking(style=style)  # type: ignore[arg-type]
    box = BOX if orientation < 5 else Box(left=200, top=300, right=640, bottom=560)
    assert scale_of(path, box, marking) == 4
    before, now = whole(path, box, marking), shown(path, box, marking)
    assert now.tobytes() != before.tobytes()
    difference = np.abs(np.asarray(now).astype(int) - np.asarray(before))
    assert difference.mean() < 3
    assert np.percentile(difference, 98) < 40


def test_the_red_line_keeps_its_place_and_width(photo: Callable[..., Path]) -> None:
    path = photo()
    for axis in (0, 1):
        before, now = (redness(make(path, BOX, Marking())).sum(axis=axis) for make in (whole, shown))
        # The sides at the left and right, or at the top and bottom.
        for side in (slice(9, 20), slice(22, 42)):
            assert now[side].sum() / before[side].sum() == pytest.approx(1, abs=0.12)
            places = np.arange(SIDE)[side]
            centers = [np.average(places, weights=ink[side] ** 2) for ink in (before, now)]
            assert centers[0] == pytest.approx(centers[1], abs=0.2)


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "I;16"), ("TIFF", "RGB"), ("JPEG", "CMYK"), ("WEBP", "RGB")]
)
def test_other_files_keep_their_pixels(photo: Callable[..., Path], kind: str, mode: str) -> None:
    path = photo(kind=kind, mode="L" if mode == "I;16" else mode)
    if mode == "I;16":
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 257).save(path)
    assert identify_image(path).shrinkable_size is None
    assert shown(path, BOX, Marking()).tobytes() == whole(path, BOX, Marking()).tobytes()


def test_small_photos_keep_their_pixels(photo: Callable[..., Path]) -> None:
    path = photo(size=(180, 120))
    box = Box(left=20, top=20, right=90, bottom=100)
    assert scale_of(path, box) == 1
    assert shown(path, box, Marking()).tobytes() == whole(path, box, Marking()).tobytes()


def test_gray_photos_are_shrunk_too(photo: Callable[..., Path]) -> None:
    assert scale_of(photo(mode="L")) == 4
    assert load_image_file(photo(mode="L"), choose_scale=lambda _: 4).image.size == (250, 188)


def test_a_box_is_checked_in_pixels_of_the_file(photo: Callable[..., Path]) -> None:
    path = photo()
    with pytest.raises(BoxError, match="lies outside the image of 1000 x 752 pixels"):
        shown(path, Box(left=1000, top=10, right=1400, bottom=90), Marking())
    # A quarter of this box would look like shares of the image.
    tiny = Box(left=0, top=0, right=5, bottom=5)
    assert redness(shown(path, tiny, Marking()))[6:12, :4].max() > 60
    with pytest.raises(BoxError, match="looks like shares"):
        shown(path, Box(left=0.1, top=0.1, right=0.5, bottom=0.9), Marking())


def test_an_opened_photo_is_decoded_again_only_for_another_scale(
    photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    large, other = photo(), photo(kind="PNG")
    read: list[tuple[Path, int]] = []

    def counted(path: Path, **options: object) -> object:
        loaded = load_image_file(path, **options)  # type: ignore[arg-type]
        read.append((path, loaded.scale))
        return loaded

    monkeypatch.setattr("mien.media.views.load_image_file", counted)
    with Reservation() as memory:
        opened = OpenedPhoto(memory)
        for size in (48, 52, 150, None, None):
            prepare_frames(Subject.still("a", large, BOX), marking=Marking(), size=size, photo=opened)
        for size in (48, 150, None):
            prepare_frames(Subject.still("b", other, BOX), marking=Marking(), size=size, photo=opened)
    assert read == [(large, 4), (large, 2), (large, 1), (other, 1)]


def test_models_that_take_the_same_square_share_it(photo: Callable[..., Path]) -> None:
    subject, opened = Subject.still("a", photo(), BOX), OpenedPhoto()
    square = Square(SIDE)
    (first,) = prepare_frames(subject, marking=Marking(), size=SIDE, photo=opened)
    assert prepare_frames(subject, marking=Marking(), size=SIDE, photo=opened)[0] is first
    for marking in (Marking(), CROP, Marking()):
        pixels = load_pixels(subject, [marking], square, photo=opened)
        assert np.array_equal(pixels, load_pixels(subject, [marking], square))
    moved = replace(subject, boxes=(Box(left=0, top=0, right=99, bottom=99),))
    others: list[tuple[Subject, int, FitMode]] = [
        (moved, SIDE, "letterbox"),
        (moved, SIDE, "squash"),
        (moved, 60, "squash"),
    ]
    for other, size, mode in others:
        (made,) = prepare_frames(other, marking=Marking(), size=size, fit_mode=mode, photo=opened)
        (alone,) = prepare_frames(other, marking=Marking(), size=size, fit_mode=mode)
        assert made.tobytes() == alone.tobytes() != first.tobytes()


def test_pixels_in_memory_are_not_shrunk(photo: Callable[..., Path]) -> None:
    pixels = Image.open(photo())
    subject = Subject(id="a", images=(ImageRef(path=Path("pixels"), pixels=pixels),), boxes=(BOX,))
    expected = fit_to_square(mark_subject(pixels, BOX, Marking()), SIDE)
    assert prepare_frames(subject, marking=Marking(), size=SIDE)[0].tobytes() == expected.tobytes()
    assert View(marking=Marking(), square=Square(SIDE)).scale_of(ImageIdentity("ab"), BOX) == 1
