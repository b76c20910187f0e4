"""Cost of the encoder in the training loop: steps on cached features and steps on images.

    python benchmarks/train_encoder.py [--encoder vit_b16] [--batch 8] [--steps 5] [--workers 1] [--threads 2]
        [--ways frozen,in_the_loop,lora,full]

Every variant is a complete training step of the package's own trainer, including loading, with a Q-Former
of 12 x 768 over 64 text tokens. "frozen" reads cached features, "in_the_loop" opens and encodes images with
an encoder that does not learn, "lora" and "full" train it. Encoders are CLIP towers of the named shape with
random weights. The variants take steps in turn, after one warmup step each. Prints JSON: seconds per step
(median, minimum and maximum), the share of time spent waiting for data, and the ratios to "frozen".
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from PIL import Image

from mien.batches.builder import InputBuilder
from mien.labels import EMOTIC
from mien.recipe import Recipe
from mien.train.trainer import MicroBatch, Trainer
from mien.types import Box, Sample, Subject, Target
from mien.weights.quiet import quiet_transformers

SHAPES: Final[dict[str, dict[str, Any]]] = {
    "vit_b16": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
                "num_attention_heads": 12, "patch_size": 16, "image_size": 224},
    "vit_l14": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
                "num_attention_heads": 16, "patch_size": 14, "image_size": 224},
}  # fmt: skip
WAYS: Final[dict[str, dict[str, Any]]] = {
    "frozen": {"encoder": "frozen"},
    "in_the_loop": {"encoder": "full", "lr_scale": {"encoder": 0.0}},
    "lora": {"encoder": "lora"},
    "full": {"encoder": "full"},
}
TEXT_TOKENS: Final = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON document."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        setup = Setup(Path(name), options)
        ways = {way: Steps(setup, WAYS[way]) for way in options.ways.split(",")}
        for turn in range(options.steps + 1):
            for steps in ways.values():
                steps.take(timed=turn > 0)
    print(json.dumps(_report(ways, options), indent=2))


class Setup:
    """An encoder's folder, a vocabulary, and samples in images of 640 x 480 pixels."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.options, self.folder = options, folder
        self.encoder = folder / "encoder"
        shape = SHAPES[options.encoder]
        with quiet_transformers():
            transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**shape)).save_pretrained(self.encoder)
        size = {"shortest_edge": shape["image_size"]}
        processor = {"size": size, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        (self.encoder / "preprocessor_config.json").write_text(json.dumps(processor))
        self.vocabulary = folder / "vocab.txt"
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters]))
        self.samples = [self._sample(number) for number in range(2 * options.batch)]

    def _sample(self, number: int) -> Sample:
        path = self.folder / f"{number}.jpg"
        coarse = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(path)
        subject = Subject.still(str(number), path, Box(left=150, top=80, right=400, bottom=440))
        target = Target(labels={EMOTIC.labels[number % len(EMOTIC)]: 1.0})
        return Sample(subject=subject, target=target, split="train")

    def trainer(self, train: dict[str, Any]) -> Trainer:
        """A trainer on these samples with the settings of a variant."""
        options = self.options
        table = {
            "name": "benchmark",
            "features": {"vision": str(self.encoder), "tokenizer": str(self.vocabulary)},
            "model": {"width": 768, "layers": 12, "heads": 12, "num_queries": 32},
            "train": {"batch_size": options.batch, "epochs": 1_000, "divergence": 0.0, **train},
            "run": {"workers": options.workers, "batch_size": options.batch},
        }
        recipe = Recipe.parse(table, where="benchmark")
        text = " ".join("abcdefghijklmnopqrstuvwxyz"[number % 26] for number in range(TEXT_TOKENS - 2))
        data = InputBuilder.from_recipe(recipe, self.folder / "features").build_split(
            "train",
            self.samples,
            EMOTIC,
            descriptions={sample.subject.id: text for sample in self.samples},
        )
        return Trainer(recipe, data, data, torch.device("cpu"))


class Steps:
    """The steps of one variant."""

    def __init__(self, setup: Setup, train: dict[str, Any]) -> None:
        self.trainer = setup.trainer(train)
        self.seconds: list[float] = []
        self.waits: list[float] = []
        self._batches: Iterator[list[MicroBatch]] = chain.from_iterable(
            trainer.remaining_steps() for trainer in repeat(self.trainer)
        )

    def take(self, *, timed: bool) -> None:
        """Take a step, and record its time if it is timed."""
        start = time.perf_counter()
        micro_batches = next(self._batches)
        loaded = time.perf_counter()
        self.trainer.train_step(micro_batches)
        if timed:
            self.waits.append(loaded - start)
            self.seconds.append(time.perf_counter() - start)


def _report(ways: dict[str, Steps], options: argparse.Namespace) -> dict[str, object]:
    medians = {way: statistics.median(steps.seconds) for way, steps in ways.items()}
    return {
        "schema": 1,
        "benchmark": "train_encoder",
        "options": vars(options),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "processors": os.cpu_count(),
        "seconds_per_step": {
            way: {"median": medians[way], "low": min(steps.seconds), "high": max(steps.seconds)}
            for way, steps in ways.items()
        },
        "wait_share": {way: sum(steps.waits) / sum(steps.seconds) for way, steps in ways.items()},
        "ratios": {f"{way} / frozen": medians[way] / medians["frozen"] for way in ways if way != "frozen"},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--encoder", choices=SHAPES, default="vit_b16")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    return parser


if __name__ == "__main__":
    main()
