"""Noise with boxes, and the embedded model, which is loaded once."""

import random

import pytest
from PIL import Image

from mien.describe.local.engine import LocalEngine
from mien.types import Box, Subject


@pytest.fixture(scope="session")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """Four people in three images; the last is the whole image."""
    folder = tmp_path_factory.mktemp("images")
    paths = []
    for number in range(3):
        path = folder / f"{number}.png"
        Image.frombytes("RGB", (64, 48), random.Random(number).randbytes(64 * 48 * 3)).save(path)
        paths.append(path)
    left, right = Box(left=4, top=4, right=24, bottom=40), Box(left=30, top=8, right=60, bottom=44)
    return [
        Subject.still("left", paths[0], left),
        Subject.still("right", paths[0], right),
        Subject.still("other", paths[1], left),
        Subject.still("whole", paths[2]),
    ]


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """People who cannot be shown: no such file, no image, a box outside."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "text.png").write_text("no image")
    Image.new("RGB", (20, 20)).save(folder / "small.png")
    outside = Box(left=100, top=100, right=120, bottom=130)
    return [
        Subject.still("missing", folder / "missing.png"),
        Subject.still("text", folder / "text.png"),
        Subject.still("outside", folder / "small.png", outside),
    ]


@pytest.fixture(scope="session")
def embedded() -> LocalEngine:
    return LocalEngine("playhouse", max_new_tokens=60)
