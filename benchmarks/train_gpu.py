"""Training at full size: samples per second and model FLOPs utilization (MFU), including the data loader.

    python benchmarks/train_gpu.py                      # one CUDA device, under 8 minutes, unattended
    python benchmarks/train_gpu.py --tiny               # the same program on a CPU, as a check

Features of CLIP ViT-L/14 at 224 pixels (257 x 1024, float16, from a file as in training), descriptions of
128 tokens, the Q-Former at 12 x 768 with 32 queries, AdamW, bfloat16. Steps are those of `mien.train`:
reading rows, moving them, forward, backward, clipping, update. Each setting (batch size, compiled or not)
runs for some seconds after a warmup; "wait" is the share of time in which the host waited for the loader.
MFU is the FLOPs of forward and backward, counted by torch, over the device's bfloat16 peak: from
--peak-tflops, else from a table by device name, else from the fastest of some matrix products measured
here. Prints JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from qformer_flops import Step  # in the same folder

from mien.batches.batch import ImageInputs, SplitData, TextInputs
from mien.features.cache import FeatureReader
from mien.labels import EMOTIC
from mien.recipe import Recipe
from mien.train.trainer import MicroBatch, Trainer

VOCABULARY = 30522
# Dense bfloat16, as published by the manufacturers.
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0}
MINIMUM, TARGET, STRETCH = 800, 1500, 2250


@dataclass(frozen=True)
class Shape:
    """The sizes of the data and the model."""

    samples: int
    tokens: int
    dim: int
    text_tokens: int
    layers: int
    width: int
    queries: int


FULL = Shape(samples=4096, tokens=257, dim=1024, text_tokens=128, layers=12, width=768, queries=32)
TINY = Shape(samples=64, tokens=17, dim=32, text_tokens=12, layers=2, width=64, queries=4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON document."""
    options = parser().parse_args(arguments)
    shape = TINY if options.tiny else FULL
    device = torch.device("cpu" if options.tiny else "cuda")
    start = time.perf_counter()
    batches = [4, 8] if options.tiny else options.batches
    compiled = [False] if options.tiny or options.no_compile else [False, True]
    peak = peak_tflops(options, device)
    flops = flops_per_sample(shape, device)
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        data = synthetic_split(Path(folder), shape)
        for is_compiled in compiled:
            for batch in batches:
                if time.perf_counter() - start > options.minutes * 60:
                    rows.append({"batch": batch, "compiled": is_compiled, "skipped": "out of time"})
                    continue
                recipe = make_recipe(shape, batch, is_compiled, options)
                rows.append(measure(data, recipe, device, options.seconds) | {"peak": peak})
    for row in rows:
        if "samples_per_second" in row:
            row["mfu"] = row["samples_per_second"] * flops / (row.pop("peak") * 1e12)
    best = max((row.get("samples_per_second", 0.0) for row in rows), default=0.0)
    document = {
        "schema": 1,
        "benchmark": "train_gpu",
        "options": {name: str(value) for name, value in vars(options).items()},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "shape": shape.__dict__,
        "gflop_per_sample": flops / 1e9,
        "peak_tflops": peak,
        "settings": rows,
        "best_samples_per_second": best,
        "targets": {"minimum": MINIMUM, "target": TARGET, "stretch": STRETCH},
        "reached": [
            name
            for name, value in (("minimum", MINIMUM), ("target", TARGET), ("stretch", STRETCH))
            if best >= value
        ],
        "seconds": time.perf_counter() - start,
    }
    print(json.dumps(document, indent=2))


def measure(data: SplitData, recipe: Recipe, device: torch.device, seconds: float) -> dict[str, Any]:
    """Run steps of one setting for some seconds."""
    setting = {"batch": recipe.train.batch_size, "compiled": recipe.run.compile}
    trainer = Trainer(recipe, data, data, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        steps = endless(trainer)
        start = time.perf_counter()
        for _ in range(3):
            trainer.train_step(next(steps))
        warmup = time.perf_counter() - start
        start, waited, num_samples = time.perf_counter(), 0.0, 0
        while time.perf_counter() - start < seconds:
            wait_start = time.perf_counter()
            micro_batches = next(steps)
            waited += time.perf_counter() - wait_start
            trainer.train_step(micro_batches)  # reads the loss, so no kernel is left running
            num_samples += sum(len(one.batch.targets) for one in micro_batches)
        elapsed = time.perf_counter() - start
    except torch.OutOfMemoryError as error:
        return setting | {"failed": str(error).splitlines()[0]}
    return setting | {
        "samples_per_second": num_samples / elapsed,
        "wait": waited / elapsed,
        "warmup_seconds": warmup,
        "peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
    }


def endless(trainer: Trainer) -> Iterator[list[MicroBatch]]:
    """The steps of all epochs, without end."""
    while True:
        yield from trainer.remaining_steps()


def make_recipe(shape: Shape, batch: int, compiled: bool, options: argparse.Namespace) -> Recipe:
    table = {
        "name": "train_gpu",
        "model": {
            "width": shape.width,
            "layers": shape.layers,
            "heads": max(1, shape.width // 64),
            "num_queries": shape.queries,
        },
        # With so many epochs the learning rate hardly changes.
        "train": {"batch_size": batch, "epochs": 1000, "precision": "bfloat16", "lr": 1e-5},
        "run": {"workers": options.workers, "compile": compiled},
    }
    return Recipe.parse(table, where="benchmark")


def synthetic_split(folder: Path, shape: Shape) -> SplitData:
    """A split with random features in a file, as in training."""
    random = np.random.default_rng(0)
    file = np.lib.format.open_memmap(
        folder / "features.npy", mode="w+", dtype=np.float16, shape=(shape.samples, shape.tokens, shape.dim)
    )
    for start in range(0, shape.samples, 256):
        part = file[start : start + 256]
        part[:] = random.normal(size=part.shape).astype(np.float16)
    file.flush()
    rows = np.arange(shape.samples).reshape(-1, 1, 1)
    array = np.load(folder / "features.npy", mmap_mode="r")
    ids = torch.from_numpy(random.integers(1, VOCABULARY, (shape.samples, shape.text_tokens)))
    lengths = torch.full((shape.samples,), shape.text_tokens)
    return SplitData(
        split="train",
        label_set=EMOTIC,
        ids=tuple(map(str, range(shape.samples))),
        groups=tuple(map(str, range(shape.samples))),
        targets=torch.from_numpy(random.integers(0, 2, (shape.samples, len(EMOTIC)))).float(),
        dimensions=torch.rand(shape.samples, 3),
        images=ImageInputs(FeatureReader(array, rows), "synthetic"),
        texts=TextInputs(ids, lengths, VOCABULARY, "synthetic"),
    )


def flops_per_sample(shape: Shape, device: torch.device) -> float:
    """FLOPs of forward and backward."""
    rows = 4
    step_options = argparse.Namespace(
        batch=rows, width=shape.width, layers=shape.layers, queries=shape.queries, image_tokens=shape.tokens,
        image_dim=shape.dim, text_tokens=shape.text_tokens, device=str(device), precision="bfloat16",
    )  # fmt: skip
    return Step(step_options).flops() / rows


def peak_tflops(options: argparse.Namespace, device: torch.device) -> float:
    """The device's peak: as given, as published, or as measured."""
    if options.peak_tflops:
        return float(options.peak_tflops)
    name = torch.cuda.get_device_name() if device.type == "cuda" else ""
    for known, tflops in PEAK_TFLOPS.items():
        if known in name:
            return tflops
    side = 8192 if device.type == "cuda" else 512
    a = torch.randn(side, side, device=device).bfloat16()
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e12


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    made.add_argument("--tiny", action="store_true", help="small sizes on a CPU")
    made.add_argument("--batches", type=int, nargs="+", default=[128, 256, 512])
    made.add_argument("--seconds", type=float, default=15.0, help="time per setting")
    made.add_argument("--minutes", type=float, default=6.0, help="start no new setting after this time")
    made.add_argument("--workers", type=int, default=6)
    made.add_argument("--no-compile", action="store_true")
    made.add_argument("--peak-tflops", type=float)
    made.add_argument("--folder", type=Path, help="folder for 2 GiB of temporary features")
    return made


if __name__ == "__main__":
    main()
