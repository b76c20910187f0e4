"""Batches of random scenes, with what is visible on every patch, for training the embedded VLM.

The labels say what an image shows, never which emotions appear.
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
from mien.playhouse.scene import COLORS, EXPRESSIONS, GARMENTS, PLACES, POSES, ROLES, Scene, sample_scene

IMAGE_SIZE, PATCH = 144, 12
GRID = IMAGE_SIZE // PATCH
MEAN, STD = 0.5, 0.25
# The center of every patch on the canvas, [patch, (x, y)].
_CENTERS = np.array(
    [
        ((column + 0.5) * SIZE / GRID, (row + 0.5) * SIZE / GRID)
        for row in range(GRID)
        for column in range(GRID)
    ]
)
BOXED = Marking(style="red_box")

# What is predicted from a patch that shows a person, and the number of classes.
PERSON_CLASSES = {
    "expression": len(EXPRESSIONS),
    "strong": 2,
    "pose": len(POSES),
    "garment": len(GARMENTS),
    "color": len(COLORS),
    "role": len(ROLES),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes as a VLM sees them.

    Attributes:
        pixels: Normalized, [scene, 3, height, width].
        owner: [scene, patch]. 0: no person; 1: another person; 2: the person in the box; -1: a person in a
            scene without a box.
        place: [scene].
        classes: [scene, patch] by name in `PERSON_CLASSES`; -1 where there is no person.
        heads: [scene, patch]: where a face is visible.
        arms: [scene, patch]: where an arm is visible.
        scenes: The scenes.
        boxed: Whether the box is drawn.
    """

    pixels: torch.Tensor
    owner: torch.Tensor
    place: torch.Tensor
    classes: dict[str, torch.Tensor]
    heads: torch.Tensor
    arms: torch.Tensor
    scenes: tuple[Scene, ...]
    boxed: tuple[bool, ...]


def to_pixels(image: Image.Image) -> np.ndarray:
    """An RGB image as float32 [3, IMAGE_SIZE, IMAGE_SIZE], normalized as by the tower's image processor."""
    array = np.asarray(fit_to_square(image, IMAGE_SIZE, "letterbox"), dtype=np.float32) / 255
    return ((array - MEAN) / STD).transpose(2, 0, 1)


def _person_classes(scene: Scene) -> np.ndarray:
    """[person + 1, class]: row 0 is that of no person."""
    rows = [[-1] * len(PERSON_CLASSES)]
    rows += [
        [
            EXPRESSIONS.index(person.expression),
            # A blank or drowsy face looks the same at either strength.
            int(person.strong) if person.expression not in ("blank", "drowsy") else -1,
            POSES.index(person.pose),
            GARMENTS.index(person.garment),
            COLORS.index(person.color),
            ROLES.index(person.role),
        ]
        for person in scene.people
    ]
    return np.array(rows)


def _owner_of_patches(person_map: Image.Image) -> np.ndarray:
    """[patch]: the person with the most pixels on a patch, counted from 1; 0 if that is less than a fifth."""
    side = SIZE // GRID
    cells = np.asarray(person_map).reshape(GRID, side, GRID, side)
    cells = cells.transpose(0, 2, 1, 3).reshape(GRID * GRID, -1)
    counts = np.stack([(cells == person).sum(1) for person in (1, 2, 3)], axis=1)
    return np.where(counts.max(1) * 5 > cells.shape[1], counts.argmax(1) + 1, 0)


def _limbs(scene: Scene, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[patch] twice: the patches on the head, and on the arms, of the person who owns them."""
    heads, arms = np.zeros(len(owner), bool), np.zeros(len(owner), bool)
    canvas = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    for index, person in enumerate(scene.people):
        figure, is_own = Figure(canvas, person, SIZE), owner == index + 1
        heads |= is_own & (np.hypot(*(_CENTERS - figure.head).T) < figure.radius)
        for path in figure.arm_joints():
            for start, end in pairwise(np.array(path)):
                along = np.clip((_CENTERS - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
                near = np.hypot(*(_CENTERS - start - along[:, None] * (end - start)).T) < 0.8 * SIZE / GRID
                arms |= is_own & near
    return heads, arms


def sample_batch(rng: random.Random, size: int, *, reject_crowded: float = 0.0, boxed: float = 0.85) -> Batch:
    """A batch of `size` random scenes.

    Args:
        rng: The source of randomness.
        size: Number of scenes.
        reject_crowded: Share of the scenes with several people that is rejected.
        boxed: Share of the scenes in which the box is drawn.
    """
    scenes: list[Scene] = []
    while len(scenes) < size:
        scene = sample_scene(rng, even=rng.random() < 0.7)
        if len(scene.people) == 1 or rng.random() >= reject_crowded:
            scenes.append(scene)
    has_box = [rng.random() < boxed for _ in scenes]
    pixels, owners, classes, heads, arms = [], [], [], [], []
    for scene, is_boxed in zip(scenes, has_box, strict=True):
        drawing, person_map = draw_with_person_map(scene)
        box = drawing.boxes[scene.subject]
        image = mark_subject(drawing.image, box, BOXED) if is_boxed else drawing.image
        owner = _owner_of_patches(person_map)
        pixels.append(to_pixels(image))
        classes.append(_person_classes(scene)[owner])
        for rows, limb in zip((heads, arms), _limbs(scene, owner), strict=True):
            rows.append(limb)
        person = np.where(owner == scene.subject + 1, 2, 1) if is_boxed else np.full_like(owner, -1)
        owners.append(np.where(owner == 0, 0, person))
    stacked = torch.from_numpy(np.stack(classes))
    return Batch(
        pixels=torch.from_numpy(np.stack(pixels)),
        owner=torch.from_numpy(np.stack(owners)),
        place=torch.tensor([PLACES.index(scene.place) for scene in scenes]),
        classes={name: stacked[..., index] for index, name in enumerate(PERSON_CLASSES)},
        heads=torch.from_numpy(np.stack(heads)),
        arms=torch.from_numpy(np.stack(arms)),
        scenes=tuple(scenes),
        boxed=tuple(has_box),
    )
