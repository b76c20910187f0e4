"""A batch gives the replies of its requests one by one, in any order, also if memory runs out."""

import random
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.factories.tiny_llava import build_tiny_llava, build_tiny_llava_next

from mien.describe.engine import Reply, Request
from mien.describe.local.engine import LocalEngine
from mien.errors import EngineError

BUILDERS: dict[str, Callable[[Path], Path]] = {"llava": build_tiny_llava, "llava_next": build_tiny_llava_next}


@pytest.fixture(scope="module", params=BUILDERS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    folder = BUILDERS[request.param](tmp_path_factory.mktemp("models") / "model")
    return LocalEngine(folder, max_new_tokens=12)


@pytest.fixture
def llava(tmp_path: Path) -> Path:
    return build_tiny_llava(tmp_path / "llava")


def make_request(number: int, size: tuple[int, int], prompt: str) -> Request:
    noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Request(subject_id=f"s{number}", images=(Image.fromarray(noise),), prompt=prompt)


def make_requests(count: int) -> list[Request]:
    rng = random.Random(count)
    sizes = [(rng.randint(8, 90), rng.randint(8, 90)) for _ in range(count)]
    return [make_request(n, size, "How do they feel? " * (1 + n % 4)) for n, size in enumerate(sizes)]


def one_by_one(engine: LocalEngine, batch_requests: list[Request]) -> list[Reply | EngineError]:
    return [reply for request in batch_requests for reply in engine.describe([request])]


def test_every_batch_size_in_any_order_is_equal_to_one_by_one(engine: LocalEngine) -> None:
    batch_requests = make_requests(16)
    expected = one_by_one(engine, batch_requests)
    assert len({reply.text for reply in expected if isinstance(reply, Reply)}) == 16
    for size in range(1, 17):
        order = random.Random(size).sample(range(16), 16)
        mixed = [batch_requests[n] for n in order]
        together = [reply for n in range(0, 16, size) for reply in engine.describe(mixed[n : n + size])]
        assert together == [expected[n] for n in order], f"batches of {size}"


SHAPES = st.tuples(st.integers(1, 120), st.integers(1, 120))
PROMPTS = st.text(st.characters(codec="utf-8", exclude_characters="<>"), min_size=1, max_size=60)


@settings(max_examples=12)
@given(batch=st.lists(st.tuples(SHAPES, PROMPTS), min_size=1, max_size=5))
def test_images_of_any_shape_and_prompts_of_any_length(
    engine: LocalEngine, batch: list[tuple[tuple[int, int], str]]
) -> None:
    batch_requests = [make_request(n, size, prompt) for n, (size, prompt) in enumerate(batch)]
    assert list(engine.describe(batch_requests)) == one_by_one(engine, batch_requests)


# --- Memory ---


class _SmallMemory:
    """Wraps a loaded model and runs out of memory above a batch size."""

    def __init__(self, model: Any, max_size: int) -> None:
        self.model, self.max_size, self.sizes = model, max_size, list[int]()

    def describe(self, requests: Any, max_new_tokens: int, **options: Any) -> Any:
        self.sizes.append(len(requests))
        if len(requests) > self.max_size:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return self.model.describe(requests, max_new_tokens, **options)

    def free_memory(self) -> None: ...


def test_a_batch_that_does_not_fit_is_halved_and_the_size_is_remembered(llava: Path) -> None:
    engine, plain = LocalEngine(llava, max_new_tokens=6), LocalEngine(llava, max_new_tokens=6)
    model = _SmallMemory(engine._model, max_size=3)
    engine.__dict__["_model"] = model
    batch_requests = make_requests(8)
    assert engine.describe(batch_requests) == plain.describe(batch_requests)
    assert model.sizes == [8, 4, 2, 2, 2, 2]
    engine.describe(batch_requests[:5])
    assert model.sizes[6:] == [2, 2, 1]


def test_a_single_request_that_does_not_fit_fails_the_engine(llava: Path) -> None:
    engine = LocalEngine(llava, max_new_tokens=6)
    engine.__dict__["_model"] = _SmallMemory(engine._model, max_size=0)
    with pytest.raises(EngineError, match="out of memory"):
        engine.describe(make_requests(2))


def test_quantized_weights_have_another_signature_and_need_their_library(llava: Path) -> None:
    engine = LocalEngine(llava, quantize="4bit")
    assert engine.signature != LocalEngine(llava).signature
    if find_spec("bitsandbytes") is None:
        with pytest.raises(EngineError, match="bitsandbytes"):
            engine.describe(make_requests(1))
