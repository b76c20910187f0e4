"""The Playhouse dataset: a small drawn world with simulated annotators, split like EMOTIC."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import Field

from mien.data.annotators import Combination, combine_labels
from mien.data.dataset import Dataset, DatasetCard, Record
from mien.data.generated_images import save_png
from mien.digests import digest
from mien.labels import EMOTIC, LabelSet
from mien.playhouse.draw import draw_scene, person_boxes
from mien.playhouse.rules import SimulatedAnnotation, annotate
from mien.playhouse.scene import Scene, sample_scene
from mien.recipe import DataOptions, Options
from mien.types import DIMENSIONS, Sample, Subject, Target

__all__ = ["Playhouse", "PlayhouseOptions", "combine_annotations"]

# Increase when the same seed draws other images or labels, so that existing image files are not reused.
_VERSION: Final = 2
_NUM_ANNOTATORS: Final = {"train": 1, "val": 5, "test": 3}  # train: by default


class PlayhouseOptions(Options):
    """`[data.options]` of Playhouse.

    Attributes:
        train: Number of scenes in train.
        val: Number of scenes in val.
        test: Number of scenes in test.
        seed: Random seed of the scenes; another one draws others.
        train_annotators: How many annotators each person in train has. The first is the same with any number.
        target: How annotators are combined. "combined" is the union of their labels, "majority" the labels
            that more than half of them chose (or the most frequent ones if there are none), "soft" the share
            who chose each label. Dimensions are averaged in any case.
    """

    train: int = Field(default=2000, gt=0)
    val: int = Field(default=400, gt=0)
    test: int = Field(default=1000, gt=0)
    seed: int = Field(default=2024, ge=0)
    train_annotators: int = Field(default=1, ge=1, le=100)
    target: Combination = "combined"


class Playhouse(Dataset):
    """Playhouse 2: drawn scenes with 1 to 3 people in 888 situations.

    EMOTIC's 26 labels and valence, arousal, dominance follow from written rules (`mien.playhouse.rules`). It
    is a test bed and says nothing about real photos.

    - **Situations.** Each is one of 16 settings, one of 16 occasions, and what the person holds: one of 21
      items, or nothing. Most are rare, and about a quarter never occurs in train.
    - **People.** 6 expressions in 3 strengths, 6 poses, gaze, turn and tilt of the head, tears, sweat, blush,
      age, role, and the closeness and faces of the others. A description names a few of these.
    - **Annotators.** One in train (or `train_annotators`), five in val and three in test, as in EMOTIC. Their
      labels are united (or combined as `target` says), and their dimensions averaged and scaled to 0.1 to 1.
    - **Images** of 288 x 288 pixels are drawn to `data.root`, or to the cache, when they are first read.
    """

    card = DatasetCard(
        name="playhouse",
        title="Playhouse, a small drawn world",
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
        return tuple(_NUM_ANNOTATORS)

    @property
    def has_annotators(self) -> bool:
        return True

    def _records(self, split: str) -> Iterator[Record]:
        for index in range(getattr(self._options, split)):
            yield self._record(split, index)

    def scene(self, split: str, index: int) -> tuple[Scene, tuple[SimulatedAnnotation, ...]]:
        """A scene and its annotations, determined by the seed, the split and the index."""
        rng = random.Random(f"playhouse {self._options.seed} {split} {index}")
        scene = sample_scene(rng, training=split == "train")
        number = self._options.train_annotators if split == "train" else _NUM_ANNOTATORS[split]
        return scene, annotate(scene, rng, number)

    def _record(self, split: str, index: int) -> Record:
        scene, annotations = self.scene(split, index)
        path = self._root / split / f"{index:05d}.png"
        if not path.exists():
            save_png(draw_scene(scene).image, path)
        box = person_boxes(scene)[scene.subject]
        subject = Subject.still(f"{split}/{index:05d}", path, box)
        target = combine_annotations(annotations, self._options.target)
        sample = Sample(subject=subject, target=target, split=split)
        return Record(sample=sample, annotations=tuple(combine_annotations((item,)) for item in annotations))


def combine_annotations(
    annotations: tuple[SimulatedAnnotation, ...], how: Combination = "combined"
) -> Target:
    """The annotators' labels as `how` says, and the mean of their dimensions on a scale of 0 to 1."""
    labels = combine_labels([annotation.labels for annotation in annotations], how)
    given = [annotation.dimensions for annotation in annotations if annotation.dimensions is not None]
    if not given:
        return Target(labels=labels)
    means = (sum(ratings) / len(given) / 10 for ratings in zip(*given, strict=True))
    return Target(labels=labels, dimensions=dict(zip(DIMENSIONS, means, strict=True)))
