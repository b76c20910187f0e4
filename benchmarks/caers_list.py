"""Time and memory to list a CAER-S of full size.

    python benchmarks/caers_list.py [--count 70000] [--repeats 3] [--faces]

Creates that many empty files in a temporary folder, 70 % of them in train, and lists them as samples. No
image is opened. Each repeat is a separate process. It measures the seconds until all samples are listed,
including the check of the folders, and the growth of the process's peak memory. With --faces, a list of
face boxes has a line per image. Prints JSON.
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
from datetime import UTC, datetime
from pathlib import Path

from mien.data import open_dataset
from mien.labels import CAERS
from mien.recipe import DataOptions

_SHARE_OF_TRAIN = 0.7
_CHILD = "--list"


def main() -> None:
    arguments = _arguments()
    if arguments.list:
        print(json.dumps(_list(arguments.list, arguments.faces)))
        return
    with tempfile.TemporaryDirectory() as name:
        _make(Path(name), arguments.count)
        command = [sys.executable, __file__, _CHILD, name, *(["--faces"] if arguments.faces else [])]
        found = [
            json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            for _ in range(arguments.repeats)
        ]
    print(json.dumps(_report(arguments, found), indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=70_000, help="total number of files")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--faces", action="store_true", help="with lists of face boxes")
    parser.add_argument(_CHILD, type=Path, default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


def _make(root: Path, count: int) -> None:
    """Create empty files, equally many per class, and two lists of faces."""
    (root / "faces").mkdir()
    num_train = round(count * _SHARE_OF_TRAIN)
    for split, size in (("train", num_train), ("test", count - num_train)):
        for label in CAERS.labels:
            (root / split / label).mkdir(parents=True)
        with (root / "faces" / f"{split}.txt").open("w", encoding="utf-8") as faces:
            for index in range(size):
                label = CAERS.labels[index % len(CAERS)]
                name = f"{split}/{label}/{index // len(CAERS):04d}.png"
                (root / name).touch()
                faces.write(f"{name},{label},10,20,110,140\n")


def _list(root: Path, faces: bool) -> dict[str, float]:
    before = _peak_mib()
    start = time.perf_counter()
    options = DataOptions(name="caers", root=root, options={"faces": "faces"} if faces else {})
    dataset = open_dataset(options, cache=root / ".cache")
    count = sum(1 for split in dataset.splits for _ in dataset.samples(split))
    return {
        "samples": count,
        "problems": len(dataset.problems()),
        "seconds": time.perf_counter() - start,
        "memory_growth_mib": _peak_mib() - before,
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


def _report(arguments: argparse.Namespace, found: list[dict[str, float]]) -> dict[str, object]:
    return {
        "schema": 1,
        "benchmark": "caers_list",
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2),
        },
        "python": platform.python_version(),
        "options": {"count": arguments.count, "repeats": arguments.repeats, "faces": arguments.faces},
        "samples": found[0]["samples"],
        "problems": found[0]["problems"],
        "seconds": {
            "median": round(statistics.median(item["seconds"] for item in found), 3),
            "each": [round(item["seconds"], 3) for item in found],
        },
        "memory_growth_mib": max(round(item["memory_growth_mib"], 1) for item in found),
    }


if __name__ == "__main__":
    main()
