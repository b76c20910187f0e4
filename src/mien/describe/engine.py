"""The one-method seam behind which every describing model stands, and an engine that needs no model.

Goes in: requests, each some pictures and a question. Comes out: replies in the same order.
Knows nothing about: subjects' files, keys, the store, retries.

An engine is a pure function from requests to replies. It returns the failure of one item in its place,
and raises its own failure; who asks decides what to try again (see `retry`).
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from PIL import Image
from pydantic import Field, JsonValue

from mien import registry
from mien.digests import digest
from mien.errors import ConfigError, EngineError
from mien.recipe import DescribeOptions, Options, RunOptions
from mien.types import Finish

__all__ = ["Engine", "FakeEngine", "FakeOptions", "Reply", "Request", "open_engine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question about the prepared pictures of one subject; the id is for messages only."""

    subject_id: str
    images: tuple[Image.Image, ...]
    prompt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the model wrote, and why it ended."""

    text: str
    finish: Finish = "stop"


class Engine(ABC):
    """Answers requests. Making one is cheap; a model is loaded when the first request comes."""

    @classmethod
    @abstractmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        """The engine that a recipe asks for; WeightsError if its model is not here."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for people: the kind of engine and its model."""

    @property
    @abstractmethod
    def signature(self) -> Mapping[str, JsonValue]:
        """All that changes the text besides the request: model content or revision, dtype, decoding."""

    @property
    def image_size(self) -> int | None:
        """Pixels of the square that the model sees; None if it takes pictures of any shape.

        Pictures are fitted to it before they come, because a model's own processor may crop a subject away.
        """
        return None

    @property
    def calls_at_once(self) -> int:
        """How many calls of `describe` may run side by side, each in a thread of its own."""
        return 1

    @abstractmethod
    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        """One reply for each request, in order, or in its place the error that concerns it alone.

        Raises EngineError where the engine itself fails, WeightsError where its model is not here.
        """

    def close(self) -> None:  # noqa: B027  most hold nothing that does not end with the process
        """Gives back at once what was taken for answering; nothing is asked any more."""


def open_engine(options: DescribeOptions, run: RunOptions) -> Engine:
    """The engine that `[describe]` names, by way of the registry; on a cluster if `[run]` names one."""
    if run.cluster is not None:
        from mien.describe.ray.engine import ClusterEngine

        return ClusterEngine.open(options, run)
    part = registry.resolve("engine", options.engine)
    if not (isinstance(part, type) and issubclass(part, Engine)):
        raise ConfigError(
            f"engine {options.engine!r} is not an engine",
            hint="name a subclass of mien.describe.engine.Engine",
        )
    return part.open(options, run)


# --- An engine without a model ---------------------------------------------------------------------

_WORDS: Final = (
    *("calm", "tense", "bright", "weary", "eager", "alone", "among", "friends", "smiling", "watching"),
    *("the", "person", "seems", "near", "far", "and", "while", "others", "look", "away"),
)


class FakeOptions(Options):
    """Which subjects the fake engine fails on, by id, and how long it takes.

    `refuse`: the failure is returned in the item's place. `poison`: the whole batch fails. `retryable`:
    what these failures say of themselves.
    """

    refuse: tuple[str, ...] = ()
    poison: tuple[str, ...] = ()
    retryable: bool = False
    delay: float = Field(default=0.0, ge=0)  # seconds for each call
    num_words: int = Field(default=20, gt=0)


class FakeEngine(Engine):
    """Writes words that follow from the pictures and the question, and nothing else: for tests and trials."""

    def __init__(self, options: FakeOptions | None = None) -> None:
        self.options = options or FakeOptions()

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        return cls(FakeOptions.parse(options.options, where="[describe.options] of engine 'fake'"))

    @property
    def name(self) -> str:
        return "fake"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"engine": "fake", "version": 1, "num_words": self.options.num_words}

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        time.sleep(self.options.delay)
        for request in requests:
            if request.subject_id in self.options.poison:
                raise self._error("the batch failed")
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Reply | EngineError:
        if request.subject_id in self.options.refuse:
            return self._error(f"subject {request.subject_id!r} was refused")
        pixels = [[*image.size, hashlib.sha256(image.tobytes()).hexdigest()] for image in request.images]
        seed = bytes.fromhex(digest({"prompt": request.prompt, "images": pixels}))
        chosen = (_WORDS[seed[i % len(seed)] % len(_WORDS)] for i in range(self.options.num_words))
        # The first bytes make two answers differ even where the words happen to agree.
        return Reply(text=f"{' '.join(chosen)} ({seed[:4].hex()}).")

    def _error(self, message: str) -> EngineError:
        return EngineError(
            message, hint="this engine was told to fail here", retryable=self.options.retryable
        )
