"""Time and memory to load EMOTIC from its MATLAB file, and again from the cached table.

    python benchmarks/emotic_load.py [--images 23571] [--people 34320] [--keep FOLDER]

Generates an `Annotations.mat` of the release's size, without images: one annotator in train, five in val
and test. Then opens the dataset and iterates over all samples, each time in a separate process: first with
an empty cache, then with the cache that the first load filled. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_FLAG = "--load"
# Shares of images as in the release.
_SHARES = {"train": 0.725, "val": 0.088, "test": 0.187}
_ANNOTATORS = {"train": 1, "val": 5, "test": 3}


def main() -> None:
    arguments = _arguments()
    if arguments.load:
        print(json.dumps(_load(Path(arguments.load))))
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(arguments.keep or name)
        # In a separate process: a process inherits the memory peak of its parent.
        compression = ["--uncompressed"] if arguments.uncompressed else []
        counts = ["--images", str(arguments.images), "--people", str(arguments.people)]
        _run("--generate", str(root), *counts, *compression)
        loads = [json.loads(_run(_FLAG, str(root))) for _ in range(1 + arguments.rounds)]
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "images": arguments.images,
        "people": arguments.people,
        "compressed": not arguments.uncompressed,
        "first": loads[0],
        "second": loads[1:],
    }
    print(json.dumps(result, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=23_571)
    parser.add_argument("--people", type=int, default=34_320)
    parser.add_argument("--rounds", type=int, default=2, help="loads after the first")
    parser.add_argument(
        "--uncompressed", action="store_true", help="write a file without checksums, as SciPy does by default"
    )
    parser.add_argument("--keep", help="folder for the generated files; a temporary one by default")
    parser.add_argument(_FLAG, help=argparse.SUPPRESS)
    parser.add_argument("--generate", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.generate:
        _generate(Path(arguments.generate), arguments.images, arguments.people, not arguments.uncompressed)
        sys.exit()
    return arguments


def _run(*arguments: str) -> bytes:
    return subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True).stdout


# --- One load ----------------------------------------------------------------------------------------


def _load(root: Path) -> dict[str, Any]:
    start = time.perf_counter()
    from mien.data import open_dataset
    from mien.recipe import DataOptions

    imported = time.perf_counter()
    dataset = open_dataset(DataOptions(name="emotic", root=root), cache=root / "cache")
    opened = time.perf_counter()
    count = sum(1 for split in dataset.splits for _ in dataset.samples(split))
    done = time.perf_counter()
    return {
        "samples": count,
        "problems": len(dataset.problems()),
        "import_seconds": round(imported - start, 2),
        "open_seconds": round(opened - imported, 2),
        "iterate_seconds": round(done - opened, 2),
        # Of all processes; independent of other load on the machine.
        "cpu_seconds": round(sum(os.times()[:4]), 2),
        "peak_mib": _peak_mib(resource.RUSAGE_SELF),
        # A file without checksums is read in a separate process.
        "peak_mib_of_children": _peak_mib(resource.RUSAGE_CHILDREN),
    }


def _peak_mib(whose: int) -> float:
    return round(resource.getrusage(whose).ru_maxrss / 1024, 1)  # KiB on Linux


# --- A file of the release's size --------------------------------------------------------------------


def _generate(root: Path, images: int, people: int, compressed: bool) -> None:
    from mien.playhouse.layouts.emotic import write_mat

    rng = random.Random(0)
    test = round(images * _SHARES["test"])
    val = round(images * _SHARES["val"])
    counts = {"train": images - val - test, "val": val, "test": test}
    extra = people - images  # people beyond the first of an image
    shared = {split: round(extra * count / images) for split, count in counts.items()}
    shared["train"] += extra - sum(shared.values())
    splits = {split: list(_entries(split, count, shared[split], rng)) for split, count in counts.items()}
    write_mat(root / "Annotations" / "Annotations.mat", splits, compressed=compressed)


def _entries(split: str, count: int, extra: int, rng: random.Random) -> Iterator[Any]:
    from mien.playhouse.layouts.emotic import ImageEntry, folder_of

    sizes = [1] * count
    for _ in range(extra):
        sizes[rng.randrange(count)] += 1
    for index, size in enumerate(sizes):
        name = f"COCO_{split}2014_{rng.randrange(10**12):012d}_{index}.jpg"
        actors = tuple(_actor(_ANNOTATORS[split], rng) for _ in range(size))
        yield ImageEntry(folder=folder_of(index), name=name, size=(640, 480), people=actors)


def _actor(annotators: int, rng: random.Random) -> Any:
    from mien.labels import EMOTIC
    from mien.playhouse.layouts.annotated_images import AGES, GENDERS, AnnotatedPerson
    from mien.playhouse.rules import SimulatedAnnotation
    from mien.types import Box

    annotations = []
    for _ in range(annotators):
        ticked = tuple(rng.sample(EMOTIC.labels, rng.randint(1, 4)))
        dimensions = (rng.randint(1, 10), rng.randint(1, 10), rng.randint(1, 10))
        annotations.append(SimulatedAnnotation(ticked, dimensions))
    left, top = rng.randrange(300), rng.randrange(200)
    box = Box(left=left, top=top, right=left + rng.randint(20, 300), bottom=top + rng.randint(20, 250))
    return AnnotatedPerson(
        box=box, annotations=tuple(annotations), gender=rng.choice(GENDERS), age=rng.choice(AGES)
    )


if __name__ == "__main__":
    main()
