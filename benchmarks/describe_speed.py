"""Speedup of describing from batching, and its memory as the number of images grows.

    python benchmarks/describe_speed.py [--model FOLDER] [--batch-size 32] [--count 64] [--rounds 3]
    python benchmarks/describe_speed.py --only memory

Speed: the same requests to the same model, in batches and one at a time, alternating; "ratio" is the ratio
of the medians. Memory: the peak of a process that describes many images with the fake engine. The images
are generated lazily, so only the memory of `describe` itself can grow. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.describe.engine import Engine, Request
from mien.describe.fake import FakeEngine
from mien.describe.generate import describe
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.types import Box, Subject

_SIDE = 144
_MEMORY_COUNTS = (1_000, 10_000)
_FLAG = "--describe-fake"


def main() -> None:
    arguments = _arguments()
    if arguments.describe_fake:
        _describe_fake(arguments.describe_fake)
        return
    result: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat(), "hardware": _hardware()}
    # Memory first: child processes inherit this process's peak, which is still small.
    if arguments.only != "speed":
        result["memory"] = measure_memory()
    if arguments.only != "memory":
        result["speed"] = measure_speed(arguments)
    print(json.dumps(result, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="playhouse", help="LLaVA folder; the embedded model by default")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--count", type=int, default=64, help="requests per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=160)
    parser.add_argument(
        "--threads", type=int, default=None, help="torch threads; torch's default if not given"
    )
    parser.add_argument("--only", choices=("speed", "memory"), help="run only one measurement")
    parser.add_argument(_FLAG, type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _hardware() -> dict[str, Any]:
    return {"machine": platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}


# --- Speed -------------------------------------------------------------------------------------------


def measure_speed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds per description, in batches and one at a time, in alternating rounds."""
    import torch

    from mien.describe.local.engine import LocalEngine

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    engine = LocalEngine(arguments.model, max_new_tokens=arguments.max_new_tokens)
    requests = _requests(arguments.count, engine.image_size or _SIDE)
    engine.describe(requests[:2])  # loads the model
    batched, single = [], []
    for _ in range(arguments.rounds):
        batched.append(_seconds(engine, requests, arguments.batch_size))
        single.append(_seconds(engine, requests, 1))
    return {
        "model": engine.name,
        "batch_size": arguments.batch_size,
        "threads": torch.get_num_threads(),
        "batched_seconds": [round(seconds, 4) for seconds in batched],
        "single_seconds": [round(seconds, 4) for seconds in single],
        "ratio": round(statistics.median(single) / statistics.median(batched), 2),
    }


def _requests(count: int, side: int) -> list[Request]:
    rng, question = np.random.default_rng(0), get_prompt("paper").render(EMOTIC)
    made = []
    for number in range(count):
        made.append(Request(subject_id=str(number), images=(_image(rng, side),), prompt=question))
    return made


def _image(rng: np.random.Generator, side: int) -> Image.Image:
    """Large color patches: trained models end their descriptions as on drawings, and the files are small."""
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return coarse.resize((side, side), Image.Resampling.NEAREST)


def _seconds(engine: Engine, requests: list[Request], size: int) -> float:
    start = time.perf_counter()
    for first in range(0, len(requests), size):
        engine.describe(requests[first : first + size])
    return (time.perf_counter() - start) / len(requests)


# --- Memory ------------------------------------------------------------------------------------------


def measure_memory() -> dict[str, Any]:
    """Peak memory by number of images, each in its own process."""
    peaks = {}
    for count in _MEMORY_COUNTS:
        command = [sys.executable, __file__, _FLAG, str(count)]
        peaks[count] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    first, last = (peaks[count]["peak_mib"] for count in _MEMORY_COUNTS)
    return {"by_count": {str(count): peak for count, peak in peaks.items()}, "growth": round(last / first, 3)}


def _describe_fake(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Store(folder / "store.sqlite") as store:
            summary = describe(
                _subjects(folder, count),
                RequestBuilder(
                    engine=FakeEngine(), prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking()
                ),
                store,
                batch_size=32,
                workers=1,
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    print(
        json.dumps({"done": summary.done, "peak_mib": round(peak, 1), "seconds": round(summary.seconds, 2)})
    )


def _subjects(folder: Path, count: int) -> Iterator[Subject]:
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"photo{number}.png"
        _image(rng, _SIDE).save(path)
        yield Subject.still(f"s{number}", path, Box(left=20, top=20, right=90, bottom=120))


if __name__ == "__main__":
    main()
