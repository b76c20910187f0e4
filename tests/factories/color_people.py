"""People drawn as blocks of plain color, photos and videos of them, and a detector that finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Self

import av
import numpy as np
from PIL import Image, ImageDraw
from pydantic import JsonValue

from mien.errors import MienError
from mien.predict.detect.detector import Detection, Detector, DetectorOptions
from mien.predict.detect.opened import detect_opened
from mien.types import Box

COLORS: Final = ((255, 0, 0), (0, 0, 255), (0, 255, 0))
FPS: Final = 25
Place = tuple[int, int, int, int]


class ColorDetector(Detector):
    """Finds blocks of `COLORS` on a gray ground. Counts the images it gets.

    Args:
        one_per_color: Take all blocks of a color as one person, of whom a part may be hidden.
    """

    def __init__(self, *, one_per_color: bool = False) -> None:
        self.num_images = 0
        self._one_per_color = one_per_color

    @classmethod
    def open(cls, model: str | None, options: DetectorOptions, *, device: str) -> Self:
        return cls()

    @property
    def name(self) -> str:
        return "colors"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"detector": "colors"}

    def detect(self, images: Sequence[Image.Image]) -> Sequence[Sequence[Detection] | MienError]:
        self.num_images += len(images)
        return detect_opened(images, lambda opened: [_find(image, self._one_per_color) for image in opened])


def _find(image: Image.Image, one_per_color: bool) -> list[Detection]:
    from scipy import ndimage

    pixels = np.asarray(image).astype(int)
    found = []
    for color in COLORS:
        is_color = np.abs(pixels - color).max(axis=2) < 90
        blocks = is_color.astype(int) if one_per_color else ndimage.label(is_color)[0]
        for rows, columns in ndimage.find_objects(blocks):
            box = Box(left=columns.start, top=rows.start, right=columns.stop, bottom=rows.stop)
            if box.width * box.height >= 9:
                found.append(Detection(box=box, score=0.9))
    return found


def draw_people(places: Sequence[Place], size: tuple[int, int] = (320, 160)) -> Image.Image:
    """An image with a block at each place, in the colors in turn."""
    image = Image.new("RGB", size, (128, 128, 128))
    for index, place in enumerate(places):
        left, top, right, bottom = place
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill=COLORS[index % len(COLORS)])
    return image


def film_people(
    path: Path, frames: Sequence[Sequence[Place]], *, options: dict[str, str] | None = None
) -> Path:
    """A video with the people at these places, 25 frames per second."""
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=FPS, options={"crf": "10", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = 320, 160, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number, places in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.asarray(draw_people(places)), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def damage_frame(video: Path, number: int) -> Path:
    """Overwrites a frame with zeros; the others remain if each is a key frame (options={"g": "1"})."""
    with av.open(str(video)) as file:
        packet = [packet for packet in file.demux(video=0) if packet.size][number]
        start, size = packet.pos, packet.size
    assert start is not None
    content = bytearray(video.read_bytes())
    content[start : start + size] = bytes(size)
    video.write_bytes(content)
    return video


def crossing(seconds: float) -> list[list[Place]]:
    """Two people who cross once: a red one to the right, and a blue one to the left in front of them."""
    count = round(seconds * FPS)
    steps = [round(240 * number / max(1, count - 1)) for number in range(count)]
    return [[(20 + step, 20, 60 + step, 140), (260 - step, 24, 300 - step, 144)] for step in steps]
