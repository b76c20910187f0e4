"""The tracker next to those of the library `trackers`; CONTRIBUTING.md says how to install it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tests.predict.track.test_occlusion import visible

from mien.predict.track.tracker import Tracker
from mien.types import Box

trackers = pytest.importorskip("trackers", reason="the library trackers is not installed")
supervision = pytest.importorskip("supervision")

FPS, SECONDS, GAP = 10, 8, 2.0
Frame = list[tuple[int, Box]]  # who is seen in a frame, and where


def walk(seed: int, *, lanes: bool) -> list[Frame]:
    """Two to five people who walk past each other, seen with jitter, and now and then not at all.

    Without lanes they walk through each other's boxes.
    """
    rng = random.Random(seed)
    people = [
        (
            rng.uniform(0, 640),
            130.0 * number if lanes else rng.uniform(100, 180),
            rng.choice((-1, 1)) * rng.uniform(20, 90),
            rng.uniform(40, 60),
        )
        for number in range(rng.randint(2, 5))
    ]
    missed: set[int] = set()
    frames = []
    for step in range(FPS * SECONDS):
        missed = {one for one in range(len(people)) if one not in missed and rng.random() < 0.05}
        frame = []
        for number, (start, y, speed, width) in enumerate(people):
            x, top = (start + speed * step / FPS + rng.gauss(0, 1.5), y + rng.gauss(0, 1.5))
            box = Box(left=x, top=top, right=x + width, bottom=top + 2.4 * width)
            if number not in missed:
                frame.append((number, box))
        frames.append(frame)
    return frames


def by_mien(frames: Sequence[Frame]) -> list[list[int]]:
    tracker = Tracker(GAP)
    return [tracker.update(step / FPS, [box for _, box in frame]) for step, frame in enumerate(frames)]


def by_library(name: str) -> Callable[[Sequence[Frame]], list[list[int]]]:
    def follow(frames: Sequence[Frame]) -> list[list[int]]:
        options: dict[str, Any] = {"frame_rate": FPS, "minimum_consecutive_frames": 1}
        tracker = getattr(trackers, name)(lost_track_buffer=int(GAP * 30), **options)
        found = []
        for frame in frames:
            boxes = np.array([box.as_tuple() for _, box in frame]).reshape(-1, 4)
            detections = supervision.Detections(xyxy=boxes, confidence=np.full(len(boxes), 0.95))
            detections.data["row"] = np.arange(len(boxes))
            tracked = tracker.update(detections)
            rows = tracked.data.get("row", np.array([], dtype=int))
            numbers = dict(zip(rows.tolist(), tracked.tracker_id.tolist(), strict=True))
            found.append([numbers.get(row, -1) for row in range(len(boxes))])
        return found

    return follow


LIBRARY = ("SORTTracker", "ByteTrackTracker", "OCSORTTracker")


def count_switches(frames: Sequence[Frame], numbers: Sequence[Sequence[int]]) -> int:
    """How often a person has another number than the last time they were seen (IDSW of CLEAR MOT)."""
    last: dict[int, int] = {}
    switches = 0
    for frame, found in zip(frames, numbers, strict=True):
        for (person, _), number in zip(frame, found, strict=True):
            if number >= 0:
                switches += last.get(person, number) != number
                last[person] = number
    return switches


@pytest.mark.parametrize("name", LIBRARY)
def test_people_who_keep_apart_keep_their_numbers_as_with_the_library(name: str) -> None:
    for seed in range(10):
        frames = walk(seed, lanes=True)
        assert count_switches(frames, by_mien(frames)) == 0
        assert count_switches(frames, by_library(name)(frames)) == 0


def test_people_who_cross_are_seldom_confused() -> None:
    walks = [walk(seed, lanes=False) for seed in range(40)]
    num_boxes = sum(len(frame) for frames in walks for frame in frames)
    for follow in (by_mien, *map(by_library, LIBRARY)):
        assert sum(count_switches(frames, follow(frames)) for frames in walks) <= num_boxes / 1000


def cross(wide: float, narrow: float, speed: float) -> list[Frame]:
    """One walks behind another, and only what is visible is boxed, if it is at least a third."""
    frames: list[Frame] = []
    for step in range(int(300 / speed * FPS)):
        x, y = 100 + speed * step / FPS, 400 - speed * step / FPS
        front, back = (x - wide / 2, 40.0, x + wide / 2, 200.0), (y - narrow / 2, 50.0, y + narrow / 2, 190.0)
        part = visible(back, front)
        frames.append([(who, Box.from_tuple(box)) for who, box in ((0, front), (1, part)) if box is not None])
    return frames


def test_people_who_walk_behind_others_are_confused_less_often_than_by_the_library() -> None:
    walks = [cross(wide, 110 - wide, speed) for wide in (40, 55, 70) for speed in (30, 50, 80)]
    assert sum(count_switches(frames, by_mien(frames)) for frames in walks) == 0
    for name in LIBRARY:
        assert sum(count_switches(frames, by_library(name)(frames)) for frames in walks) > 0
