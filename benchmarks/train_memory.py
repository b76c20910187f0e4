"""Memory of a training as the dataset grows.

    python benchmarks/train_memory.py [--counts 1000 10000 100000] [--steps 40]

Each count is a separate process that trains a Q-Former of 2 x 96 on synthetic features (50 tokens of 64
numbers, 6.4 kB per sample, on disk) and descriptions of 64 tokens. Prints JSON: by count, the size of the
features, the peak of anonymous memory (what the process itself allocates), and the peak of resident memory,
which includes the cached pages of the feature file that the system can reclaim.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from mien.batches.batch import ImageInputs, SplitData, TextInputs, build_split
from mien.features.cache import FeatureFile
from mien.labels import EMOTIC
from mien.recipe import Recipe
from mien.train.trainer import Trainer
from mien.types import Sample, Subject, Target

TOKENS, DIM, WORDS, LENGTH = 50, 64, 500, 64
BLOCK: Final = 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.folder is not None:
        print(json.dumps(measure(options.folder, options.counts[0], options.steps)))
        return
    found = {}
    for count in options.counts:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--counts", str(count), "--steps", str(options.steps)]
            done = subprocess.run([*command, "--folder", folder], check=True, capture_output=True)
            found[str(count)] = json.loads(done.stdout)
    print(
        json.dumps(
            {"schema": 1, "benchmark": "train_memory", "torch": torch.__version__, "by_count": found},
            indent=2,
        )
    )


def measure(folder: Path, count: int, steps: int) -> dict[str, float]:
    """The memory peaks of one training, in MiB."""
    torch.set_num_threads(1)
    table = {
        "name": "memory",
        "model": {"width": 96, "heads": 4, "num_queries": 8},
        "train": {"batch_size": 32, "epochs": 1_000, "divergence": 0.0},
    }
    data = split(folder, count)
    peaks = {"RssAnon": 0, "VmRSS": 0}
    finished = threading.Event()
    monitor = threading.Thread(target=_record_peaks, args=(peaks, finished))
    monitor.start()
    trainer = Trainer(Recipe.parse(table, where="benchmark"), data, data, torch.device("cpu"))
    epoch = trainer.remaining_steps()
    for _ in range(steps):
        micro_batches = next(epoch, None)
        if micro_batches is None:
            epoch = trainer.remaining_steps()
            micro_batches = next(epoch)
        trainer.train_step(micro_batches)
    finished.set()
    monitor.join()
    features = (folder / "f.npy").stat().st_size / 2**20
    return {
        "features_mib": round(features, 1),
        "anonymous_peak_mib": round(peaks["RssAnon"] / 1024, 1),
        "resident_peak_mib": round(peaks["VmRSS"] / 1024, 1),
    }


def split(folder: Path, count: int) -> SplitData:
    """A split with features on disk and descriptions in memory."""
    random = np.random.default_rng(0)
    keys = [str(row) for row in range(count)]
    file = FeatureFile.open(folder / "f.npy", signature="synthetic")
    with file.writing(keys, (TOKENS, DIM)) as writer:
        for start in range(0, count, BLOCK):
            block = keys[start : start + BLOCK]
            writer.write(block, random.normal(size=(len(block), TOKENS, DIM)).astype(np.float32))
    samples = [
        Sample(
            subject=Subject.still(key, Path(f"{key}.png")),
            target=Target(labels={EMOTIC.labels[row % len(EMOTIC)]: 1.0}),
            split="train",
        )
        for row, key in enumerate(keys)
    ]
    ids = torch.from_numpy(random.integers(1, WORDS, (count, LENGTH)))
    texts = TextInputs(ids, torch.full((count,), LENGTH), WORDS, "synthetic")
    return build_split(
        "train", samples, EMOTIC, images=ImageInputs(file.reader(keys), "synthetic"), texts=texts
    )


def _record_peaks(peaks: dict[str, int], finished: threading.Event) -> None:
    while not finished.wait(0.02):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in peaks:
                peaks[name] = max(peaks[name], int(value.split()[0]))


if __name__ == "__main__":
    main()
