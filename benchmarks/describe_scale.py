"""Start-up time and memory of a resumed describing run, as the number of stored rows grows.

    python benchmarks/describe_scale.py [--counts 1000 100000 1000000] [--folder FOLDER]

Fills a store with a row per subject; the subjects share a few image files. A separate process then
describes all of them and a few more at the end, with the fake engine. The start-up time ends with the
engine's first call: it covers opening the store, the preflight estimate, and finding every row. Subjects
are generated lazily, so only the memory of describing itself can grow. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from mien.describe.engine import EngineWrapper, Reply, Request
from mien.describe.fake import FakeEngine
from mien.describe.generate import describe
from mien.describe.preflight import Rates, estimate, survey
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.errors import EngineError
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.prefetch import batched
from mien.startup import pause_collector_during_imports
from mien.types import Box, Description, Subject

_NUM_IMAGES = 5
_NUM_MISSING = 64  # subjects at the end that are not described yet
_TEXT = "The person appears calm and attentive, watching the others from a little way off. " * 8
_SETTINGS: dict[str, Any] = {"prompt": get_prompt("paper"), "label_set": EMOTIC, "marking": Marking()}


class Stopwatch(EngineWrapper):
    """The fake engine, which records the time of its first call."""

    def __init__(self) -> None:
        super().__init__(FakeEngine())
        self.first, self.first_cpu = 0.0, 0.0

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        if not self.first:
            self.first, self.first_cpu = time.perf_counter(), time.process_time()
        return super().describe(requests)


def main() -> None:
    arguments = _arguments()
    if arguments.step:
        print(
            json.dumps({"fill": fill, "resume": resume}[arguments.step](arguments.folder, *arguments.counts))
        )
        return
    found = {str(count): measure(count, arguments.folder) for count in arguments.counts}
    peaks = [row["resume"]["peak_mib"] for row in found.values()]
    print(
        json.dumps(
            {
                "date": datetime.now(UTC).date().isoformat(),
                "machine": platform.machine(),
                "cores": os.cpu_count(),
                "load": round(os.getloadavg()[0], 2),
                "by_count": found,
                "memory_growth": round(peaks[-1] / peaks[0], 3),
            },
            indent=2,
        )
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="folder for the stores; a temporary one by default")
    parser.add_argument("--step", choices=("fill", "resume"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(count: int, folder: Path | None) -> dict[str, Any]:
    """Run both steps, each in its own process so that their memory peaks are separate."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        command = [sys.executable, __file__, "--counts", str(count), "--folder", name, "--step"]
        steps = ("fill", "resume")
        return {
            step: json.loads(subprocess.run([*command, step], check=True, capture_output=True).stdout)
            for step in steps
        }


def fill(folder: Path, count: int) -> dict[str, float]:
    """Write a description of each subject, as `describe` would, without an engine."""
    request_builder = RequestBuilder(engine=FakeEngine(), **_SETTINGS)
    start = time.perf_counter()
    with Store(folder / "store.sqlite") as store:
        for group in batched(islice(subjects(folder), count), 5_000):
            store.put(_description(request_builder, subject) for subject in group)
    seconds = time.perf_counter() - start
    size = (folder / "store.sqlite").stat().st_size / 2**20
    return {"seconds": round(seconds, 2), "mib": round(size, 1)}


def _description(request_builder: RequestBuilder, subject: Subject) -> Description:
    request = request_builder.build(subject)
    return request_builder.description(request, Reply(text=f"{_TEXT}{subject.id}"))


def resume(folder: Path, count: int) -> dict[str, float]:
    """Run over all subjects; only the last few are not described yet."""
    pause_collector_during_imports()  # as `mien describe`
    path, engine = folder / "store.sqlite", Stopwatch()
    start, start_cpu = time.perf_counter(), time.process_time()
    request_builder = RequestBuilder(engine=engine, **_SETTINGS)
    rates = Rates(image_size=None, max_new_tokens=160)
    with Store(path) as store:
        opened = time.perf_counter()
        found = survey(lambda: islice(subjects(folder), count + _NUM_MISSING), request_builder, store)
        estimate(found, request_builder, store, store_path=path, rates=rates)
        surveyed = time.perf_counter()
        summary = describe(
            found.remaining,
            request_builder,
            store,
            batch_size=32,
            total=found.total,
            skipped=found.described,
            failed=found.failed,
        )
    if (summary.done, summary.skipped) != (_NUM_MISSING, count):
        raise SystemExit(f"unexpected result: {summary}")
    return {
        "opening_seconds": round(opened - start, 2),
        "survey_seconds": round(surveyed - opened, 2),
        "startup_seconds": round(engine.first - start, 2),
        # Independent of other load on the machine.
        "startup_cpu_seconds": round(engine.first_cpu - start_cpu, 2),
        "microseconds_per_row": round(1e6 * (engine.first - start) / count, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),  # KiB on Linux
    }


def subjects(folder: Path) -> Iterator[Subject]:
    """An endless stream of subjects, each with a unique box in one of a few images."""
    paths = [folder / f"{number}.png" for number in range(_NUM_IMAGES)]
    for number, path in enumerate(paths):
        if not path.exists():
            Image.new("RGB", (64, 48), (number, 0, 9)).save(path)
    number = 0
    while True:
        box = Box(left=number % 40, top=number // 40 % 30, right=60, bottom=40 + number / 1e8)
        yield Subject.still(f"s{number}", paths[number % _NUM_IMAGES], box)
        number += 1


if __name__ == "__main__":
    main()
