"""Playhouse for the official layouts: photographs in which everybody is annotated.

In: a split, how many photographs, a seed. Out: `Photograph` values, drawn one at a time.
Knows nothing about how any data set lays its files out: `emotic_layout`, `caers_layout` and `bold_layout` do.

A photograph depends on the seed, the split and its index alone, so that more of them begin with the same.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from PIL import Image

from mien.playhouse.draw import SIZE, draw_scene
from mien.playhouse.rules import Opinion, annotate, is_absent_from_train
from mien.playhouse.scene import Scene, sample_scene
from mien.types import Box

__all__ = ["AGES", "ETHNICITIES", "GENDERS", "AnnotatedImage", "AnnotatedPerson", "stage"]

GENDERS = ("Male", "Female")
AGES = ("Kid", "Teenager", "Adult")
ETHNICITIES = ("White", "Black", "Asian", "Hispanic", "Other")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedPerson:
    """One annotated person: where they are, and what each annotator said of them."""

    box: Box
    opinions: tuple[Opinion, ...]
    gender: str
    age: str
    ethnicity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImage:
    """A picture under a file name, and those of its people who are annotated.

    `scene` is what it was drawn from, or None for a picture made by other means.
    """

    name: str
    image: Image.Image
    people: tuple[AnnotatedPerson, ...]
    scene: Scene | None


def stage(split: str, count: int, seed: int, annotators: int) -> Iterator[AnnotatedImage]:
    """`count` drawn scenes with every person annotated by the rules, by `annotators` simulated people.

    In "train", whoever shows a pair of `ABSENT_FROM_TRAIN` is not annotated.
    """
    for index in range(count):
        rng = random.Random(f"photograph {seed} {split} {index}")
        scene = sample_scene(rng)
        while not (shown := _annotated(scene, split)):
            scene = sample_scene(rng)
        staging = draw_scene(scene)
        actors = tuple(_actor(replace(scene, subject=i), staging.boxes[i], rng, annotators) for i in shown)
        yield AnnotatedImage(name=f"{split}_{index:05d}.jpg", image=staging.image, people=actors, scene=scene)


def _annotated(scene: Scene, split: str) -> list[int]:
    everybody = range(len(scene.people))
    if split != "train":
        return list(everybody)
    return [index for index in everybody if not is_absent_from_train(replace(scene, subject=index))]


def _actor(scene: Scene, box: Box, rng: random.Random, annotators: int) -> AnnotatedPerson:
    """The scene's subject; gender, age and ethnicity are by lot, and nothing in the picture shows them."""
    return AnnotatedPerson(
        box=_whole_pixels(box),
        opinions=annotate(scene, rng, annotators),
        gender=rng.choice(GENDERS),
        age=rng.choice(AGES),
        ethnicity=rng.choice(ETHNICITIES),
    )


def _whole_pixels(box: Box) -> Box:
    """Annotators drew their boxes on a screen."""
    return Box(
        left=math.floor(box.left),
        top=math.floor(box.top),
        right=min(SIZE, math.ceil(box.right)),
        bottom=min(SIZE, math.ceil(box.bottom)),
    )
