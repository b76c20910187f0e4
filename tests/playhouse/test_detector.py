"""The embedded detector finds the people of scenes that no training has shown."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from mien.detection.overlap import intersection_over_union
from mien.playhouse.draw import draw_scene
from mien.playhouse.embedded_models import embedded_model_folder
from mien.playhouse.scene import sample_scene
from mien.predict.detect.open import open_detector
from mien.types import Box


def corners(boxes: Sequence[Box | None]) -> np.ndarray:
    return np.array([box.as_tuple() for box in boxes if box is not None]).reshape(-1, 4)


def count(num_scenes: int) -> Iterator[tuple[int, int, int]]:
    """Per scene the people, the boxes found, and the pairs of both with an IoU of at least 0.5."""
    rng = random.Random("scenes of this test alone")
    drawings = [draw_scene(sample_scene(rng)) for _ in range(num_scenes)]
    found = open_detector("playhouse", device="cpu").detect([drawing.image for drawing in drawings])
    for drawing, people in zip(drawings, found, strict=True):
        assert not isinstance(people, Exception)
        overlaps = intersection_over_union(corners([one.box for one in people]), corners(drawing.boxes))
        same = overlaps >= 0.5
        rows, columns = linear_sum_assignment(same, maximize=True)
        yield len(drawing.boxes), len(people), int(same[rows, columns].sum())


@pytest.mark.parametrize("num_scenes", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_recall_and_precision(num_scenes: int) -> None:
    people, found, hits = np.sum([*count(num_scenes)], axis=0)
    assert people > num_scenes
    assert hits / people >= 0.95
    assert hits / found >= 0.95


def test_the_card_states_the_results() -> None:
    folder = embedded_model_folder("detector")
    exam = json.loads((folder / "exam.json").read_text())
    assert f"{exam['people']} people of {exam['scenes']} unseen scenes" in (folder / "README.md").read_text()
    assert exam["suppressed, score 0.5"]["recall"] >= 0.95
