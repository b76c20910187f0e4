"""Example photos of the page: scenes of Playhouse, drawn when they are first asked for."""

from __future__ import annotations

import io
import random
from functools import cache
from typing import Final

from mien.playhouse.draw import draw_scene
from mien.playhouse.scene import Scene, sample_scene

__all__ = ["EXAMPLES", "draw_example", "title_of"]

# One to three people; tears at a funeral, and tears at an award.
_SEEDS: Final = (115, 196, 7, 67, 367, 453)
_COUNTS: Final = {1: "one person", 2: "two people", 3: "three people"}


def title_of(scene: Scene) -> str:
    """What a scene shows, without saying how anyone appears to feel."""
    place = scene.setting.replace("_", " ")
    return f"Drawn scene with {_COUNTS[len(scene.people)]}: {scene.occasion}, {place}"


EXAMPLES: Final = tuple(sample_scene(random.Random(f"page example {seed}")) for seed in _SEEDS)


@cache
def draw_example(number: int) -> bytes:
    """The PNG file of an example, by its number from 0."""
    buffer = io.BytesIO()
    draw_scene(EXAMPLES[number]).image.save(buffer, format="PNG")
    return buffer.getvalue()
