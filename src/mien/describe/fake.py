"""An engine without a model, for tests and trials: its text follows from the images and the prompt alone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Final, Self

from PIL import Image
from pydantic import Field, JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.digests import digest
from mien.errors import EngineError
from mien.recipe import DescribeOptions, Options, RunOptions

__all__ = ["FakeEngine", "FakeOptions"]

_BAND: Final = 1024  # rows of pixels
_VOCABULARY: Final = (
    *("calm", "tense", "bright", "weary", "eager", "alone", "among", "friends", "smiling", "watching"),
    *("the", "person", "seems", "near", "far", "and", "while", "others", "look", "away"),
)


class FakeOptions(Options):
    """[describe.options] of engine "fake": the subjects it fails on, by id, and how long it takes.

    Attributes:
        refuse: subjects whose failure is returned in their place.
        poison: subjects that fail the whole batch.
        retryable: whether these failures may pass when retried.
        delay: seconds per call.
        num_words: length of each text.
    """

    refuse: tuple[str, ...] = ()
    poison: tuple[str, ...] = ()
    retryable: bool = False
    delay: float = Field(default=0.0, ge=0)
    num_words: int = Field(default=20, gt=0)


class FakeEngine(Engine):
    """Writes words chosen by a hash of the images and the prompt."""

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
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Reply | EngineError:
        if request.subject_id in self.options.refuse:
            return self._error(f"subject {request.subject_id!r} was refused")
        pixels = [[*image.size, _digest(image)] for image in request.images]
        seed = bytes.fromhex(digest({"prompt": request.prompt, "images": pixels}))
        words = (_VOCABULARY[seed[i % len(seed)] % len(_VOCABULARY)] for i in range(self.options.num_words))
        # The first bytes make two texts differ even if their words happen to agree.
        return Reply(text=f"{' '.join(words)} ({seed[:4].hex()}).")

    def _error(self, message: str) -> EngineError:
        return EngineError(
            message,
            hint="remove the subject from refuse or poison in [describe.options]",
            retryable=self.options.retryable,
        )


def _digest(image: Image.Image) -> str:
    """SHA-256 of the pixels, band by band, because a copy of a large image takes much memory."""
    sha = hashlib.sha256()
    for top in range(0, image.height, _BAND):
        sha.update(image.crop((0, top, image.width, min(image.height, top + _BAND))).tobytes())
    return sha.hexdigest()
