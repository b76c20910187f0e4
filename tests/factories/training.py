"""Tiny splits with learnable labels (from the image, from the text, from both) and tiny recipes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

from mien.batches.batch import ImageInputs, SplitData, TextInputs, build_split
from mien.batches.builder import Descriptions, InputBuilder
from mien.features.cache import FeatureFile, FeatureReader
from mien.features.encode import EncodeProgress
from mien.features.text import TextTokenizer, load_tokenizer
from mien.labels import LabelSet
from mien.model.checkpoint import TrainResult
from mien.model.fusion import fusion_class
from mien.recipe import Recipe
from mien.train.loop import TrainProgress, train
from mien.types import Sample, Subject, Target

TOKENS, DIM = 4, 12  # of an image
WORDS: Final = ("calm", "storm", "very", "quite", "rather", "a", "day")
LABELS: Final = LabelSet(name="toy", labels=("bright", "stormy", "both"), exclusive=False)
ONE_OF: Final = LabelSet(name="one_of", labels=("dull and calm", "bright", "stormy"), exclusive=True)

MakeSplit = Callable[..., SplitData]
MakeRecipe = Callable[..., Recipe]


def tiny_recipe(
    model: Mapping[str, Any] | None = None, train: Mapping[str, Any] | None = None, **run: Any
) -> Recipe:
    """A recipe for a model with a few thousand weights."""
    table = {
        "name": "toy",
        "model": {"width": 16, "heads": 2, "num_queries": 3, **(model or {})},
        "train": {"epochs": 3, "batch_size": 8, "lr": 0.003, **(train or {})},
        "run": run,
    }
    return Recipe.parse(table, where="test")


def tiny_tokenizer(folder: Path) -> TextTokenizer:
    """Knows `WORDS`."""
    file = folder / "words.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    return load_tokenizer(file, 12)


def learnable_split(
    folder: Path,
    name: str,
    count: int,
    *,
    seed: int = 0,
    exclusive: bool = False,
    image: bool = True,
    text: bool = True,
    signature: str = "encoder",
) -> SplitData:
    """Random features and words in which the labels are written; a third has no dimensions."""
    random = np.random.default_rng(seed)
    bright, stormy = random.random(count) < 0.5, random.random(count) < 0.5
    texts = [
        " ".join([*random.choice(WORDS[2:], random.integers(1, 7)), WORDS[int(storm)]]) for storm in stormy
    ]
    features = random.normal(size=(count, TOKENS, DIM)).astype(np.float32)
    features[:, 1, :3] = np.where(bright, 4, -4)[:, None]
    label_set = ONE_OF if exclusive else LABELS
    return build_split(
        name,
        [_sample(name, row, bright[row], stormy[row], exclusive=exclusive) for row in range(count)],
        label_set,
        images=ImageInputs(_reader(folder / f"{name}-{seed}-{count}", features), signature)
        if image
        else None,
        texts=TextInputs.encode(texts, tiny_tokenizer(folder), label_set.labels) if text else None,
    )


def _reader(folder: Path, features: np.ndarray) -> FeatureReader:
    file = FeatureFile.open(folder / "f.npy", signature="encoder")
    keys = [str(row) for row in range(len(features))]
    with file.writing(keys, (TOKENS, DIM)) as writer:
        writer.write(keys, features)
    return file.reader(keys)


def _sample(split: str, row: int, bright: bool, stormy: bool, *, exclusive: bool) -> Sample:
    if exclusive:
        scores = {ONE_OF.labels[2 if stormy else int(bright)]: 1.0}
    else:
        scores = {"bright": float(bright), "stormy": float(stormy), "both": float(bright and stormy)}
    dimensions = (
        None if row % 3 == 0 else {"valence": 0.8 if bright else 0.2, "arousal": 0.5, "dominance": 0.4}
    )
    subject = Subject.still(f"{split} {row}", Path(f"{row // 2}.png"))
    return Sample(subject=subject, target=Target(labels=scores, dimensions=dimensions), split=split)


# --- Fixtures; a conftest.py imports them by name ---


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are slower on more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make(tmp_path: Path) -> MakeSplit:
    """make("train", 60, seed=0, exclusive=False, text=True, image=True) -> SplitData."""
    return partial(learnable_split, tmp_path)


@pytest.fixture
def recipe() -> MakeRecipe:
    """recipe(model={...}, train={...}) -> a recipe for a tiny model."""
    return tiny_recipe


# --- Interruptions ---


class Interrupted(Exception):  # noqa: N818  an event, not an error
    """Ends a training as a killed process would."""


def interrupt_after(step: int) -> Callable[[TrainProgress], None]:
    """An `on_progress` that raises `Interrupted` after this step."""

    def listen(event: TrainProgress) -> None:
        if event.step == step:
            raise Interrupted

    return listen


# --- Training from samples ---


def train_on_samples(
    recipe: Recipe,
    samples: Mapping[str, Sequence[Sample]],
    label_set: LabelSet,
    *,
    descriptions: Descriptions,
    cache: Path,
    out: Path,
    on_encode: Callable[[EncodeProgress], None] | None = None,
) -> TrainResult:
    """Encode what the fusion uses and the cache lacks, then train on "train" with early stopping on "val"."""
    fusion = fusion_class(recipe.model.fusion)
    builder = InputBuilder.from_recipe(recipe, cache)
    data, val = (
        builder.build_split(
            split,
            samples[split],
            label_set,
            image=fusion.uses_image,
            descriptions=descriptions if fusion.uses_text else None,
            on_progress=on_encode,
        )
        for split in ("train", "val")
    )
    return train(recipe, data, val, out)
