"""Clips whose every frame carries its number in its pixels, coded in many ways."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

WIDTH, HEIGHT, CELL = 128, 64, 32
COUNT = 40


def picture(number: int) -> np.ndarray:
    """A frame that carries its number: eight grey cells in two rows, one a bit, and some movement."""
    cells = np.array([[80 + 100 * (number >> bit & 1) for bit in range(row, row + 4)] for row in (0, 4)])
    grey = np.kron(cells, np.ones((CELL, CELL))).astype(np.uint8)
    left = 4 * number % WIDTH
    grey[HEIGHT // 2 - 2 : HEIGHT // 2 + 2, left : left + 8] = 255
    return np.repeat(grey[:, :, None], 3, axis=2)


def number_of(image: Image.Image) -> int:
    """What `picture` wrote."""
    grey = np.asarray(image.convert("L"))
    middle = [(row * CELL + CELL // 3, column * CELL + CELL // 3) for row in (0, 1) for column in range(4)]
    return sum(int(grey[y, x] > 130) << bit for bit, (y, x) in enumerate(middle))


def encode(
    path: Path,
    *,
    times: Sequence[int] = range(COUNT),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    container: dict[str, str] | None = None,
) -> Path:
    """One frame at each of these times (in 1/25 s); frame i carries the number i."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        stream.codec_context.time_base = Fraction(1, 25)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
