"""A batch is equal to one by one: every size, any order, two architectures, memory that runs out."""

import random
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

BUILDERS = {"llava": build_tiny_llava, "llava_next": build_tiny_llava_next}


@pytest.fixture(scope="module", params=BUILDERS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    folder = BUILDERS[request.param](tmp_path_factory.mktemp("models") / "model")
    return LocalEngine(folder, max_new_tokens=12)


@pytest.fixture
def llava(tmp_path: Path) -> Path:
    return build_tiny_llava(tmp_path / "llava")


def make(number: int, size: tuple[int, int], prompt: str) -> Request:
    noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Request(subject_id=f"s{number}", images=(Image.fromarray(noise),), prompt=prompt)


def some(count: int) -> list[Request]:
    rng = random.Random(count)
    sizes = [(rng.randint(8, 90), rng.randint(8, 90)) for _ in range(count)]
    return [make(n, size, "How do they feel? " * (1 + n % 4)) for n, size in enumerate(sizes)]


def one_by_one(engine: LocalEngine, asked: list[Request]) -> list[Reply | EngineError]:
    return [reply for request in asked for reply in engine.describe([request])]


def test_every_batch_size_in_any_order_is_equal_to_one_by_one(engine: LocalEngine) -> None:
    asked = some(16)
    alone = one_by_one(engine, asked)
    assert len({reply.text for reply in alone if isinstance(reply, Reply)}) == 16
    for size in range(1, 17):
        order = random.Random(size).sample(range(16), 16)
        mixed = [asked[n] for n in order]
        together = [reply for n in range(0, 16, size) for reply in engine.describe(mixed[n : n + size])]
        assert together == [alone[n] for n in order], f"batches of {size}"


SHAPES = st.tuples(st.integers(1, 120), st.integers(1, 120))
PROMPTS = st.text(st.characters(codec="utf-8", exclude_characters="<>"), min_size=1, max_size=60)


@settings(max_examples=12)
@given(batch=st.lists(st.tuples(SHAPES, PROMPTS), min_size=1, max_size=5))
def test_pictures_of_any_shape_and_questions_of_any_length(
    engine: LocalEngine, batch: list[tuple[tuple[int, int], str]]
) -> None:
    asked = [make(n, size, prompt) for n, (size, prompt) in enumerate(batch)]
    assert list(engine.describe(asked)) == one_by_one(engine, asked)


# --- Memory ---


class _Cramped:
    """Stands before a loaded model and has room for so many requests at once."""

    def __init__(self, model: Any, room: int) -> None:
        self.model, self.room, self.sizes = model, room, list[int]()

    def answer(self, requests: Any, max_new_tokens: int) -> Any:
        self.sizes.append(len(requests))
        if len(requests) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return self.model.answer(requests, max_new_tokens)

    def free(self) -> None: ...


def test_a_batch_that_does_not_fit_is_halved_and_the_size_remembered(llava: Path) -> None:
    engine, plain = LocalEngine(llava, max_new_tokens=6), LocalEngine(llava, max_new_tokens=6)
    cramped = _Cramped(engine._model, room=3)
    engine.__dict__["_model"] = cramped
    asked = some(8)
    assert engine.describe(asked) == plain.describe(asked)
    assert cramped.sizes == [8, 4, 2, 2, 2, 2]
    engine.describe(asked[:5])
    assert cramped.sizes[6:] == [2, 2, 1]


def test_one_request_that_does_not_fit_is_the_engines_failure(llava: Path) -> None:
    engine = LocalEngine(llava, max_new_tokens=6)
    engine.__dict__["_model"] = _Cramped(engine._model, room=0)
    with pytest.raises(EngineError, match="out of memory"):
        engine.describe(some(2))


def test_quantized_weights_are_another_model_and_need_their_library(llava: Path) -> None:
    engine = LocalEngine(llava, quantize="4bit")
    assert engine.signature != LocalEngine(llava).signature
    if find_spec("bitsandbytes") is None:
        with pytest.raises(EngineError, match="bitsandbytes"):
            engine.describe(some(1))
