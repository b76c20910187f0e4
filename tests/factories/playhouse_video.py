"""Videos of Playhouse people who cross, leave and return, and a detector that finds them by their colors."""

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
from PIL import Image
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
_APART: Final = 60  # of the largest channel, between colors that differ
_LEAST: Final = 200  # pixels of a part of a person who is found
_STEP: Final = 2  # pixels: every second one is looked at


@dataclass(frozen=True)
class Sprite:
    """A person cut out of a scene.

    Attributes:
        image: With transparency.
        colors: Those that neither the background nor anyone else has.
        part: The edges of the largest part in these colors, in pixels of the image.
    """

    image: Image.Image
    colors: np.ndarray
    part: tuple[int, int, int, int]


@dataclass(frozen=True)
class Stage:
    """An empty place, and the people who walk in front of it: the last one is in front of the others."""

    background: Image.Image
    sprites: tuple[Sprite, ...]


@cache
def stage(num_people: int = 3) -> Stage:
    """The first scenes by seed whose people have colors of their own."""
    scenes = (_cut_out(seed) for seed in range(1_000))
    background, _ = next(scenes)
    images: list[Image.Image] = []
    own: list[np.ndarray] = []
    for _, image in scenes:
        more = [] if image is None else _own_colors([*images, image], background)
        if image is not None and all(map(len, more)):
            images, own = [*images, image], more
        if len(images) == num_people:
            return Stage(background, tuple(map(_sprite, images, own)))
    raise AssertionError("too few people have colors of their own")


def _sprite(image: Image.Image, colors: np.ndarray) -> Sprite:
    part = _largest_part(np.asarray(image.convert("RGB")), colors)
    assert part is not None
    return Sprite(image, colors, part)


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


def _own_colors(images: Sequence[Image.Image], background: Image.Image) -> list[np.ndarray]:
    """The colors of large parts of each person that are not those of the place or of others."""
    palettes = [_palette(image, 0.01) for image in images]
    place = _palette(background, 0.001)
    own = []
    for index, image in enumerate(images):
        palette = _palette(image, 0.1)
        others = np.concatenate([place, *palettes[:index], *palettes[index + 1 :]])
        distance = np.abs(palette[:, None] - others[None]).max(axis=2).min(axis=1)
        own.append(palette[distance > _APART])
    return own


def _palette(image: Image.Image, share: float) -> np.ndarray:
    """The colors of at least this share of the pixels that are not transparent."""
    pixels = np.asarray(image.convert("RGBA")).reshape(-1, 4)
    colors, counts = np.unique(pixels[pixels[:, 3] > 0, :3], axis=0, return_counts=True)
    large: np.ndarray = colors[counts >= share * counts.sum()].astype(int)
    return large


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
    """Finds the people of the stage by their own colors: who is hidden is not found, and who is half hidden
    has a box of the other half."""

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
    pixels = np.asarray(image)
    for sprite in stage().sprites:
        part = _largest_part(pixels, sprite.colors)
        if part is not None:
            margins = np.subtract((0, 0, *sprite.image.size), sprite.part)
            left, top, right, bottom = np.add(part, margins).tolist()
            box = Box(left=left, top=top, right=right, bottom=bottom).clip(*image.size)
            yield Detection(box=box, score=0.9)


def _largest_part(pixels: np.ndarray, colors: np.ndarray) -> tuple[int, int, int, int] | None:
    """The edges of the largest part of an image in some colors; None if it is not large enough."""
    coarse = pixels[::_STEP, ::_STEP].astype(np.int16)
    shown = np.zeros(coarse.shape[:2], bool)
    for color in colors:
        shown |= np.abs(coarse - color).max(axis=2) < _APART // 2
    parts, _ = ndimage.label(shown)
    sizes = np.bincount(parts.ravel())[1:]
    if not len(sizes) or sizes.max() * _STEP**2 < _LEAST:
        return None
    rows, columns = ndimage.find_objects(parts)[sizes.argmax()]
    return columns.start * _STEP, rows.start * _STEP, columns.stop * _STEP, rows.stop * _STEP
