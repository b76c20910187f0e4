"""Endless rehearsals: scenes as a tiny VLM sees them, with what is visible on every patch.

In: a seed. Out: batches of pixels, per-patch labels of what is seen (never of what is felt), and the scenes
themselves.
"""

import random
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from PIL import Image, ImageDraw

from mien.media.images import Marking, fit_to_square, mark_subject
from mien.playhouse.draw import SIZE, draw_with_person_map
from mien.playhouse.figure import Figure
from mien.playhouse.scene import COLOURS, EXPRESSIONS, GARMENTS, PLACES, POSES, ROLES, Scene, sample_scene

IMAGE_SIZE, PATCH = 144, 12
GRID = IMAGE_SIZE // PATCH
MEAN, STD = 0.5, 0.25
# Where the middle of every patch lies on the canvas, [patch, (x, y)].
_CENTRES = np.array(
    [
        ((column + 0.5) * SIZE / GRID, (row + 0.5) * SIZE / GRID)
        for row in range(GRID)
        for column in range(GRID)
    ]
)
BOXED = Marking(style="red_box")

# What a patch of a person can be asked, and how many answers there are.
PERSON_QUESTIONS = {
    "expression": len(EXPRESSIONS),
    "strong": 2,
    "pose": len(POSES),
    "garment": len(GARMENTS),
    "colour": len(COLOURS),
    "role": len(ROLES),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """`pixels` [b, 3, H, W]; `owner` [b, patch]: 0 nobody, 1 another person, 2 the boxed one, -1 a person
    with no box drawn; `place` [b]; `answers[question]` [b, patch], -1 where no person is; `heads` and
    `arms` [b, patch]: where
    a face, and where an arm, can be seen."""

    pixels: torch.Tensor
    owner: torch.Tensor
    place: torch.Tensor
    answers: dict[str, torch.Tensor]
    heads: torch.Tensor
    arms: torch.Tensor
    scenes: tuple[Scene, ...]
    boxed: tuple[bool, ...]


def to_pixels(image: Image.Image) -> np.ndarray:
    """An RGB picture as float32 [3, IMAGE_SIZE, IMAGE_SIZE], normalised as the tower's image processor does
    it."""
    array = np.asarray(fit_to_square(image, IMAGE_SIZE, "letterbox"), dtype=np.float32) / 255
    return ((array - MEAN) / STD).transpose(2, 0, 1)


def _questions(scene: Scene) -> np.ndarray:
    """[person + 1, question]: row 0 is nobody's."""
    rows = [[-1] * len(PERSON_QUESTIONS)]
    rows += [
        [
            EXPRESSIONS.index(person.expression),
            # A blank or drowsy face looks the same at either strength: nothing to see, nothing to ask.
            int(person.strong) if person.expression not in ("blank", "drowsy") else -1,
            POSES.index(person.pose),
            GARMENTS.index(person.garment),
            COLOURS.index(person.colour),
            ROLES.index(person.role),
        ]
        for person in scene.people
    ]
    return np.array(rows)


def _owner_of_patches(layer: Image.Image) -> np.ndarray:
    """[patch]: the person with the most pixels on a patch, 0 where fewer than a fifth of them are
    anybody's."""
    side = SIZE // GRID
    cells = np.asarray(layer).reshape(GRID, side, GRID, side).transpose(0, 2, 1, 3).reshape(GRID * GRID, -1)
    counts = np.stack([(cells == person).sum(1) for person in (1, 2, 3)], axis=1)
    return np.where(counts.max(1) * 5 > cells.shape[1], counts.argmax(1) + 1, 0)


def _limbs(scene: Scene, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[patch] twice: patches on the head, and on the arms, of the person who owns them."""
    heads, arms = np.zeros(len(owner), bool), np.zeros(len(owner), bool)
    canvas = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    for index, person in enumerate(scene.people):
        figure, mine = Figure(canvas, person, SIZE), owner == index + 1
        heads |= mine & (np.hypot(*(_CENTRES - figure.head).T) < figure.radius)
        for path in figure.joints():
            for start, end in pairwise(np.array(path)):
                along = np.clip((_CENTRES - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
                near = np.hypot(*(_CENTRES - start - along[:, None] * (end - start)).T) < 0.8 * SIZE / GRID
                arms |= mine & near
    return heads, arms


def rehearse(rng: random.Random, size: int, *, single: float = 0.0, boxed: float = 0.85) -> Batch:
    """A batch of `size` scenes. `single`: the share of crowded scenes that is sent away; `boxed`: of boxes
    drawn."""
    scenes: list[Scene] = []
    while len(scenes) < size:
        scene = sample_scene(rng, even=rng.random() < 0.7)
        if len(scene.people) == 1 or rng.random() >= single:
            scenes.append(scene)
    has_box = [rng.random() < boxed for _ in scenes]
    pixels, owners, answers, heads, arms = [], [], [], [], []
    for scene, box in zip(scenes, has_box, strict=True):
        staging, layer = draw_with_person_map(scene)
        image = mark_subject(staging.image, staging.boxes[scene.subject], BOXED) if box else staging.image
        owner = _owner_of_patches(layer)
        pixels.append(to_pixels(image))
        answers.append(_questions(scene)[owner])
        for kept, found in zip((heads, arms), _limbs(scene, owner), strict=True):
            kept.append(found)
        seen = np.where(owner == scene.subject + 1, 2, 1) if box else np.full_like(owner, -1)
        owners.append(np.where(owner == 0, 0, seen))
    stacked = torch.from_numpy(np.stack(answers))
    return Batch(
        pixels=torch.from_numpy(np.stack(pixels)),
        owner=torch.from_numpy(np.stack(owners)),
        place=torch.tensor([PLACES.index(scene.place) for scene in scenes]),
        answers={name: stacked[..., index] for index, name in enumerate(PERSON_QUESTIONS)},
        heads=torch.from_numpy(np.stack(heads)),
        arms=torch.from_numpy(np.stack(arms)),
        scenes=tuple(scenes),
        boxed=tuple(has_box),
    )
