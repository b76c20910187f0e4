"""Clips in which every frame shows its number, in many encodings."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

WIDTH, HEIGHT, CELL = 128, 64, 32
COUNT = 40


def numbered_frame(number: int) -> np.ndarray:
    """A frame that shows its number: eight gray cells in two rows, one per bit, and some movement."""
    cells = np.array([[80 + 100 * (number >> bit & 1) for bit in range(row, row + 4)] for row in (0, 4)])
    gray = np.kron(cells, np.ones((CELL, CELL))).astype(np.uint8)
    left = 4 * number % WIDTH
    gray[HEIGHT // 2 - 2 : HEIGHT // 2 + 2, left : left + 8] = 255
    return np.repeat(gray[:, :, None], 3, axis=2)


def number_of(image: Image.Image) -> int:
    """The number that `numbered_frame` drew."""
    gray = np.asarray(image.convert("L"))
    middle = [(row * CELL + CELL // 3, column * CELL + CELL // 3) for row in (0, 1) for column in range(4)]
    return sum(int(gray[y, x] > 130) << bit for bit, (y, x) in enumerate(middle))


def encode(
    path: Path,
    *,
    times: Sequence[int] = range(COUNT),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    container: dict[str, str] | None = None,
) -> Path:
    """Encodes one frame at each of these times (in 1/25 s); frame i shows the number i."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        stream.codec_context.time_base = Fraction(1, 25)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
