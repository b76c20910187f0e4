"""A recipe opens the engine that it names."""

from collections.abc import Mapping, Sequence
from typing import Self

import pytest
from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.open import open_engine
from mien.describe.ray.engine import ClusterEngine
from mien.errors import ConfigError, EngineError, UnknownNameError
from mien.recipe import DescribeOptions, RunOptions


class CustomEngine(Engine):
    """An engine outside of the registry."""

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        return cls()

    @property
    def name(self) -> str:
        return "custom"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"engine": "custom"}

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        return [Reply(text="fine") for _ in requests]


def test_a_recipe_names_the_fake_engine_and_its_options() -> None:
    engine = open_engine(DescribeOptions(engine="fake", options={"num_words": 3}), RunOptions())
    assert isinstance(engine, FakeEngine)
    assert engine.options.num_words == 3


def test_a_recipe_may_name_any_engine_class() -> None:
    engine = open_engine(DescribeOptions(engine=f"{__name__}:CustomEngine"), RunOptions())
    assert engine.name == "custom"


def test_a_class_that_is_not_an_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not an engine") as caught:
        open_engine(DescribeOptions(engine="mien.types:Box"), RunOptions())
    assert "mien.describe.engine.Engine" in caught.value.hint


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        open_engine(DescribeOptions(engine="locla"), RunOptions())
    assert "'local'" in caught.value.hint


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_word"):
        open_engine(DescribeOptions(engine="fake", options={"num_word": 3}), RunOptions())


def test_a_wrapper_cannot_be_opened_from_a_recipe() -> None:
    with pytest.raises(ConfigError, match="RecordingEngine wraps another engine") as caught:
        open_engine(DescribeOptions(engine="tests.factories.engines:RecordingEngine"), RunOptions())
    assert "describe.engine" in caught.value.hint


def test_a_cluster_wraps_the_engine_that_the_recipe_names() -> None:
    options = DescribeOptions(engine="fake", options={"num_words": 3})
    engine = open_engine(options, RunOptions(cluster="ray", actors=3))
    assert isinstance(engine, ClusterEngine)
    assert isinstance(engine.inner, FakeEngine)
    assert engine.signature == FakeEngine(FakeOptions(num_words=3)).signature
    assert engine.calls_at_once == 3 * 2
