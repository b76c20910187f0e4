"""An engine for workers in separate processes that logs every call and can be made to die or hang."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, JsonValue

from mien.describe.engine import EngineWrapper, Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.errors import EngineError
from mien.recipe import DescribeOptions, Options, RunOptions


class TracedOptions(Options):
    """Options of the traced engine.

    Attributes:
        folder: where each process writes the ids it was called with.
        delay: seconds per call.
        deadly: subjects that kill the process.
        hanging: subjects on which the process hangs.
        faulty: subjects on which the engine has a bug.
        once: whether these happen only the first time.
        home: id of the only process whose engine has the expected signature.
    """

    folder: Path
    delay: float = Field(default=0.0, ge=0)
    deadly: tuple[str, ...] = ()
    hanging: tuple[str, ...] = ()
    faulty: tuple[str, ...] = ()
    once: bool = False
    home: int | None = None


class TracedEngine(EngineWrapper):
    """The fake engine; `folder` holds one file per process that answered, with the subject ids."""

    def __init__(self, options: TracedOptions) -> None:
        super().__init__(FakeEngine(FakeOptions(delay=options.delay)))
        self.options = options

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        return cls(TracedOptions.parse(options.options, where="test"))

    @property
    def name(self) -> str:
        return "traced"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        is_home = self.options.home in (None, os.getpid())
        return {**super().signature, "weights": "ours" if is_home else "theirs"}

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        ids = [request.subject_id for request in requests]
        with (self.options.folder / f"{os.getpid()}.pid").open("a") as file:
            file.write(" ".join(ids) + "\n")
        for subject_id in ids:
            self._fail_on(subject_id)
        return super().describe(requests)

    def _fail_on(self, subject_id: str) -> None:
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
            raise ValueError(f"a bug at {subject_id}")
