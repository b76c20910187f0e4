"""A tiny run, served, and images to send."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
import torch
from PIL import Image
from tests.factories.service import RunningService, running_service
from tests.factories.tiny_runs import train_tiny_describing_run, train_tiny_run

from mien.predict.predictor import Predictor


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Of images alone, with no detector."""
    return Predictor.from_pretrained(train_tiny_run(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.fixture(scope="session")
def service(predictor: Predictor) -> Iterator[RunningService]:
    with running_service(predictor) as running:
        yield running


@pytest.fixture(scope="session")
def describing_predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Of images and words, evaluated, with no detector."""
    return Predictor.from_pretrained(
        train_tiny_describing_run(tmp_path_factory.mktemp("words")), device="cpu"
    )


@pytest.fixture(scope="session")
def describing_service(describing_predictor: Predictor) -> Iterator[RunningService]:
    with running_service(describing_predictor) as running:
        yield running


@pytest.fixture
def http(service: RunningService) -> Iterator[httpx2.Client]:
    """Sends requests to the service."""
    with httpx2.Client(base_url=service.url, timeout=60, trust_env=False) as client:
        yield client


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def noise() -> Callable[..., bytes]:
    """noise(seed, (width, height), "PNG"): the bytes of an image file."""

    def make(seed: int = 0, size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
        lots = random.Random(seed)
        return encode(Image.frombytes("RGB", size, lots.randbytes(3 * size[0] * size[1])), kind)

    return make
