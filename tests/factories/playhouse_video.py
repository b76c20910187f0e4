"""Videos of Playhouse people who cross, leave and return, and a detector that finds them by their bibs."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import av
import numpy as np
from PIL import Image, ImageDraw
from pydantic import JsonValue
from scipy import ndimage

from mien.detection.overlap import intersection_over_union
from mien.errors import MienError
from mien.playhouse.draw import draw_with_person_map
from mien.playhouse.scene import sample_scene
from mien.predict.detect.detector import Detection, Detector, DetectorOptions
from mien.predict.detect.opened import detect_opened
from mien.types import Box

FPS: Final = 10
WIDTH, HEIGHT = 480, 288
_TALL: Final = 190  # pixels of a person
_BIBS: Final = ((255, 0, 255), (0, 255, 0), (0, 255, 255))
_DISTANCE: Final = 70  # of the largest channel, from the color of a bib
_LEAST: Final = 200  # pixels of a bib that is found
_STEP: Final = 2  # pixels: every second one is looked at


@dataclass(frozen=True)
class Sprite:
    """A person cut out of a scene, with a bib in a color that no one else has.

    Attributes:
        image: With transparency.
        color: Of the bib.
        bib: Its left, top, right and bottom edge in pixels of the image.
    """

    image: Image.Image
    color: tuple[int, int, int]
    bib: tuple[int, int, int, int]


@dataclass(frozen=True)
class Stage:
    """An empty place, and the people who walk in front of it."""

    background: Image.Image
    sprites: tuple[Sprite, ...]


@cache
def stage() -> Stage:
    """The first scenes by seed with one person who is seen whole."""
    scenes = (_cut_out(seed) for seed in range(1_000))
    background, _ = next(scenes)
    whole = (image for _, image in scenes if image is not None)
    return Stage(background, tuple(_sprite(next(whole), color) for color in _BIBS))


def _sprite(image: Image.Image, color: tuple[int, int, int]) -> Sprite:
    width, height = image.size
    bib = (round(0.28 * width), round(0.5 * height), round(0.72 * width), round(0.8 * height))
    ImageDraw.Draw(image).rectangle((bib[0], bib[1], bib[2] - 1, bib[3] - 1), fill=(*color, 255))
    return Sprite(image, color, bib)


def _cut_out(seed: int) -> tuple[Image.Image, Image.Image | None]:
    """The place of a scene without its people, and one of them who is seen whole, if there is one."""
    scene = sample_scene(random.Random(seed))
    drawing, person_map = draw_with_person_map(scene)
    pixels, people = np.asarray(drawing.image), np.asarray(person_map)
    near = ndimage.distance_transform_edt(people > 0, return_distances=False, return_indices=True)
    empty = Image.fromarray(pixels[near[0], near[1]]).resize((WIDTH, HEIGHT))
    if len(drawing.boxes) != 1 or drawing.boxes[0].left < 2 or drawing.boxes[0].right > people.shape[1] - 2:
        return empty, None
    cut = np.dstack([pixels, np.where(people == 1, 255, 0)]).astype(np.uint8)
    left, top, right, bottom = Image.fromarray(people).getbbox() or (0, 0, 1, 1)
    sprite = Image.fromarray(cut[top:bottom, left:right])
    return empty, sprite.resize(
        (round(sprite.width * _TALL / sprite.height), _TALL), Image.Resampling.NEAREST
    )


# --- Videos ---


def place_people(time: float) -> dict[int, float]:
    """Where the middle of each person is at a time, in pixels from the left; who is hindmost comes first.

    Two people cross every ten seconds. The third, at the right, is away in each half minute for about five
    seconds, and later for one.
    """
    swing = 110 * math.cos(math.pi * time / 10)
    steps = (
        (0, 430),
        (6, 430),
        (7.5, 540),
        (12, 540),
        (13.5, 430),
        (20, 430),
        (21.5, 540),
        (23, 430),
        (30, 430),
    )
    times, where = zip(*steps, strict=True)
    third = np.interp(time % 30, np.array(times), np.array(where))
    return {0: WIDTH / 2 - 20 + swing, 1: WIDTH / 2 - 20 - swing, 2: float(third)}


def draw_frame(time: float) -> Image.Image:
    """The scene at a time."""
    scene = stage()
    image = scene.background.copy()
    for index, middle in place_people(time).items():
        sprite = scene.sprites[index].image
        sway = 3 * math.sin(6 * time + index)
        image.paste(sprite, (round(middle - sprite.width / 2), round(HEIGHT - _TALL + sway) - 8), sprite)
    return image


def true_boxes(time: float) -> dict[int, Box]:
    """The box of each person at a time, hidden or not, as far as it is inside of the frame."""
    boxes = {}
    for index, middle in place_people(time).items():
        half = stage().sprites[index].image.width / 2
        if middle - half < WIDTH - 2:
            boxes[index] = Box(
                left=max(0, middle - half),
                top=HEIGHT - _TALL - 8,
                right=min(WIDTH, middle + half),
                bottom=HEIGHT,
            )
    return boxes


def tracks_of_people(rows: Iterable[Mapping[str, Any]]) -> dict[int, list[int]]:
    """The tracks of each person in rows of results, in the order in which they begin.

    A row is of the person whose box overlaps its own most, among those who are not hidden.
    """
    found: dict[int, list[int]] = {}
    for row in rows:
        if row["box"] is None:
            continue
        truth = true_boxes(row["time"])
        known = np.array([box.as_tuple() for box in truth.values()])
        overlaps = intersection_over_union(np.array([row["box"]]), known)[0]
        person = list(truth)[int(overlaps.argmax())]
        tracks = found.setdefault(person, [])
        if row["track"] not in tracks:
            tracks.append(row["track"])
    return found


def film_playhouse(path: Path, seconds: float) -> Path:
    """A video of the scene, 10 frames per second."""
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(
            "libx264", rate=FPS, options={"preset": "ultrafast", "crf": "16", "g": "50"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number in range(round(seconds * FPS)):
            frame = av.VideoFrame.from_ndarray(np.asarray(draw_frame(number / FPS)), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


class StageDetector(Detector):
    """Finds the people of the stage by their bibs: who is hidden is not found, and who is half hidden has a
    box of the other half."""

    @classmethod
    def open(cls, model: str | None, options: DetectorOptions, *, device: str) -> Self:
        return cls()

    @property
    def name(self) -> str:
        return "colors"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"detector": "stage"}

    def detect(self, images: Sequence[Image.Image]) -> Sequence[Sequence[Detection] | MienError]:
        return detect_opened(images, lambda opened: [list(_find(image)) for image in opened])


def _find(image: Image.Image) -> Iterator[Detection]:
    pixels = np.asarray(image)[::_STEP, ::_STEP].astype(np.int16)
    for sprite in stage().sprites:
        shown = np.abs(pixels - sprite.color).max(axis=2) < _DISTANCE
        if shown.sum() * _STEP**2 >= _LEAST:
            rows, columns = (np.flatnonzero(shown.any(axis=axis)) * _STEP for axis in (1, 0))
            width, height = sprite.image.size
            box = Box(
                left=float(columns[0] - sprite.bib[0]),
                top=float(rows[0] - sprite.bib[1]),
                right=float(columns[-1] + _STEP + width - sprite.bib[2]),
                bottom=float(rows[-1] + _STEP + height - sprite.bib[3]),
            )
            yield Detection(box=box.clip(*image.size), score=0.9)
