"""Tiny random models of the families that people use, with their own processors, in both engines."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.factories.real_vllm import open_vllm, texts_of
from tests.factories.tiny_llava import build_tiny_llava_next
from tests.factories.tiny_vlms import FAMILIES, build_tiny_qwen2_5_vl, build_tiny_qwen3_vl

from mien.describe.engine import Reply, Request
from mien.describe.local.engine import LocalEngine
from mien.describe.vllm import VllmEngine
from mien.errors import EngineError

TOKENS = 12


def make_requests(count: int = 6) -> list[Request]:
    rng = np.random.default_rng(4)
    shapes = [(40 + 9 * number, 60 + 20 * (number % 3), 3) for number in range(count)]
    return [
        Request(
            subject_id=f"s{number}",
            images=(Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)),),
            prompt=("How do they feel? " * (1 + number % 3)).strip(),
        )
        for number, shape in enumerate(shapes)
    ]


def complete(text: str) -> str:
    """The text without a last character whose bytes are incomplete, which vLLM leaves out."""
    return text.rstrip("\ufffd")


# vLLM has no attention heads of fewer than 32 numbers on a CPU.
BUILDERS: dict[str, Callable[[Path], Path]] = {
    **FAMILIES,
    "llava_next": partial(build_tiny_llava_next, heads=1),
}


@pytest.mark.parametrize("family", sorted(BUILDERS))
def test_a_batch_is_described_as_its_requests_one_by_one_in_both_engines(family: str, tmp_path: Path) -> None:
    folder, batch = BUILDERS[family](tmp_path / family), make_requests()
    engines = LocalEngine(folder, max_new_tokens=TOKENS), open_vllm(folder, TOKENS, max_model_len=1024)
    try:
        together = [texts_of(engine, batch) for engine in engines]
        assert together == [texts_of(engine, batch, 1) for engine in engines]
    finally:
        engines[1].close()
    # Random weights turn rounding into other tokens now and then. By chance, no two texts would be equal.
    local, vllm = (map(complete, texts) for texts in together)
    assert sum(one == other for one, other in zip(local, vllm, strict=True)) >= 4


def test_a_shape_that_a_processor_refuses_fails_alone_with_its_reason(qwen: VllmEngine) -> None:
    narrow = Request(subject_id="narrow", images=(Image.new("RGB", (908, 4)),), prompt="How?")
    first, failed = qwen.describe([make_requests(1)[0], narrow])
    assert isinstance(first, Reply)
    assert isinstance(failed, EngineError)
    assert "absolute aspect ratio must be smaller than 200, got 227" in str(failed)
    assert "EngineGenerateError" not in str(failed)


@pytest.fixture
def qwen(tmp_path: Path) -> Iterator[VllmEngine]:
    engine = open_vllm(build_tiny_qwen2_5_vl(tmp_path / "qwen"), TOKENS, max_model_len=1024)
    yield engine
    engine.close()


def test_thinking_is_turned_off_where_the_template_knows_it(tmp_path: Path) -> None:
    folder, batch = build_tiny_qwen3_vl(tmp_path / "qwen3"), make_requests(3)
    engine = open_vllm(folder, TOKENS, max_model_len=1024, thinking=False)
    try:
        found = texts_of(engine, batch)
    finally:
        engine.close()
    off, on = (LocalEngine(folder, max_new_tokens=TOKENS, thinking=thinking) for thinking in (False, None))
    assert [*map(complete, found)] == [*map(complete, texts_of(off, batch))]
    assert [*map(complete, found)] != [*map(complete, texts_of(on, batch))]
