"""Photographs whose people COCO's annotators boxed, and how many of them a detector finds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.detection.overlap import intersection_over_union

LARGE = 0.02  # of the photo
SAME = 0.5  # intersection over union


@dataclass(frozen=True)
class Photo:
    """A photograph, its size in pixels, and the boxes of the people in it."""

    path: Path
    size: tuple[int, int]
    boxes: np.ndarray


@dataclass(frozen=True)
class Score:
    """How many large people were found, and how many of the found boxes are people of any size."""

    recall: float
    precision: float


def coco_photos(folder: Path) -> list[Photo]:
    """The photographs of a folder with a manifest, in its order."""
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert len(rows) == 30
    return [
        Photo(
            path=folder / row["image"],
            size=(row["width"], row["height"]),
            boxes=np.array(row["person_boxes_xyxy"], float).reshape(-1, 4),
        )
        for row in rows
    ]


def score_boxes(photos: Sequence[Photo], found: Sequence[Sequence[Sequence[float]]]) -> Score:
    """Scores the boxes that were found in each photo, the surest first: each person counts once."""
    num_large = num_large_found = num_found = num_right = 0
    for photo, boxes in zip(photos, found, strict=True):
        width, height = photo.size
        is_large = np.prod(photo.boxes[:, 2:] - photo.boxes[:, :2], axis=1) > LARGE * width * height
        matched: set[int] = set()
        for overlaps in intersection_over_union(np.array(boxes, float).reshape(-1, 4), photo.boxes):
            free = [
                index for index in np.argsort(-overlaps) if overlaps[index] >= SAME and index not in matched
            ]
            matched.update(free[:1])
        num_large += int(is_large.sum())
        num_large_found += sum(bool(is_large[index]) for index in matched)
        num_found += len(boxes)
        num_right += len(matched)
    return Score(recall=num_large_found / num_large, precision=num_right / num_found)
