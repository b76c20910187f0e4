"""Speed of reading a clip, compared with bare PyAV loops: frames by number, and a video from start to end.

    PYTHONPATH=src:. python benchmarks/clip_frames.py [--rounds 15] [--key-every 30 250] [--only frames|video]

The clips have 640 x 360 pixels and 25 frames per second, and are encoded by x264 with the given key frame
intervals. Both sides alternate in one process, and CPU seconds of the process count, because other programs
may use the machine. "ratio" is the ratio of the medians; "ratio_spread" holds the 10th and 90th percentile of
the ratios per round. Prints JSON.

Frames: eight, spread over 10 s. The bare loop opens the clip, and for each frame seeks, decodes up to it and
converts it to an image. `mien.media.clips.read_frames` also numbers the frames exactly.

Video: five frames per second are taken of it, as `mien predict` does, or all. The bare loop decodes
every frame and converts those that are taken. `mien.predict.sources.open.open_sources` also looks for what is
damaged, lists the times of all frames first, and does not decode frames on which no other one depends.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from small_predictor import hardware

from mien.media.clips import read_frames, spread_frames
from mien.predict.sources.open import SourceOptions, open_sources

_WIDTH, _HEIGHT, _RATE, _SECONDS = 640, 360, 25, 10
_FRAMES = spread_frames(0, _RATE * _SECONDS - 1, 8)
_TAKEN = {"5 frames per second": 5, "all frames": _RATE}

Read = Callable[[], Iterable[Image.Image]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--key-every", type=int, nargs="+", default=[30, 250])
    parser.add_argument("--only", choices=("frames", "video"))
    parser.add_argument("--seconds", type=int, default=20, help="of the video")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat(), "hardware": hardware()}
    with tempfile.TemporaryDirectory() as folder:
        for distance in arguments.key_every:
            pairs: dict[str, tuple[Read, Read]] = {}
            if arguments.only != "video":
                pairs |= _frame_readers(_encode(Path(folder) / f"{distance}.mp4", distance, _SECONDS))
            if arguments.only != "frames":
                video = Path(folder) / f"{distance}-video.mp4"
                pairs |= _video_readers(_encode(video, distance, arguments.seconds))
            result[f"key_frame_every_{distance}"] = {
                name: compare(*pair, arguments.rounds) for name, pair in pairs.items()
            }
    print(json.dumps(result, indent=2))


def _frame_readers(clip: Path) -> dict[str, tuple[Read, Read]]:
    return {"eight frames": (lambda: read_bare(clip, _FRAMES), lambda: read_frames(clip, _FRAMES))}


def _video_readers(video: Path) -> dict[str, tuple[Read, Read]]:
    return {
        f"video, {name}": (lambda fps=fps: sample_bare(video, fps), lambda fps=fps: sample(video, fps))
        for name, fps in _TAKEN.items()
    }


def compare(bare: Read, mien: Read, rounds: int) -> dict[str, Any]:
    """CPU seconds of the bare loop and of mien, in alternating rounds, and whether pixels are equal."""
    same = [one.tobytes() == other.tobytes() for one, other in zip(mien(), bare(), strict=True)]
    seconds: dict[str, list[float]] = {"bare": [], "mien": []}
    for number in range(rounds):
        for name, read in [("bare", bare), ("mien", mien)][:: 1 if number % 2 == 0 else -1]:
            seconds[name].append(_seconds(read))
    ratios = sorted(one / other for one, other in zip(seconds["mien"], seconds["bare"], strict=True))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "images": len(same),
        "same_pixels": all(same),
        "bare_seconds": round(medians["bare"], 4),
        "mien_seconds": round(medians["mien"], 4),
        "ratio": round(medians["mien"] / medians["bare"], 3),
        "ratio_spread": [round(ratios[round(share * (rounds - 1))], 3) for share in (0.1, 0.9)],
    }


def sample_bare(path: Path, fps: float) -> Iterator[Image.Image]:
    """The first frame of each interval of 1 / fps seconds."""
    last = -1
    with av.open(str(path)) as container:
        decoded: Any = container.decode(container.streams.video[0])
        for frame in decoded:
            interval = math.floor(frame.time * fps + 1e-3)
            if interval > last:
                last = interval
                yield frame.to_image()


def sample(path: Path, fps: float) -> Iterator[Image.Image]:
    for source in open_sources(path, SourceOptions(fps=fps)):
        assert source.image.pixels is not None
        yield source.image.pixels


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


def _seconds(read: Read) -> float:
    start = time.process_time()
    deque(read(), maxlen=0)
    return time.process_time() - start


def _encode(path: Path, key_every: int, seconds: int) -> Path:
    """Encode drifting patches with grain, which take about as many bytes as a film of this size."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 20, 3), dtype=np.uint8))
    wide = np.asarray(
        coarse.resize((_WIDTH + 2 * _RATE * seconds, _HEIGHT), Image.Resampling.BICUBIC)
    ).astype(np.int16)
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=_RATE, options={"g": str(key_every)})
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for number in range(_RATE * seconds):
            grain = rng.integers(-6, 7, (_HEIGHT, _WIDTH, 1))
            pixels = (wide[:, 2 * number : 2 * number + _WIDTH] + grain).clip(0, 255).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path


if __name__ == "__main__":
    main()
