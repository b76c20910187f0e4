"""Annotated images: every tag can be read, in crowds, on tiny images, and over any background."""

import random

import numpy as np
import pytest
from PIL import Image, ImageColor

from mien.labels import EMOTIC
from mien.predict.annotate import annotate, person_color
from mien.predict.results import Person
from mien.types import Box, Prediction


def person(number: int, box: Box | None) -> Person:
    scores = dict.fromkeys(EMOTIC.labels, 0.5) | {"Doubt/Confusion": 0.93}
    prediction = Prediction(subject_id=str(number), label_set="emotic", scores=scores)
    return Person(id=number, box=box, box_source="detected", prediction=prediction)


def num_pixels(image: Image.Image, color: str) -> int:
    return int((np.asarray(image) == ImageColor.getrgb(color)).all(-1).sum())


def test_a_small_image_is_enlarged_and_its_boxes_with_it() -> None:
    drawn = annotate(Image.new("RGB", (96, 64)), [person(0, Box(left=10, top=20, right=40, bottom=60))])
    assert drawn.size == (384, 256)
    assert drawn.getpixel((40, 200)) == ImageColor.getrgb(person_color(0))


def test_the_image_itself_is_unchanged() -> None:
    image = Image.new("RGB", (400, 300))
    annotate(image, [person(0, None)])
    assert num_pixels(image, "#000000") == 400 * 300


@pytest.mark.parametrize("size", [(400, 300), (4000, 3000)])
def test_people_with_the_same_box_have_tags_of_their_own(size: tuple[int, int]) -> None:
    box = Box(left=0.2 * size[0], top=0.2 * size[1], right=0.7 * size[0], bottom=0.9 * size[1])
    alone = [num_pixels(annotate(Image.new("RGB", size), [person(i, None)]), person_color(i)) for i in (0, 1)]
    drawn = annotate(Image.new("RGB", size), [person(0, box), person(1, box)])
    for number in (0, 1):
        assert num_pixels(drawn, person_color(number)) > 0.9 * alone[number]


def test_no_tag_of_a_crowd_is_covered() -> None:
    """Twelve people of two rows, each next to the other: with labels where they fit, else with numbers."""
    boxes = [
        Box(
            left=100 * (i % 6),
            top=200 * (i // 6) + 40,
            right=100 * (i % 6) + 100,
            bottom=200 * (i // 6) + 240,
        )
        for i in range(12)
    ]
    drawn = np.asarray(
        annotate(Image.new("RGB", (600, 480)), [person(i, box) for i, box in enumerate(boxes)])
    )
    for number, box in enumerate(boxes):
        color = ImageColor.getrgb(person_color(number))
        above = drawn[int(box.top) - 30 : int(box.bottom), int(box.left) : int(box.right)]
        assert (above == color).all(-1).sum() > 600  # the box alone has fewer


def test_tags_stay_inside_and_their_text_has_contrast() -> None:
    rng = random.Random(2)
    for number in range(6):
        left, top = rng.randrange(-50, 380), rng.randrange(-50, 280)
        box = Box(left=left, top=top, right=left + 60, bottom=top + 60)
        drawn = annotate(Image.new("RGB", (400, 300), "#777777"), [person(number, box)])
        assert num_pixels(drawn, person_color(number)) > 1000
        text = "#1A1A1A" if num_pixels(drawn, "#1A1A1A") else "#FFFFFF"
        assert contrast(text, person_color(number)) >= 4.5


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted(map(luminance, (first, second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    values = np.array(ImageColor.getrgb(color)) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
