"""Speed of reading frames of a clip, compared with a bare PyAV loop.

    python benchmarks/clip_frames.py [--rounds 15] [--key-every 30 250]

Reads eight frames spread over a clip of 10 s, 640 x 360 pixels, 25 frames per second, encoded by x264 with
the given key frame intervals. The bare loop opens the clip, and for each frame seeks, decodes up to it and
converts it to an image. `mien.media.clips.read_frames` also numbers the frames exactly. Both alternate in
one process. "ratio" is the ratio of the medians; "ratio_spread" holds the 10th and 90th percentile of the
ratios per round. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from mien.media.clips import read_frames, spread_frames

_WIDTH, _HEIGHT, _RATE, _SECONDS = 640, 360, 25, 10
_FRAMES = spread_frames(0, _RATE * _SECONDS - 1, 8)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--key-every", type=int, nargs="+", default=[30, 250])
    arguments = parser.parse_args()
    result: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat(), "hardware": _hardware()}
    with tempfile.TemporaryDirectory() as folder:
        for distance in arguments.key_every:
            clip = _encode(Path(folder) / f"{distance}.mp4", distance)
            result[f"key_frame_every_{distance}"] = compare(clip, arguments.rounds)
    print(json.dumps(result, indent=2))


def compare(clip: Path, rounds: int) -> dict[str, Any]:
    """Seconds per clip of the bare loop and of mien, in alternating rounds, and whether pixels are equal."""
    same = [
        mine.tobytes() == plain.tobytes()
        for mine, plain in zip(read_frames(clip, _FRAMES), read_bare(clip, _FRAMES), strict=True)
    ]
    bare, mien = [], []
    for _ in range(rounds):
        bare.append(_seconds(read_bare, clip))
        mien.append(_seconds(read_frames, clip))
    ratios = sorted(one / other for one, other in zip(mien, bare, strict=True))
    return {
        "same_pixels": all(same),
        "bytes": clip.stat().st_size,
        "bare_seconds": round(statistics.median(bare), 4),
        "mien_seconds": round(statistics.median(mien), 4),
        "ratio": round(statistics.median(mien) / statistics.median(bare), 3),
        "ratio_spread": [round(ratios[round(share * (rounds - 1))], 3) for share in (0.1, 0.9)],
    }


def read_bare(path: Path, frames: Sequence[int]) -> list[Image.Image]:
    """The simplest correct loop for a known, constant frame rate."""
    images = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None, "MP4 streams have a time base"
        step = round(1 / (_RATE * stream.time_base))
        for number in frames:
            container.seek(number * step, stream=stream)
            decoded: Any = container.decode(stream)
            images.append(next(frame for frame in decoded if frame.pts >= number * step).to_image())
    return images


def _seconds(read: Callable[[Path, Sequence[int]], list[Image.Image]], clip: Path) -> float:
    start = time.perf_counter()
    read(clip, _FRAMES)
    return time.perf_counter() - start


def _hardware() -> dict[str, Any]:
    return {"machine": platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}


def _encode(path: Path, key_every: int) -> Path:
    """Encode drifting patches with grain, which take about as many bytes as a film of this size."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 20, 3), dtype=np.uint8))
    wide = np.asarray(coarse.resize((2 * _WIDTH, _HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=_RATE, options={"g": str(key_every)})
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for number in range(_RATE * _SECONDS):
            grain = rng.integers(-6, 7, (_HEIGHT, _WIDTH, 1))
            pixels = (wide[:, 2 * number : 2 * number + _WIDTH] + grain).clip(0, 255).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path


if __name__ == "__main__":
    main()
