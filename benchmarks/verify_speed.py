"""Speed of verifying a dataset, relative to the speed of decoding its images.

    python benchmarks/verify_speed.py [--count 400] [--repeats 7] [--workers 0] [--size 640x480]

Generates JPEG images similar to photographs (soft shapes and grain) and a manifest with two people per
image. Alternately verifies them, and decodes the same files at full size with the same number of threads;
the files are in the system's page cache both times. Rates are in images per second. "ratio" is the rate of
verifying over that of decoding, per round: at 1, verifying is as fast as decoding. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.data import open_dataset
from mien.data.audit.verify import verify
from mien.recipe import DataOptions


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON document."""
    options = _parser().parse_args(arguments)
    width, height = (int(side) for side in options.size.split("x"))
    workers = options.workers or os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _make_images(folder, options.count, (width, height))
        manifest = _make_manifest(folder, files, (width, height))
        result = {
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
            "files": len(files),
            "bytes_per_file": round(statistics.mean(file.stat().st_size for file in files)),
            "size": options.size,
            "workers": workers,
            **_measure(files, manifest, workers, options.repeats),
        }
    print(json.dumps(result, indent=2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=400, help="number of images")
    parser.add_argument("--repeats", type=int, default=7, help="rounds")
    parser.add_argument("--workers", type=int, default=0, help="threads; 0 for one per core")
    parser.add_argument("--size", default="640x480", help="width x height in pixels")
    return parser


def _measure(files: list[Path], manifest: Path, workers: int, repeats: int) -> dict[str, Any]:
    """Alternate both, so that they see the same machine load; the first round is a warmup."""
    decoding, verifying = [], []
    for _ in range(repeats + 1):
        decoding.append(len(files) / _decode_all(files, workers))
        verifying.append(len(files) / _verify_all(manifest, workers))
    ratios = [fast / raw for fast, raw in zip(verifying[1:], decoding[1:], strict=True)]
    return {
        "decode_rate": round(statistics.median(decoding[1:]), 1),
        "verify_rate": round(statistics.median(verifying[1:]), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),  # KiB on Linux
    }


def _decode_all(files: list[Path], workers: int) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(_decode, files):
            pass
    return time.perf_counter() - start


def _decode(path: Path) -> None:
    with Image.open(path) as image:
        image.convert("RGB").load()


def _verify_all(manifest: Path, workers: int) -> float:
    dataset = open_dataset(DataOptions(name="manifest", root=manifest), cache=manifest.parent / "cache")
    verified = verify(dataset, workers=workers)
    if verified.problems:
        raise SystemExit(f"the generated images have problems: {verified.problems[0]}")
    return verified.seconds


def _make_images(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    rng = np.random.default_rng(0)
    files = []
    for index in range(count):
        shapes, grain = (_noise(rng, side, size) for side in (12, 200))
        path = folder / f"{index:06d}.jpg"
        Image.blend(shapes, grain, 0.15).save(path, quality=88)
        files.append(path)
    return files


def _noise(rng: np.random.Generator, side: int, size: tuple[int, int]) -> Image.Image:
    coarse = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _make_manifest(folder: Path, files: list[Path], size: tuple[int, int]) -> Path:
    path = folder / "people.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        for index, file in enumerate(files):
            for person, left in enumerate((10, size[0] // 2)):
                box = [left, 20, left + size[0] // 3, size[1] - 10]
                row = {"id": f"{index}#{person}", "image": file.name, "box": box, "labels": ["Peace"]}
                lines.write(json.dumps({**row, "split": "train" if index % 5 else "test"}) + "\n")
    return path


if __name__ == "__main__":
    main()
