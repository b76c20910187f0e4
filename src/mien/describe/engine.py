"""The contract of every model that describes: a pure function from requests to replies.

An engine returns the failure of one item in that item's place, and raises a failure of the engine itself. The
caller decides what to retry (see `retry`). An engine must not know files, keys or stores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from PIL import Image
from pydantic import JsonValue

from mien.errors import ConfigError, EngineError
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Box, Finish

__all__ = [
    "FIRST_TOKENS",
    "MAX_BATCH_SIZE",
    "NUM_ALTERNATIVES",
    "AbandonedError",
    "Engine",
    "EngineWrapper",
    "Reply",
    "Request",
    "TokenUsage",
]


MAX_BATCH_SIZE: Final = 64  # that an engine may ask for
FIRST_TOKENS: Final = 4  # of an answer whose first word counts: a blank may come before it
NUM_ALTERNATIVES: Final = 20  # first words with their log-probabilities; vLLM and most servers give no more


class AbandonedError(EngineError):
    """A request was given up before it had a reply, through no fault of its item; it is not a failure.

    Attributes:
        cause: why the engine cannot go on; None if it was asked to stop.
    """

    def __init__(self, message: str, *, cause: EngineError | None = None) -> None:
        super().__init__(message, hint="run again" if cause is None else cause.hint)
        self.cause = cause

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A prompt about the prepared images of one subject.

    Attributes:
        subject_id: For messages only.
        images: As the model sees them.
        prompt: What to ask.
        boxes: The subject's box in each image, in pixels of the image, or None where there is none. Only for
            engines that take boxes; empty for others.
    """

    subject_id: str
    images: tuple[Image.Image, ...]
    prompt: str
    boxes: tuple[Box | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """What a reply cost: the tokens that the model read, and those that it wrote, reasoning included."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The text that a model wrote, and why it ended.

    Attributes:
        text: The text.
        finish: Whether it ended by itself, or at the length limit.
        first_words: The likeliest first words with their log-probabilities, if the engine was asked for them.
        usage: The tokens it took; None if the engine does not count them.
    """

    text: str
    finish: Finish = "stop"
    first_words: tuple[tuple[str, float], ...] = ()
    usage: TokenUsage | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the text has no visible character; a byte-order mark, for example, is invisible."""
        return not any(character.isprintable() and not character.isspace() for character in self.text)


class Engine(ABC):
    """Answers requests. Creating an engine is cheap; it loads its model on the first request."""

    @classmethod
    @abstractmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        """Creates the engine that a recipe asks for.

        Raises:
            ConfigError: an option is unknown or invalid.
            WeightsError: the model is not available.
        """

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for display: the kind of engine and its model."""

    @property
    @abstractmethod
    def signature(self) -> Mapping[str, JsonValue]:
        """Everything besides the request that changes the text: model content or revision, dtype, decoding.

        It is hashed into the keys of descriptions, so it holds neither paths nor devices.
        """

    @property
    def origin(self) -> Mapping[str, JsonValue] | None:
        """Name, commit and license of a model from the Hugging Face Hub, for the record; None for others."""
        return None

    @property
    def image_size(self) -> int | None:
        """Side in pixels of the square that the model sees; None if it takes images of any shape.

        Images are fitted to it before they reach the engine, because a model's own processor may crop the
        subject away.
        """
        return None

    @property
    def takes_boxes(self) -> bool:
        """Whether requests state the subject's boxes; the images then have no red line.

        Such an engine takes images of any shape.
        """
        return False

    @property
    def calls_at_once(self) -> int:
        """How many calls of `describe` may run at the same time, each in its own thread."""
        return 1

    def best_batch_size(self, request: Request) -> int | None:
        """How many requests like this one the next call should have, to be fast; None if any number will do.

        It may change from call to call, and is at most `MAX_BATCH_SIZE`.
        """
        return None

    @abstractmethod
    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        """Returns one reply per request, in order, or in its place the error that concerns it alone.

        Raises:
            EngineError: the engine itself failed.
            WeightsError: its model is not available.
        """

    def stop(self) -> None:  # noqa: B027  most engines have nothing to stop
        """Ends pauses and requests that wait; each gets an AbandonedError. May be called from any thread.

        Requests that a working server is answering are finished.
        """

    def close(self) -> None:  # noqa: B027  most engines hold nothing that outlives the process
        """Releases at once what the engine holds. Do not call `describe` afterwards."""


class EngineWrapper(Engine):
    """Base of engines that add behavior to another one: forwards everything to `inner`.

    A subclass overrides only what it changes.
    """

    def __init__(self, inner: Engine) -> None:
        self.inner = inner

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        """A wrapper has nothing to wrap when a recipe names it, so this raises ConfigError."""
        raise ConfigError(
            f"engine {cls.__name__} wraps another engine and cannot be opened from a recipe",
            hint="set describe.engine to the engine inside",
        )

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return self.inner.signature

    @property
    def origin(self) -> Mapping[str, JsonValue] | None:
        return self.inner.origin

    @property
    def image_size(self) -> int | None:
        return self.inner.image_size

    @property
    def takes_boxes(self) -> bool:
        return self.inner.takes_boxes

    @property
    def calls_at_once(self) -> int:
        return self.inner.calls_at_once

    def best_batch_size(self, request: Request) -> int | None:
        return self.inner.best_batch_size(request)

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        return self.inner.describe(requests)

    def stop(self) -> None:
        self.inner.stop()

    def close(self) -> None:
        self.inner.close()
