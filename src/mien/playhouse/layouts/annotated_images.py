"""Drawn images in which every person is annotated, for the layouts of the official datasets.

An image depends on the seed, the split and its index alone: a larger number of images begins with the same
ones.
"""

import io
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.playhouse.draw import SIZE, draw_scene
from mien.playhouse.rules import SimulatedAnnotation, annotate
from mien.playhouse.scene import Scene, sample_scene
from mien.playhouse.situations import is_absent_from_train
from mien.types import Box

__all__ = [
    "AGES",
    "ETHNICITIES",
    "GENDERS",
    "AnnotatedImage",
    "AnnotatedPerson",
    "sample_images",
    "save_array",
]

GENDERS = ("Male", "Female")
AGES = ("Kid", "Teenager", "Adult")
ETHNICITIES = ("White", "Black", "Asian", "Hispanic", "Other")
_AGES = {"child": "Kid", "adult": "Adult", "old": "Adult"}  # no one is drawn as a teenager


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedPerson:
    """A person in an image: where they are, and what each annotator says of them."""

    box: Box
    annotations: tuple[SimulatedAnnotation, ...]
    gender: str
    age: str
    ethnicity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImage:
    """An image with its annotated people.

    Attributes:
        name: The file name.
        image: RGB.
        people: Those who are annotated.
        scene: What was drawn; None for an image made by other means.
    """

    name: str
    image: Image.Image
    people: tuple[AnnotatedPerson, ...]
    scene: Scene | None


def sample_images(split: str, count: int, seed: int, annotators: int) -> Iterator[AnnotatedImage]:
    """Draws scenes, and annotates every person by the rules.

    In "train", people in situations that are absent from the training split are not annotated.

    Args:
        split: The name of the split.
        count: Number of images.
        seed: The source of randomness.
        annotators: Annotators per person.
    """
    for index in range(count):
        rng = random.Random(f"photograph {seed} {split} {index}")
        scene = sample_scene(rng)
        while not (indices := _annotated(scene, split)):
            scene = sample_scene(rng)
        drawing = draw_scene(scene)
        people = tuple(
            _annotated_person(replace(scene, subject=i), drawing.boxes[i], rng, annotators) for i in indices
        )
        yield AnnotatedImage(name=f"{split}_{index:05d}.jpg", image=drawing.image, people=people, scene=scene)


def _annotated(scene: Scene, split: str) -> list[int]:
    """Indices of the people who are annotated."""
    indices = range(len(scene.people))
    if split != "train":
        return list(indices)
    return [index for index in indices if not is_absent_from_train(replace(scene, subject=index).situation)]


def _annotated_person(scene: Scene, box: Box, rng: random.Random, annotators: int) -> AnnotatedPerson:
    """The scene's subject. Gender and ethnicity are random; nothing in the image shows them."""
    return AnnotatedPerson(
        box=_whole_pixels(box),
        annotations=annotate(scene, rng, annotators),
        gender=rng.choice(GENDERS),
        age=_AGES[scene.person.age],
        ethnicity=rng.choice(ETHNICITIES),
    )


def _whole_pixels(box: Box) -> Box:
    """A box as annotators draw it on a screen."""
    return Box(
        left=math.floor(box.left),
        top=math.floor(box.top),
        right=min(SIZE, math.ceil(box.right)),
        bottom=min(SIZE, math.ceil(box.bottom)),
    )


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Writes an array as `np.save`, whose own error on a full disk has no code."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getvalue())
