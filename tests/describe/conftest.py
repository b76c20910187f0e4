"""Subjects in images of different content, the options of a request builder, and an empty store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.factories.hub_server import own_hub
from tests.factories.real_server import real_server
from tests.factories.subjects import MARKED_BOX

from mien.describe.prompts import get_prompt
from mien.describe.store.store import Store
from mien.labels import CAERS
from mien.media.images import Marking
from mien.types import Box, Subject

__all__ = ["own_hub", "real_server"]  # fixtures; one real server for all tests that need it


@pytest.fixture
def subjects(tmp_path: Path) -> Callable[..., list[Subject]]:
    """subjects(3): people "s0", "s1", "s2", each with a box in a separate photo."""

    def make(count: int, *, start: int = 0, box: Box | None = MARKED_BOX) -> list[Subject]:
        made = []
        for number in range(start, start + count):
            path = tmp_path / f"photo{number}.png"
            Image.new("RGB", (32, 24), (number % 256, number // 256, 200)).save(path)
            made.append(Subject.still(f"s{number}", path, box))
        return made

    return make


@pytest.fixture
def request_options() -> dict[str, Any]:
    """The options of a `RequestBuilder`, except the engine."""
    return {"prompt": get_prompt("paper"), "label_set": CAERS, "marking": Marking()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.sqlite") as opened:
        yield opened
