"""A run that was really trained, for a moment, with a tiny random LLaVA for eyes and voice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.factories.hub_server import own_hub
from tests.factories.tiny_llava import build_tiny_llava
from tests.factories.training import train_on_samples

from mien.labels import CAERS
from mien.recipe import DescribeOptions, FeatureOptions, ModelOptions, Recipe, RunOptions, TrainOptions
from mien.types import DIMENSIONS, Box, Sample, Subject, Target

__all__ = ["Made", "own_hub", "train_run"]  # the second is a fixture

_WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdefghij"),
)
_PER_SPLIT = 8


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Made:
    """A trained run, its recipe, and all samples by split, with the texts that stood for descriptions."""

    run: Path
    recipe: Recipe
    samples: dict[str, list[Sample]]
    cache: Path


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llava(tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Sample]]:
    """Noise with boxes; wider than high."""
    folder = tmp_path_factory.mktemp("images")
    made: dict[str, list[Sample]] = {}
    for split in ("train", "val", "test"):
        made[split] = []
        for index in range(_PER_SPLIT):
            lots = random.Random(f"{split} {index}")
            path = folder / f"{split}{index}.png"
            Image.frombytes("RGB", (48, 32), lots.randbytes(48 * 32 * 3)).save(path)
            subject = Subject.still(f"{split}/{index}", path, Box(left=4, top=4, right=24, bottom=28))
            target = Target(
                labels={CAERS.labels[index % len(CAERS)]: 1.0},
                dimensions={name: lots.random() for name in DIMENSIONS},
            )
            made[split].append(Sample(subject=subject, target=target, split=split))
    return made


@pytest.fixture(scope="session")
def make_run(
    tmp_path_factory: pytest.TempPathFactory, llava: Path, samples: dict[str, list[Sample]]
) -> Callable[..., Made]:
    """make_run(fusion="qformer", engine="fake", vision=folder, epochs=1): each is trained once."""
    made: dict[tuple[str, str], Made] = {}

    def make(fusion: str = "qformer", engine: str = "local") -> Made:
        if (fusion, engine) not in made:
            made[fusion, engine] = train_run(tmp_path_factory.mktemp("run"), llava, samples, fusion, engine)
        return made[fusion, engine]

    return make


def train_run(folder: Path, llava: Path, samples: dict[str, list[Sample]], fusion: str, engine: str) -> Made:
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(_WORDS))
    recipe = Recipe(
        name="tiny",
        describe=DescribeOptions(engine=engine, model=str(llava), max_new_tokens=12),
        features=FeatureOptions(vision=str(llava), tokenizer=str(vocabulary), max_text_tokens=24),
        model=ModelOptions(fusion=fusion, width=16, layers=2, heads=2, num_queries=2),
        train=TrainOptions(epochs=2, batch_size=4, lr=0.01),
        run=RunOptions(batch_size=3),
    )
    texts = {s.subject.id: f"words about {s.subject.id}" for split in samples.values() for s in split}
    train_on_samples(recipe, samples, CAERS, descriptions=texts, cache=folder / "cache", out=folder / "run")
    return Made(run=folder / "run", recipe=recipe, samples=samples, cache=folder / "cache")
