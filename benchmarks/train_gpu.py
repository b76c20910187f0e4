"""Training at full size: samples a second and model FLOPs utilisation, with the loader in the loop.

    python benchmarks/train_gpu.py                      # one CUDA device, under 8 minutes, no questions asked
    python benchmarks/train_gpu.py --tiny               # the same program on a CPU, to see that it runs

Features of CLIP ViT-L/14 at 224 pixels (257 x 1024, float16, from a file as in training), descriptions of 128
tokens, the Q-Former at 12 x 768 with 32 queries, AdamW, bfloat16. Steps are those of `mien.train`: reading
rows, moving them, forward, backward, clipping, update. Each setting (batch, compiled or not) runs for some
seconds after a warm-up; "wait" is the share of the time in which the device's host waited for the loader.
MFU is the FLOPs of forward and backward, counted by torch, over the device's peak, which for bfloat16 is
taken from --peak-tflops, or from a table by the device's name, else the fastest of some matrix products
measured here. Prints JSON.
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
from qformer_flops import Step  # beside this file

from mien.batches.batch import ImageInputs, SplitData, TextInputs
from mien.features.cache import FeatureReader
from mien.labels import EMOTIC
from mien.recipe import Recipe
from mien.train.trainer import Part, Trainer

VOCABULARY = 30522
# Dense bfloat16, by their makers.
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0}
FLOOR, AIM, DREAM = 800, 1500, 2250


@dataclass(frozen=True)
class Shape:
    """Sizes of what is measured."""

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
    """Measures, and prints one JSON document."""
    options = parser().parse_args(arguments)
    shape = TINY if options.tiny else FULL
    device = torch.device("cpu" if options.tiny else "cuda")
    begun = time.perf_counter()
    batches = [4, 8] if options.tiny else options.batches
    compiled = [False] if options.tiny or options.no_compile else [False, True]
    peak = peak_tflops(options, device)
    flops = flops_per_sample(shape, device)
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        data = made_up(Path(folder), shape)
        for is_compiled in compiled:
            for batch in batches:
                if time.perf_counter() - begun > options.minutes * 60:
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
        "marks": {"floor": FLOOR, "aim": AIM, "dream": DREAM},
        "reached": [
            name for name, mark in (("floor", FLOOR), ("aim", AIM), ("dream", DREAM)) if best >= mark
        ],
        "seconds": time.perf_counter() - begun,
    }
    print(json.dumps(document, indent=2))


def measure(data: SplitData, recipe: Recipe, device: torch.device, seconds: float) -> dict[str, Any]:
    """One setting: steps for some seconds."""
    setting = {"batch": recipe.train.batch_size, "compiled": recipe.run.compile}
    trainer = Trainer(recipe, data, data, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        steps = endless(trainer)
        begun = time.perf_counter()
        for _ in range(3):
            trainer.train_step(next(steps))
        warm = time.perf_counter() - begun
        begun, waited, seen = time.perf_counter(), 0.0, 0
        while time.perf_counter() - begun < seconds:
            asked = time.perf_counter()
            parts = next(steps)
            waited += time.perf_counter() - asked
            trainer.train_step(parts)  # ends with the loss on the host: nothing is left running
            seen += sum(len(part.batch.targets) for part in parts)
        taken = time.perf_counter() - begun
    except torch.OutOfMemoryError as error:
        return setting | {"failed": str(error).splitlines()[0]}
    return setting | {
        "samples_per_second": seen / taken,
        "wait": waited / taken,
        "warm_up_seconds": warm,
        "peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
    }


def endless(trainer: Trainer) -> Iterator[list[Part]]:
    """The steps of one epoch after another."""
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
        # So many epochs that the rate hardly moves.
        "train": {"batch_size": batch, "epochs": 1000, "precision": "bfloat16", "lr": 1e-5},
        "run": {"workers": options.workers, "compile": compiled},
    }
    return Recipe.parse(table, where="benchmark")


def made_up(folder: Path, shape: Shape) -> SplitData:
    """A split with its features in a file, as training reads them."""
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
        images=ImageInputs(FeatureReader(array, rows), "made up"),
        texts=TextInputs(ids, lengths, VOCABULARY, "made up"),
    )


def flops_per_sample(shape: Shape, device: torch.device) -> float:
    """Of forward and backward."""
    rows = 4
    given = argparse.Namespace(
        batch=rows, width=shape.width, layers=shape.layers, queries=shape.queries, image_tokens=shape.tokens,
        image_dim=shape.dim, text_tokens=shape.text_tokens, device=str(device), precision="bfloat16",
    )  # fmt: skip
    return Step(given).flops() / rows


def peak_tflops(options: argparse.Namespace, device: torch.device) -> float:
    """As given, as its maker says, or as measured."""
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
        begun = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - begun)
    return 2 * side**3 / best / 1e12


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    made.add_argument("--tiny", action="store_true", help="small sizes on a CPU")
    made.add_argument("--batches", type=int, nargs="+", default=[128, 256, 512])
    made.add_argument("--seconds", type=float, default=15.0, help="of each setting")
    made.add_argument("--minutes", type=float, default=6.0, help="after which no setting is begun")
    made.add_argument("--workers", type=int, default=6)
    made.add_argument("--no-compile", action="store_true")
    made.add_argument("--peak-tflops", type=float)
    made.add_argument("--folder", type=Path, help="where 2 GiB of features are written for the while")
    return made


if __name__ == "__main__":
    main()
