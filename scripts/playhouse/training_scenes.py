"""Draws scenes for training the embedded VLM, with what is visible on every patch, into shards on disk.

The labels say what an image shows, never which emotions appear. Scenes follow from the seed and their index,
so the shards hold only arrays. A shard that exists is not drawn again.

    python scripts/playhouse/training_scenes.py --out runs/playhouse/scenes --scenes 65536
"""

import argparse
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from mien.media.images import Marking, fit_to_square, mark_subject
from mien.playhouse.draw import SIZE, draw_with_person_map
from mien.playhouse.figure import Figure
from mien.playhouse.scene import (
    AGES,
    CLOSENESS,
    COLORS,
    EXPRESSIONS,
    GARMENTS,
    GAZES,
    LIGHTS,
    POSES,
    ROLES,
    TILTS,
    TURNS,
    WEATHERS,
    Scene,
    sample_scene,
)
from mien.playhouse.situations import ITEMS, OCCASIONS, SETTINGS

IMAGE_SIZE, PATCH = 144, 16
GRID = IMAGE_SIZE // PATCH
MEAN, STD = 0.5, 0.25
SHARD = 2048  # scenes per file
# The center of every patch on the canvas, [patch, (x, y)].
_CENTERS = np.array(
    [
        ((column + 0.5) * SIZE / GRID, (row + 0.5) * SIZE / GRID)
        for row in range(GRID)
        for column in range(GRID)
    ]
)
_BOXED = Marking(style="red_box")
_BOXED_SHARE = 0.88
_UNSEEN = -1  # no such label on a patch

# What is predicted from a patch that shows a person, and the number of classes.
PERSON_CLASSES = {
    "expression": len(EXPRESSIONS),
    "strength": 3,
    "pose": len(POSES),
    "gaze": len(GAZES),
    "turn": len(TURNS),
    "tilt": len(TILTS),
    "tears": 2,
    "sweat": 2,
    "blush": 2,
    "age": len(AGES),
    "item": len(ITEMS),
    "garment": len(GARMENTS),
    "color": len(COLORS),
    "role": len(ROLES),
    "closeness": len(CLOSENESS),
}
# What is predicted from every patch.
SCENE_CLASSES = {
    "setting": len(SETTINGS),
    "occasion": len(OCCASIONS),
    "light": len(LIGHTS),
    "weather": len(WEATHERS),
}
_ARRAYS = ("pixels", "owner", "heads", "arms", "people", "scene", "subject", "boxed")


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes as a VLM sees them.

    Attributes:
        pixels: Normalized, [scene, 3, height, width].
        owner: [scene, patch]. 0: no person; 1: another person; 2: the person in the box; -1: a person in a
            scene without a box.
        scene_classes: [scene] by name in `SCENE_CLASSES`.
        classes: [scene, patch] by name in `PERSON_CLASSES`; -1 where there is no person.
        heads: [scene, patch]: where a face is visible.
        arms: [scene, patch]: where an arm is visible.
    """

    pixels: torch.Tensor
    owner: torch.Tensor
    scene_classes: dict[str, torch.Tensor]
    classes: dict[str, torch.Tensor]
    heads: torch.Tensor
    arms: torch.Tensor


class TrainingScenes:
    """The scenes of a folder of shards, read as they are needed."""

    def __init__(self, folder: Path) -> None:
        self._shards = [
            {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
            for path in sorted(folder.glob("shard-*"))
        ]
        if not self._shards:
            raise SystemExit(f"{folder} has no shards: run training_scenes.py first")
        self.seed = int((folder / "seed.txt").read_text())
        self.crowded = np.concatenate([(shard["people"][:, 1, 0] >= 0) for shard in self._shards])

    def __len__(self) -> int:
        return len(self._shards) * SHARD

    def scene(self, index: int) -> Scene:
        return training_scene(self.seed, index)

    def boxed(self, index: int) -> bool:
        """Whether the box is drawn."""
        return bool(self._shards[index // SHARD]["boxed"][index % SHARD])

    def pixels(self, indices: Sequence[int]) -> torch.Tensor:
        """Normalized, [scene, 3, height, width]."""
        stacked = np.stack([self._shards[index // SHARD]["pixels"][index % SHARD] for index in indices])
        return normalize(torch.from_numpy(stacked))

    def batch(self, indices: Sequence[int]) -> Batch:
        rows = [(self._shards[index // SHARD], index % SHARD) for index in indices]
        owner, people, scene = (
            np.stack([shard[name][row] for shard, row in rows]) for name in ("owner", "people", "scene")
        )
        # Row 0 is that of no person.
        padded = np.concatenate([np.full_like(people[:, :1], _UNSEEN), people], axis=1)
        classes = torch.from_numpy(np.take_along_axis(padded, owner[..., None].astype(int), axis=1)).long()
        subjects = np.array([shard["subject"][row] for shard, row in rows])
        boxed = np.array([shard["boxed"][row] for shard, row in rows])
        relative = np.where(owner == subjects[:, None] + 1, 2, 1)
        relative = np.where(boxed[:, None], relative, _UNSEEN)
        heads, arms = (
            torch.from_numpy(np.stack([shard[name][row] for shard, row in rows]))
            for name in ("heads", "arms")
        )
        return Batch(
            pixels=self.pixels(indices),
            owner=torch.from_numpy(np.where(owner == 0, 0, relative)),
            scene_classes={
                name: torch.from_numpy(scene[:, column].astype(int))
                for column, name in enumerate(SCENE_CLASSES)
            },
            classes={name: classes[..., column] for column, name in enumerate(PERSON_CLASSES)},
            heads=heads,
            arms=arms,
        )


def training_scene(seed: int, index: int) -> Scene:
    """The scene at an index; three in four are sampled evenly, so that rare situations are known as well."""
    rng = random.Random(f"training {seed} {index}")
    return sample_scene(rng, even=rng.random() < 0.75)


def normalize(pixels: torch.Tensor) -> torch.Tensor:
    """Integers from 0 to 255 as the tower's image processor gives them."""
    return (pixels.float() / 255 - MEAN) / STD


def _person_row(scene: Scene, index: int) -> list[int]:
    person = scene.people[index]
    has_strength = person.expression not in ("blank", "drowsy")  # looks the same at each strength
    return [
        EXPRESSIONS.index(person.expression),
        person.strength - 1 if has_strength else _UNSEEN,
        POSES.index(person.pose),
        GAZES.index(person.gaze) if person.expression != "drowsy" else _UNSEEN,
        TURNS.index(person.turn),
        TILTS.index(person.tilt),
        *(int(sign in person.signs) for sign in ("tears", "sweat", "blush")),
        AGES.index(person.age),
        ITEMS.index(person.item),
        GARMENTS.index(person.garment),
        COLORS.index(person.color),
        ROLES.index(person.role),
        CLOSENESS.index(scene.closeness(index)),
    ]


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
                near = np.hypot(*(_CENTERS - start - along[:, None] * (end - start)).T) < 0.6 * SIZE / GRID
                arms |= is_own & near
    return heads, arms


def _draw_shard(folder: Path, seed: int, number: int) -> None:
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _ARRAYS}
    for index in range(number * SHARD, (number + 1) * SHARD):
        scene = training_scene(seed, index)
        is_boxed = random.Random(f"box {seed} {index}").random() < _BOXED_SHARE
        drawing, person_map = draw_with_person_map(scene)
        image = drawing.image
        if is_boxed:
            image = mark_subject(image, drawing.boxes[scene.subject], _BOXED)
        owner = _owner_of_patches(person_map)
        heads, arms = _limbs(scene, owner)
        people = np.full((3, len(PERSON_CLASSES)), _UNSEEN, np.int8)
        for row in range(len(scene.people)):
            people[row] = _person_row(scene, row)
        values = {
            "pixels": np.asarray(fit_to_square(image, IMAGE_SIZE, "letterbox")).transpose(2, 0, 1),
            "owner": owner.astype(np.uint8),
            "heads": heads,
            "arms": arms,
            "people": people,
            "scene": np.array(
                [
                    SETTINGS.index(scene.setting),
                    OCCASIONS.index(scene.occasion),
                    LIGHTS.index(scene.light),
                    WEATHERS.index(scene.weather),
                ],
                np.int8,
            ),
            "subject": np.array(scene.subject, np.uint8),
            "boxed": np.array(is_boxed),
        }
        for name, value in values.items():
            columns[name].append(value)
    unfinished = folder / f"unfinished-{number:04d}"
    unfinished.mkdir(exist_ok=True)
    for name, rows in columns.items():
        np.save(unfinished / f"{name}.npy", np.stack(rows))
    unfinished.rename(folder / f"shard-{number:04d}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=65_536)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "seed.txt").write_text(str(args.seed))
    numbers = [
        number for number in range(args.scenes // SHARD) if not (args.out / f"shard-{number:04d}").exists()
    ]
    with ProcessPoolExecutor(args.workers) as pool:
        for number, _ in zip(
            numbers,
            pool.map(_draw_shard, *zip(*((args.out, args.seed, n) for n in numbers), strict=True)),
            strict=True,
        ):
            print(f"shard {number} of {args.scenes // SHARD}", flush=True)


if __name__ == "__main__":
    main()
