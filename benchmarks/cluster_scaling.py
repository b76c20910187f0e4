"""Scaling of describing with the number of Ray workers, and the cost of transferring images.

    python benchmarks/cluster_scaling.py [--actors 1 2 4 8] [--delay 1.0] [--batches 8] [--rounds 3]

Scaling: the complete `describe`, including the store, with Ray on this machine and a fake engine that waits
a fixed time per batch. Every worker gets the same number of batches, and timing starts once all workers are
up. Efficiency is the waiting time divided by the measured time. Transfer: a round trip of one batch without
waiting, by image size; in a real run, a worker receives a batch while it processes another. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.describe.engine import Request
from mien.describe.generate import describe
from mien.describe.open import open_engine
from mien.describe.prompts import get_prompt
from mien.describe.ray.connection import connection
from mien.describe.ray.engine import ClusterEngine
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Box, Subject

_PHOTOS = 64
_SIDES = (144, 336, 672)


def main() -> None:
    arguments = _arguments()
    result: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat(), "hardware": _hardware()}
    run = RunOptions(cluster="ray", actors=max(arguments.actors))
    connection.acquire(run)
    try:
        result["scaling"] = measure_scaling(arguments)
        result["transfer"] = measure_transfer(arguments)
    finally:
        connection.release()
    result["hardware"]["load_after"] = round(os.getloadavg()[0], 2)
    print(json.dumps(result, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--delay", type=float, default=1.0, help="seconds per batch")
    parser.add_argument("--batches", type=int, default=8, help="per worker and round")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _hardware() -> dict[str, Any]:
    import ray

    load = round(os.getloadavg()[0], 2)
    return {"machine": platform.machine(), "cores": os.cpu_count(), "load": load, "ray": ray.__version__}


# --- Scaling -----------------------------------------------------------------------------------------


def measure_scaling(arguments: argparse.Namespace) -> dict[str, Any]:
    """Efficiency by number of workers, in alternating rounds."""
    ideal = arguments.batches * arguments.delay
    seconds: dict[int, list[float]] = {count: [] for count in arguments.actors}
    with tempfile.TemporaryDirectory() as name:
        photos = _photos(Path(name))
        for number in range(arguments.rounds):
            for count in arguments.actors:
                store = Path(name) / f"{number}-{count}.sqlite"
                seconds[count].append(_seconds(arguments, count, photos, store))
    return {
        "delay": arguments.delay,
        "batches_per_worker": arguments.batches,
        "batch_size": arguments.batch_size,
        "ideal_seconds": ideal,
        "seconds": {str(count): [round(one, 3) for one in many] for count, many in seconds.items()},
        "efficiency": {
            str(count): round(ideal / statistics.median(many), 4) for count, many in seconds.items()
        },
    }


def _seconds(arguments: argparse.Namespace, count: int, photos: list[Path], path: Path) -> float:
    engine = _engine(count, delay=arguments.delay)
    try:
        _wait_for_all(engine, count)
        num_subjects = count * arguments.batches * arguments.batch_size
        with Store(path) as store:
            start = time.perf_counter()
            summary = describe(
                _subjects(photos, num_subjects),
                RequestBuilder(
                    engine=engine, prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking()
                ),
                store,
                batch_size=arguments.batch_size,
            )
            assert summary.done == num_subjects
            return time.perf_counter() - start
    finally:
        engine.close()


def _engine(count: int, *, delay: float = 0.0) -> ClusterEngine:
    options = DescribeOptions(engine="fake", options={"delay": delay})
    engine = open_engine(options, RunOptions(cluster="ray", actors=count))
    assert isinstance(engine, ClusterEngine)
    return engine


def _wait_for_all(engine: ClusterEngine, count: int) -> None:
    while engine.pool.num_ready < count:
        time.sleep(0.1)


def _photos(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(_PHOTOS)]
    for path in paths:
        _image(rng, 144).save(path)
    return paths


def _image(rng: np.random.Generator, side: int) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


def _subjects(photos: list[Path], count: int) -> Iterator[Subject]:
    for number in range(count):
        photo, left = number % len(photos), number // len(photos)
        yield Subject.still(f"s{number}", photos[photo], Box(left=left, top=9, right=left + 60, bottom=99))


# --- Transfer ------------------------------------------------------------------------------------


def measure_transfer(arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds for the round trip of a batch, and for its descriptions alone."""
    rng, question = np.random.default_rng(0), get_prompt("paper").render(EMOTIC)
    engine = _engine(1)
    try:
        _wait_for_all(engine, 1)
        milliseconds = {}
        for side in _SIDES:
            requests = [
                Request(subject_id=str(number), images=(_image(rng, side),), prompt=question)
                for number in range(arguments.batch_size)
            ]
            milliseconds[str(side)] = {"round_trip": _median_ms(engine, requests)}
            milliseconds[str(side)]["describe_only"] = _median_ms(engine.inner, requests)
        return {"batch_size": arguments.batch_size, "milliseconds": milliseconds}
    finally:
        engine.close()


def _median_ms(engine: Any, requests: list[Request]) -> float:
    spent = []
    for _ in range(21):
        start = time.perf_counter()
        engine.describe(requests)
        spent.append(time.perf_counter() - start)
    return round(1000 * statistics.median(spent), 2)


if __name__ == "__main__":
    main()
