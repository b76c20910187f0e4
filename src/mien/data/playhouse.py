"""Playhouse as a data set: drawn scenes with three simulated annotators, split as EMOTIC is.

In: a seed and the number of scenes a split. Out: samples, and the pictures in a folder (drawn when first
needed). Knows nothing about what is done with them. Train has one annotator; val and test have three, whose
labels are united and whose valence, arousal and dominance are averaged; some pairs of place and face never
occur in train.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from PIL import Image
from pydantic import Field

from mien.data.dataset import Dataset, DatasetCard, Record
from mien.digests import digest
from mien.labels import EMOTIC, LabelSet
from mien.playhouse.draw import draw_scene, place_boxes
from mien.playhouse.rules import Opinion, annotate
from mien.playhouse.scene import ABSENT_FROM_TRAIN, Scene, draw_lots
from mien.recipe import DataOptions, Options
from mien.types import DIMENSIONS, Sample, Subject, Target

# Raised when the same seed draws other pictures or labels, so that pictures on disk are not taken for the
# same.
_VERSION: Final = 1
_ANNOTATORS: Final = {"train": 1, "val": 3, "test": 3}


class PlayhouseOptions(Options):
    """`[data.options]` of Playhouse: how many scenes a split has, and the seed they are drawn with."""

    train: int = Field(default=2000, gt=0)
    val: int = Field(default=400, gt=0)
    test: int = Field(default=1000, gt=0)
    seed: int = Field(default=2024, ge=0)


class Playhouse(Dataset):
    """12 places, 6 expressions, 6 poses, 1 to 3 people; EMOTIC's 26 labels and VAD by written rules."""

    card = DatasetCard(
        name="playhouse",
        title="Playhouse, a little theatre drawn by code",
        license="Apache-2.0",
        homepage="",
        task="26 labels of apparent emotion and VAD; a test bed that says nothing about real photographs",
    )

    def __init__(self, options: DataOptions, cache: Path) -> None:
        super().__init__(options, cache)
        self._options = PlayhouseOptions.parse(options.options, where="[data.options] of playhouse")
        name = digest({"version": _VERSION, "seed": self._options.seed})[:12]
        self._root = options.root or cache / "playhouse" / name

    @property
    def label_set(self) -> LabelSet:
        return EMOTIC

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(_ANNOTATORS)

    def _records(self, split: str) -> Iterator[Record]:
        for index in range(getattr(self._options, split)):
            yield self._record(split, index)

    def scene(self, split: str, index: int) -> tuple[Scene, tuple[Opinion, ...]]:
        """A scene and what its annotators say, from the seed, the split and the index alone."""
        rng = random.Random(f"playhouse {self._options.seed} {split} {index}")
        scene = draw_lots(rng, absent=ABSENT_FROM_TRAIN if split == "train" else frozenset())
        return scene, annotate(scene, rng, _ANNOTATORS[split])

    def _record(self, split: str, index: int) -> Record:
        scene, opinions = self.scene(split, index)
        path = self._root / split / f"{index:05d}.png"
        if not path.exists():
            _save_whole(draw_scene(scene).image, path)
        box = place_boxes(scene)[scene.subject]
        subject = Subject.still(f"{split}/{index:05d}", path, box)
        sample = Sample(subject=subject, target=unite(opinions), split=split)
        return Record(sample=sample, annotations=tuple(unite((opinion,)) for opinion in opinions))


def _save_whole(image: Image.Image, path: Path) -> None:
    """Whole or not there, also when two processes draw at once; no fsync, for it can be drawn again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    image.save(part, format="PNG", compress_level=1)
    part.replace(path)


def unite(opinions: tuple[Opinion, ...]) -> Target:
    """The union of what annotators ticked, and the mean of their dimensions on the scale of 0 to 1."""
    labels = {label: 1.0 for opinion in opinions for label in opinion.labels}
    given = [opinion.dimensions for opinion in opinions if opinion.dimensions is not None]
    if not given:
        return Target(labels=labels)
    means = (sum(values) / len(given) / 10 for values in zip(*given, strict=True))
    return Target(labels=labels, dimensions=dict(zip(DIMENSIONS, means, strict=True)))
