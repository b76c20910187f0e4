"""Pictures of different content, subjects in them, and an engine that keeps count."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from PIL import Image
from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.prompts import prompt
from mien.describe.store.store import Store
from mien.errors import EngineError
from mien.labels import CAERS
from mien.media.images import Marking
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Box, Subject

BOX = Box(left=4, top=4, right=20, bottom=20)


class Recording(Engine):
    """Passes everything on, and keeps the ids of every call."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls: list[list[str]] = []
        self.prompts: list[str] = []
        self.pictures: list[int] = []  # of each request

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        raise NotImplementedError

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return self.engine.signature

    @property
    def image_size(self) -> int | None:
        return self.engine.image_size

    @property
    def asked(self) -> list[str]:
        """The ids of all requests, in order."""
        return [subject_id for call in self.calls for subject_id in call]

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        self.calls.append([request.subject_id for request in requests])
        self.prompts += [request.prompt for request in requests]
        self.pictures += [len(request.images) for request in requests]
        return self.engine.describe(requests)


@pytest.fixture
def subjects(tmp_path: Path) -> Callable[..., list[Subject]]:
    """subjects(3): people "s0", "s1", "s2", each in a photo of its own, each with a box."""

    def make(count: int, *, start: int = 0, box: Box | None = BOX) -> list[Subject]:
        made = []
        for number in range(start, start + count):
            path = tmp_path / f"photo{number}.png"
            Image.new("RGB", (32, 24), (number % 256, number // 256, 200)).save(path)
            made.append(Subject.still(f"s{number}", path, box))
        return made

    return make


@pytest.fixture
def how() -> dict[str, Any]:
    """How subjects are asked about, as `describe` and `look_up` take it."""
    return {"prompt": prompt("paper"), "label_set": CAERS, "marking": Marking()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.sqlite") as opened:
        yield opened
