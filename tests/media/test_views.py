"""Subjects as models see them: single images, frames, the middle frame, a contact sheet."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mien.errors import UsageError
from mien.media.images import MARK_STYLES, Marking, fit_to_square, mark_subject
from mien.media.memory import image_bytes
from mien.media.views import (
    load_frames,
    prepare_frames,
    prepare_image,
    prepare_images,
    prepare_with_boxes,
    prepared_bytes,
    select_frames,
)
from mien.recipe.describe import MarkStyle
from mien.types import Box, ImageRef, Subject

Paint = Callable[..., Path]
PLAIN = Marking(style="none")
COLORS = ("red", "green", "blue", "yellow", "purple")


def _album(paint: Paint, boxes: tuple[Box | None, ...] = (None,) * 5) -> Subject:
    """A subject in five images, which represent the frames of a clip."""
    images = tuple(ImageRef(path=paint(f"{name}.png", color=name)) for name in COLORS)
    return Subject(id="a", images=images, boxes=boxes)


def test_an_image_is_opened_marked_and_fitted(paint: Paint) -> None:
    box = Box(left=20, top=10, right=40, bottom=30)
    subject = Subject.still("a", paint("a.png", color="blue"), box)
    marked = prepare_image(subject, marking=Marking())
    assert marked.tobytes() == mark_subject(Image.new("RGB", (64, 48), "blue"), box, Marking()).tobytes()
    assert prepare_image(subject, marking=Marking(), size=32).tobytes() == fit_to_square(marked, 32).tobytes()


def test_a_single_image_is_the_same_in_every_view(paint: Paint) -> None:
    subject = Subject.still("a", paint("a.png", color="blue"))
    assert select_frames(subject, "contact_sheet") == select_frames(subject, "middle_frame") == subject


def test_the_middle_frame_represents_a_clip(paint: Paint) -> None:
    assert prepare_image(_album(paint), marking=PLAIN).getpixel((5, 5)) == (0, 0, 255)


def test_the_middle_frame_is_the_nearest_one_with_a_box(paint: Paint) -> None:
    box = Box(left=1, top=1, right=9, bottom=9)
    selected = select_frames(_album(paint, (None, box, None, None, box)), "middle_frame")
    assert selected.images[0].path.stem == "green"
    assert selected.boxes == (box,)


def test_a_contact_sheet_shows_all_frames_in_reading_order(paint: Paint) -> None:
    sheet = prepare_image(_album(paint), marking=PLAIN, clip="contact_sheet", size=90)
    assert sheet.size == (90, 90)
    centers = [(15 + 30 * (i % 3), 15 + 30 * (i // 3)) for i in range(5)]
    expected = [Image.new("RGB", (1, 1), name).getpixel((0, 0)) for name in COLORS]
    assert [sheet.getpixel(spot) for spot in centers] == expected
    assert sheet.getpixel((75, 75)) == (255, 255, 255)


def test_every_frame_is_marked_with_its_own_box(paint: Paint) -> None:
    boxes = tuple(Box(left=4 * i + 5, top=10, right=4 * i + 20, bottom=40) for i in range(5))
    album = _album(paint, boxes)
    frames = prepare_frames(album, marking=Marking(color=(255, 255, 255)))
    for frame, plain, box in zip(frames, load_frames(album), boxes, strict=True):
        assert frame.tobytes() == mark_subject(plain.image, box, Marking(color=(255, 255, 255))).tobytes()


def test_an_unknown_view_is_refused(paint: Paint) -> None:
    with pytest.raises(UsageError, match="view of a clip"):
        select_frames(_album(paint), "middle")  # type: ignore[arg-type]


def test_the_view_frames_gives_every_frame(paint: Paint) -> None:
    album = _album(paint)
    shown = prepare_images(album, marking=PLAIN, clip="frames", size=32)
    assert [image.getpixel((16, 16)) for image in shown] == [
        Image.new("RGB", (1, 1), name).getpixel((0, 0)) for name in COLORS
    ]
    (middle,) = prepare_images(album, marking=PLAIN, clip="middle_frame", size=32)
    assert middle.tobytes() == shown[2].tobytes()


@pytest.mark.parametrize("style", MARK_STYLES)
def test_the_estimate_of_memory_covers_what_is_prepared(paint: Paint, style: MarkStyle) -> None:
    path, marking = paint("a.jpg", size=(640, 480)), Marking(style=style)
    for box in (
        Box(left=20.5, top=10.5, right=80.2, bottom=300),
        Box(left=-90, top=0, right=900, bottom=999),
    ):
        subject = Subject.still("a", path, box)
        (image,) = prepare_images(subject, marking=marking)
        taken, estimate = image_bytes("RGB", image.width * image.height, 1), prepared_bytes(subject, marking)
        assert taken <= estimate <= 1.2 * taken


def test_models_that_take_boxes_get_them_instead_of_a_red_line(paint: Paint) -> None:
    box = Box(left=20, top=10, right=100, bottom=30)
    subject = Subject.still("a", paint("a.png", color="blue"), box)
    plain = Image.new("RGB", (64, 48), "blue").tobytes()
    (image,), (placed,) = prepare_with_boxes(subject, marking=Marking())
    assert (image.tobytes(), placed) == (plain, Box(left=20, top=10, right=64, bottom=30))
    # "none" hides the box from every model.
    (image,), (placed,) = prepare_with_boxes(subject, marking=PLAIN)
    assert (image.tobytes(), placed) == (plain, None)
    assert prepare_with_boxes(_album(paint), marking=Marking(), clip="frames")[1] == (None,) * 5


@pytest.mark.parametrize("style", ["crop", "blur_background"])
def test_the_box_lies_where_the_marked_image_shows_the_subject(paint: Paint, style: MarkStyle) -> None:
    path = paint("a.png", color="blue")
    image = Image.new("RGB", (64, 48), "blue")
    image.paste("red", (20, 10, 40, 30))
    image.save(path)
    subject = Subject.still("a", path, Box(left=20, top=10, right=40, bottom=30))
    (shown,), (box,) = prepare_with_boxes(subject, marking=Marking(style=style))
    assert shown.tobytes() == prepare_image(subject, marking=Marking(style=style)).tobytes()
    assert box is not None
    inside = shown.crop(box.as_tuple())
    assert inside.tobytes() == Image.new("RGB", (20, 20), "red").tobytes()
