"""Fixtures for features: model folders, and images for them."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.factories.encoders import save_model

VOCABULARY = Path(__file__).parents[3] / "shared" / "data" / "tokenizers" / "bert-base-uncased" / "vocab.txt"


@pytest.fixture(scope="session")
def vocabulary() -> Path:
    """The vocabulary of bert-base-uncased."""
    if not VOCABULARY.exists():
        pytest.skip(f"no vocabulary at {VOCABULARY}")
    return VOCABULARY


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are slower on more threads. The random state is the same for every test."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """model_folder("clip") -> the folder of a tiny CLIP; each kind is saved once."""
    root = tmp_path_factory.mktemp("models")

    def make(kind: str) -> Path:
        folder = root / kind
        return folder if folder.exists() else save_model(kind, folder)

    return make


@pytest.fixture
def images(tmp_path: Path) -> Callable[[int], list[Path]]:
    """images(3) -> the paths of three different images, each wider than high."""

    def make(count: int) -> list[Path]:
        paths = [tmp_path / f"{index}.png" for index in range(count)]
        for index, path in enumerate(paths):
            noise = random.Random(index).randbytes(40 * 30 * 3)
            Image.frombytes("RGB", (40, 30), noise).save(path)
        return paths

    return make
