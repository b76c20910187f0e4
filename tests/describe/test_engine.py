"""The base of wrappers forwards every member of the inner engine."""

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import JsonValue

from mien.describe.engine import Engine, EngineWrapper, Reply, Request
from mien.errors import EngineError
from mien.recipe import DescribeOptions, RunOptions


class UnusualEngine(Engine):
    """Differs from the defaults of `Engine` in every member."""

    def __init__(self) -> None:
        self.is_stopped = self.is_closed = False

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        return cls()

    @property
    def name(self) -> str:
        return "unusual"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"engine": "unusual"}

    @property
    def origin(self) -> Mapping[str, JsonValue] | None:
        return {"model": "some/model"}

    @property
    def image_size(self) -> int | None:
        return 123

    @property
    def takes_boxes(self) -> bool:
        return True

    @property
    def calls_at_once(self) -> int:
        return 7

    def best_batch_size(self, request: Request) -> int | None:
        return 5

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        return [Reply(text=request.subject_id) for request in requests]

    def stop(self) -> None:
        self.is_stopped = True

    def close(self) -> None:
        self.is_closed = True


class PlainWrapper(EngineWrapper):
    """Changes nothing."""


def test_a_wrapper_forwards_everything() -> None:
    inner = UnusualEngine()
    wrapper = PlainWrapper(inner)
    requests = [Request(subject_id=name, images=(), prompt="How?") for name in "ab"]
    assert (wrapper.name, wrapper.signature) == ("unusual", {"engine": "unusual"})
    assert (wrapper.origin, wrapper.image_size) == ({"model": "some/model"}, 123)
    assert wrapper.takes_boxes
    assert (wrapper.calls_at_once, wrapper.best_batch_size(requests[0])) == (7, 5)
    assert wrapper.describe(requests) == [Reply(text="a"), Reply(text="b")]
    wrapper.stop()
    wrapper.close()
    assert inner.is_stopped
    assert inner.is_closed


def test_the_base_of_wrappers_overrides_every_public_member() -> None:
    """A member that is added to `Engine` is forwarded too."""
    public = {name for name in vars(Engine) if not name.startswith("_")}
    assert public <= vars(EngineWrapper).keys()
    assert public <= vars(UnusualEngine).keys()
