"""Engines for tests: one that records its calls, and one that replays a script."""

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import JsonValue

from mien.describe.engine import Engine, EngineWrapper, Reply, Request
from mien.errors import EngineError
from mien.recipe import DescribeOptions, RunOptions


class RecordingEngine(EngineWrapper):
    """Forwards everything and records every call."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner)
        self.calls: list[list[str]] = []  # the subject ids of each
        self.prompts: list[str] = []  # of each request
        self.num_images: list[int] = []  # of each request

    @property
    def subject_ids(self) -> list[str]:
        """The subject ids of all requests, in order."""
        return [subject_id for call in self.calls for subject_id in call]

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        self.calls.append([request.subject_id for request in requests])
        self.prompts += [request.prompt for request in requests]
        self.num_images += [len(request.images) for request in requests]
        return super().describe(requests)


class ScriptedEngine(Engine):
    """Returns or raises one step of its script per call."""

    def __init__(self, *script: Sequence[Reply | EngineError] | Exception) -> None:
        self.script = list(script)

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        raise NotImplementedError

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"engine": "scripted"}

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step
