"""Speedup of training on cached features over running the encoder in every epoch.

    python benchmarks/train_cached.py [--samples 128] [--repeats 5] [--width 96] [--text-tokens 48]

All variants take the same optimizer steps on the same images and texts, alternating in one process with one
thread. The encoder has the shape of the embedded one (CLIP ViT, 144 px, patch 12, width 192, 6 layers) and
random weights. "with_encoder" reads, marks and encodes the images of each batch; "encoder_only" starts from
marked and fitted images. Prints JSON: seconds per epoch (median, minimum and maximum over repeats), and
ratios.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor

from mien.features.encode import FeatureCache
from mien.features.vision_encoder import VisionEncoderSpec, find_vision_encoder
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.media.views import prepare_image
from mien.model.classifier import Classifier
from mien.model.fusion import build_fusion
from mien.recipe import ModelOptions, TrainOptions
from mien.train.losses import build_loss
from mien.train.optimizer import build_optimizer, clip_gradients
from mien.types import Box, Subject
from mien.weights.quiet import quiet_transformers

SIZE, BATCH, WORDS = 144, 32, 400
MARKING = Marking()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON document."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        setup = Setup(Path(name), options)
        variants = {
            "cached": partial(setup.epoch, setup.from_cache),
            "with_encoder": partial(setup.epoch, setup.from_files),
            "encoder_only": partial(setup.epoch, setup.from_images),
        }
        seconds = measure(variants, options.repeats)
    print(json.dumps(_report(seconds, options), indent=2))


class Setup:
    """One model, its images and texts, and three ways to get image tokens."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        spec = _source(folder / "encoder")
        self.encoder = spec.encoder
        self.fit = spec.square
        self.subjects = _subjects(folder, options.samples)
        self.images = [self.fit(prepare_image(subject, marking=MARKING)) for subject in self.subjects]
        cache = FeatureCache(folder=folder / "cache", spec=spec)
        self.reader = cache.features("train", self.subjects, MARKING)
        self.ids = torch.randint(0, WORDS, (options.samples, options.text_tokens))
        self.mask = torch.ones_like(self.ids, dtype=torch.bool)
        self.targets = torch.randint(0, 2, (options.samples, len(EMOTIC))).float()
        self.dimensions = torch.rand(options.samples, 3)
        model = ModelOptions(width=options.width)
        fusion = build_fusion(model, image_dim=self.encoder.dim, vocab_size=WORDS)
        self.classifier = Classifier(fusion, len(EMOTIC), dimensions=True)
        self.optimizer = build_optimizer(self.classifier, TrainOptions())
        self.loss = build_loss(TrainOptions(), EMOTIC)

    def epoch(self, read: Callable[[np.ndarray], Tensor]) -> None:
        order = np.random.default_rng(0).permutation(len(self.subjects))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            output = self.classifier(read(rows), self.ids[rows], self.mask[rows])
            loss = self.loss(output, self.targets[rows], self.dimensions[rows])
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            clip_gradients(self.classifier, 1.0, step=0)
            self.optimizer.step()

    def from_cache(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.reader.read(rows)).float()

    def from_files(self, rows: np.ndarray) -> Tensor:
        return self._encode([self.fit(prepare_image(self.subjects[row], marking=MARKING)) for row in rows])

    def from_images(self, rows: np.ndarray) -> Tensor:
        return self._encode([self.images[row] for row in rows])

    def _encode(self, images: Sequence[Image.Image]) -> Tensor:
        pixels = np.stack([np.asarray(image) for image in images])
        return self.encoder.encode(pixels[:, None]).clone()  # autograd does not accept inference tensors


def measure(variants: Mapping[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each variant, in alternating rounds after one warmup round."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _report(seconds: dict[str, list[float]], options: argparse.Namespace) -> dict[str, object]:
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    return {
        "schema": 1,
        "benchmark": "train_cached",
        "options": vars(options) | {"batch_size": BATCH},
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "cpu_threads": torch.get_num_threads(),
        "seconds_per_epoch": {
            way: {"median": medians[way], "low": min(values), "high": max(values)}
            for way, values in seconds.items()
        },
        "ratios": {f"{way} / cached": medians[way] / medians["cached"] for way in seconds if way != "cached"},
    }


def _source(folder: Path) -> VisionEncoderSpec:
    config = transformers.CLIPVisionConfig(
        hidden_size=192, intermediate_size=512, num_hidden_layers=6, num_attention_heads=6, image_size=SIZE,
        patch_size=12,
    )  # fmt: skip
    with quiet_transformers():
        transformers.CLIPVisionModel(config).save_pretrained(folder)
    processor = {"size": {"shortest_edge": SIZE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return find_vision_encoder(folder)


def _subjects(folder: Path, count: int) -> list[Subject]:
    """Images of 320 x 240 pixels with realistic content, so that decoding takes realistic time."""
    random = np.random.default_rng(0)
    box = Box(left=80, top=40, right=200, bottom=220)
    subjects = []
    for index in range(count):
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        path = folder / f"{index}.jpg"
        Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(path)
        subjects.append(Subject.still(str(index), path, box))
    return subjects


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--text-tokens", type=int, default=48)
    return parser


if __name__ == "__main__":
    main()
