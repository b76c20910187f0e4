"""Subjects in images of different content, a prompt, and an empty store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mien.describe.prompts import prompt
from mien.describe.store.store import Store
from mien.labels import CAERS
from mien.media.images import Marking
from mien.types import Box, Subject

BOX = Box(left=4, top=4, right=20, bottom=20)


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
