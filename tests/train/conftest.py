"""Small splits whose labels can be learned: one from the image, one from the text, one from both."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.batches.batch import Images, SplitData, Texts, make_split
from mien.features.cache import FeatureFile, FeatureReader
from mien.features.text import TextTokenizer, load_tokenizer
from mien.labels import LabelSet
from mien.recipe.recipe import Recipe
from mien.types import Sample, Subject, Target

TOKENS, DIM = 4, 12
WORDS = ("calm", "storm", "very", "quite", "rather", "a", "day")
LABELS = LabelSet(name="toy", labels=("bright", "stormy", "both"), exclusive=False)
ONE_OF = LabelSet(name="one_of", labels=("dull and calm", "bright", "stormy"), exclusive=True)

MakeSplit = Callable[..., SplitData]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are slower on more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    file = tmp_path / "words.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    return load_tokenizer(file, 12)


@pytest.fixture
def make(tmp_path: Path, tokenizer: TextTokenizer) -> MakeSplit:
    """make("train", 60, seed=0, exclusive=False, text=True, image=True) -> SplitData."""

    def split(
        name: str,
        count: int,
        *,
        seed: int = 0,
        exclusive: bool = False,
        image: bool = True,
        text: bool = True,
        signature: str = "encoder",
    ) -> SplitData:
        random = np.random.default_rng(seed)
        bright, stormy = random.random(count) < 0.5, random.random(count) < 0.5
        texts = [
            " ".join([*random.choice(WORDS[2:], random.integers(1, 7)), WORDS[int(storm)]])
            for storm in stormy
        ]
        features = random.normal(size=(count, TOKENS, DIM)).astype(np.float32)
        features[:, 1, :3] = np.where(bright, 4, -4)[:, None]
        return make_split(
            name,
            [_sample(name, row, bright[row], stormy[row], exclusive=exclusive) for row in range(count)],
            ONE_OF if exclusive else LABELS,
            images=Images(_reader(tmp_path / f"{name}-{seed}-{count}", features), signature)
            if image
            else None,
            texts=Texts.of(texts, tokenizer) if text else None,
        )

    def _reader(folder: Path, features: np.ndarray) -> FeatureReader:
        file = FeatureFile.open(folder / "f.npy", signature="encoder")
        keys = [str(row) for row in range(len(features))]
        with file.writing(keys, (TOKENS, DIM)) as writer:
            writer.write(keys, features)
        return file.reader(keys)

    return split


def _sample(split: str, row: int, bright: bool, stormy: bool, *, exclusive: bool) -> Sample:
    if exclusive:
        scores = {ONE_OF.labels[2 if stormy else int(bright)]: 1.0}
    else:
        scores = {"bright": float(bright), "stormy": float(stormy), "both": float(bright and stormy)}
    # Every third was not asked about dimensions.
    dimensions = (
        None if row % 3 == 0 else {"valence": 0.8 if bright else 0.2, "arousal": 0.5, "dominance": 0.4}
    )
    subject = Subject.still(f"{split} {row}", Path(f"{row // 2}.png"))
    return Sample(subject=subject, target=Target(labels=scores, dimensions=dimensions), split=split)


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """recipe(model={...}, train={...}) -> a recipe for a tiny model."""

    def make_recipe(model: dict[str, object] | None = None, train: dict[str, object] | None = None) -> Recipe:
        table = {
            "name": "toy",
            "model": {"width": 16, "heads": 2, "num_queries": 3, **(model or {})},
            "train": {"epochs": 3, "batch_size": 8, "lr": 0.003, **(train or {})},
        }
        return Recipe.parse(table, where="test")

    return make_recipe
