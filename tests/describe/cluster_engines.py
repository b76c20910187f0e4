"""Engines for workers in processes of their own: they leave a trace of every call, and some end badly."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, JsonValue

from mien.describe.engine import Engine, FakeEngine, FakeOptions, Reply, Request
from mien.errors import EngineError
from mien.recipe import DescribeOptions, Options, RunOptions


class TracedOptions(Options):
    """`deadly`, `hanging`, `faulty`: subjects over which the process dies, hangs, or meets a defect.

    `once`: only the first time. `home`: only the process of this id has the signature that is asked for.
    """

    folder: Path
    delay: float = Field(default=0.0, ge=0)
    deadly: tuple[str, ...] = ()
    hanging: tuple[str, ...] = ()
    faulty: tuple[str, ...] = ()
    once: bool = False
    home: int | None = None


class TracedEngine(Engine):
    """The fake engine; `folder` holds a file for each process that answered, with the ids it was asked."""

    def __init__(self, options: TracedOptions) -> None:
        self.options = options
        self.fake = FakeEngine(FakeOptions(delay=options.delay))

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        return cls(TracedOptions.parse(options.options, where="test"))

    @property
    def name(self) -> str:
        return "traced"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        at_home = self.options.home in (None, os.getpid())
        return {**self.fake.signature, "weights": "ours" if at_home else "theirs"}

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        ids = [request.subject_id for request in requests]
        with (self.options.folder / f"{os.getpid()}.pid").open("a") as file:
            file.write(" ".join(ids) + "\n")
        for subject_id in ids:
            self._suffer(subject_id)
        return self.fake.describe(requests)

    def _suffer(self, subject_id: str) -> None:
        if self.options.once:
            mark = self.options.folder / f"{subject_id}.once"
            if mark.exists():
                return
            mark.touch()
        if subject_id in self.options.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if subject_id in self.options.hanging:
            time.sleep(600)
        if subject_id in self.options.faulty:
            raise ValueError(f"a defect at {subject_id}")
