"""Splits and a recipe that every process of a distributed training builds identically."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien.batches.batch import ImageInputs, SplitData, TextInputs, build_split
from mien.features.cache import FeatureFile
from mien.labels import LabelSet
from mien.recipe import Recipe
from mien.types import Sample, Subject, Target

LABELS = LabelSet(name="toy", labels=("a", "b", "c"), exclusive=False)
WORDS = 20


def recipe(train: dict[str, Any]) -> Recipe:
    """A recipe without dropout, because its random numbers differ by process."""
    table = {
        "name": "toy",
        "model": {"width": 16, "heads": 2, "num_queries": 3, "dropout": 0.0},
        "train": {"batch_size": 7, "lr": 0.001, **train},
    }
    return Recipe.parse(table, where="test")


def split(name: str, count: int, folder: Path) -> SplitData:
    """Random features, token ids and targets; two thirds have no dimensions."""
    random = np.random.default_rng(len(name))
    keys = [f"{name} {row}" for row in range(count)]
    file = FeatureFile.open(folder / f"{name}.npy", signature="encoder")
    if missing := file.missing(keys):
        with file.writing(missing, (4, 12)) as writer:
            writer.write(missing, random.normal(size=(count, 4, 12)).astype(np.float32))
    random = np.random.default_rng(len(name) + 1)
    samples = []
    for row in range(count):
        scores = {label: float(random.random() < 0.4) for label in LABELS.labels}
        dimensions = None if row % 3 else dict.fromkeys(("valence", "arousal", "dominance"), random.random())
        subject = Subject.still(f"{name} {row}", Path(f"{row}.png"))
        samples.append(
            Sample(subject=subject, target=Target(labels=scores, dimensions=dimensions), split=name)
        )
    lengths = torch.from_numpy(random.integers(1, 9, count))
    ids = torch.from_numpy(random.integers(1, WORDS, (count, 8)))
    return build_split(
        name, samples, LABELS,
        images=ImageInputs(file.reader(keys), "encoder"), texts=TextInputs(ids, lengths, WORDS, "words"),
    )  # fmt: skip
