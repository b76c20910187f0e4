"""The fake engine: its texts, and the failures that it can be told to have."""

import pytest
from PIL import Image

from mien.describe.engine import Engine, Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.errors import EngineError


def request(color: str = "red", subject_id: str = "s", prompt: str = "How?") -> Request:
    return Request(subject_id=subject_id, images=(Image.new("RGB", (8, 8), color),), prompt=prompt)


def text(engine: Engine, one: Request) -> str:
    [reply] = engine.describe([one])
    assert isinstance(reply, Reply)
    return reply.text


def test_the_text_depends_on_the_images_and_the_prompt_only() -> None:
    engine = FakeEngine()
    same = text(engine, request())
    assert same == text(FakeEngine(), request(subject_id="other"))
    assert same != text(engine, request(color="blue"))
    assert same != text(engine, request(prompt="Who?"))


def test_a_refused_item_fails_alone_and_a_poison_item_fails_the_batch() -> None:
    engine = FakeEngine(FakeOptions(refuse=("b",), poison=("d",)))
    first, second, third = engine.describe([request(subject_id=name) for name in "abc"])
    assert [first, third] == FakeEngine().describe([request(subject_id=name) for name in "ac"])
    assert isinstance(second, EngineError)
    assert str(second) == "subject 'b' was refused"
    with pytest.raises(EngineError, match="batch failed"):
        engine.describe([request(subject_id=name) for name in "ad"])


@pytest.mark.parametrize("retryable", [True, False])
def test_its_failures_say_whether_a_retry_helps(retryable: bool) -> None:
    engine = FakeEngine(FakeOptions(refuse=("b",), retryable=retryable))
    [error] = engine.describe([request(subject_id="b")])
    assert isinstance(error, EngineError)
    assert error.retryable is retryable
    assert "refuse" in error.hint


def test_a_text_has_as_many_words_as_its_options_say() -> None:
    words = text(FakeEngine(FakeOptions(num_words=3)), request()).split()
    assert len(words) == 3 + 1  # and the digest


def test_the_texts_of_version_0_1_0_are_unchanged() -> None:
    assert FakeEngine().signature == {"engine": "fake", "version": 1, "num_words": 20}
    assert text(FakeEngine(FakeOptions(num_words=4)), request()) == "far eager friends person (36cc7f97)."
