"""Fixtures for tiny trainings; the builders are in tests.factories.training."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.factories.training import MakeRecipe, MakeSplit, learnable_split, tiny_recipe, tiny_tokenizer

from mien.features.text import TextTokenizer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are slower on more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    return tiny_tokenizer(tmp_path)


@pytest.fixture
def make(tmp_path: Path) -> MakeSplit:
    """make("train", 60, seed=0, exclusive=False, text=True, image=True) -> SplitData."""
    return partial(learnable_split, tmp_path)


@pytest.fixture
def recipe() -> MakeRecipe:
    """recipe(model={...}, train={...}) -> a recipe for a tiny model."""
    return tiny_recipe
