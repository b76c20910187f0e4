"""The fake engine, and the way from a recipe to an engine."""

from collections.abc import Mapping, Sequence
from typing import Self

import pytest
from PIL import Image
from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.open import open_engine
from mien.errors import ConfigError, EngineError, UnknownNameError
from mien.recipe import DescribeOptions, RunOptions


class Mine(Engine):
    """An engine of a user's own."""

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        return cls()

    @property
    def name(self) -> str:
        return "mine"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"engine": "mine"}

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        return [Reply(text="fine") for _ in requests]


def request(color: str = "red", subject_id: str = "s", prompt: str = "How?") -> Request:
    return Request(subject_id=subject_id, images=(Image.new("RGB", (8, 8), color),), prompt=prompt)


def text(engine: Engine, one: Request) -> str:
    [reply] = engine.describe([one])
    assert isinstance(reply, Reply)
    return reply.text


def test_a_recipe_names_the_fake_engine_and_its_options() -> None:
    engine = open_engine(DescribeOptions(engine="fake", options={"num_words": 3}), RunOptions())
    assert isinstance(engine, FakeEngine)
    assert engine.options.num_words == 3


def test_a_recipe_may_name_a_class_of_ones_own() -> None:
    engine = open_engine(DescribeOptions(engine=f"{__name__}:Mine"), RunOptions())
    assert engine.name == "mine"


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not an engine"):
        open_engine(DescribeOptions(engine="mien.types:Box"), RunOptions())


def test_an_unknown_engine_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        open_engine(DescribeOptions(engine="locla"), RunOptions())
    assert "'local'" in caught.value.hint


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_word"):
        open_engine(DescribeOptions(engine="fake", options={"num_word": 3}), RunOptions())


def test_the_text_follows_from_picture_and_question_only() -> None:
    engine = FakeEngine()
    same = text(engine, request())
    assert same == text(FakeEngine(), request(subject_id="other"))
    assert same != text(engine, request(color="blue"))
    assert same != text(engine, request(prompt="Who?"))


def test_a_refusal_stands_in_its_place_and_poison_takes_the_batch() -> None:
    engine = FakeEngine(FakeOptions(refuse=("b",), poison=("d",)))
    first, second, third = engine.describe([request(subject_id=name) for name in "abc"])
    assert isinstance(first, Reply)
    assert isinstance(second, EngineError)
    assert isinstance(third, Reply)
    with pytest.raises(EngineError, match="batch failed"):
        engine.describe([request(subject_id=name) for name in "ad"])
