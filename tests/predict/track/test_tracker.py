"""Who is who across frames: crossings, gaps, missed detections, irregular intervals, crowds and ties."""

from __future__ import annotations

import math
import random

import pytest

from mien.errors import ConfigError
from mien.predict.track.tracker import Tracker, TrackOptions
from mien.types import Box

FPS = 5


def at(x: float, y: float = 100, width: float = 40, height: float = 120) -> Box:
    return Box(left=x - width / 2, top=y - height / 2, right=x + width / 2, bottom=y + height / 2)


def follow(frames: list[tuple[float, list[Box]]], max_gap: float = 2.0) -> list[list[int]]:
    tracker = Tracker(max_gap)
    return [tracker.update(time, boxes) for time, boxes in frames]


@pytest.mark.parametrize("offset", [0, 12])
@pytest.mark.parametrize("speed", [40, 100])
def test_two_people_who_cross_keep_their_numbers(speed: float, offset: float) -> None:
    seconds = 400 / speed
    frames = []
    for step in range(int(seconds * FPS)):
        time = step / FPS
        # The order of the boxes changes from frame to frame.
        boxes = [at(100 + speed * time), at(500 - speed * time, 100 + offset)]
        frames.append((time, boxes if step % 2 else boxes[::-1]))
    for step, ids in enumerate(follow(frames)):
        right, left = frames[step][1] if step % 2 else frames[step][1][::-1]
        if right != left:  # in one place, they are the same to a tracker
            assert (ids if step % 2 else ids[::-1]) == [0, 1], step


def test_two_people_who_hide_each_other_while_they_cross_keep_their_numbers() -> None:
    frames = []
    for step in range(41):
        time = step / FPS
        right, left = at(100 + 50 * time), at(500 - 50 * time)
        hidden = abs(right.left - left.left) < 30
        frames.append((time, [right] if hidden else [right, left]))
    found = follow(frames)
    assert min(map(len, found)) == 1
    assert {tuple(ids) for ids in found if len(ids) == 2} == {(0, 1)}


@pytest.mark.parametrize(("away", "expected"), [(1.8, 0), (2.6, 1)])
def test_one_who_leaves_and_returns_keeps_the_number_only_within_the_gap(away: float, expected: int) -> None:
    leaving = [(step / FPS, [at(60 - 10 * step)]) for step in range(5)]
    last = leaving[-1][0]
    gap: list[tuple[float, list[Box]]] = [(last + step / FPS, []) for step in range(1, math.ceil(away * FPS))]
    returning = [(last + away + step / FPS, [at(22 + 10 * step)]) for step in range(5)]
    found = follow([*leaving, *gap, *returning])
    assert [ids[0] for ids in found[-5:]] == [expected] * 5


def test_missed_detections_are_bridged_where_the_motion_leads() -> None:
    lots = random.Random(1)
    frames = [
        (step / FPS, [] if step > 3 and lots.random() < 0.4 else [at(100 + 30 * step)]) for step in range(60)
    ]
    assert {track for ids in follow(frames) for track in ids} == {0}
    assert sum(not ids for ids in follow(frames)) > 10


def test_intervals_may_be_irregular() -> None:
    times, lots = [0.0, 0.2], random.Random(2)
    while times[-1] < 12:
        times.append(times[-1] + lots.choice([0.04, 0.1, 0.5, 0.9]))
    frames = [(time, [at(100 + 60 * time), at(900 - 60 * time)]) for time in times]
    assert follow(frames) == [[0, 1]] * len(frames)


def test_one_who_is_seen_is_found_in_the_next_frame_however_late_it_is() -> None:
    assert follow([(0, [at(100)]), (30, [at(104)]), (60, [at(108)])]) == [[0]] * 3


def test_sixty_people_keep_their_numbers() -> None:
    lots = random.Random(3)
    places = [(50 + 100 * (n % 12), 90 + 160 * (n // 12), lots.uniform(-1, 1)) for n in range(60)]
    expected: dict[int, int] = {}
    tracker = Tracker()
    for step in range(30):
        order = lots.sample(range(60), 60)
        boxes = [
            at(places[n][0] + 20 * places[n][2] * math.sin(step / 5), places[n][1] + lots.uniform(-2, 2))
            for n in order
        ]
        for n, track in zip(order, tracker.update(step / FPS, boxes), strict=True):
            assert expected.setdefault(n, track) == track
    assert sorted(expected.values()) == list(range(60))


def test_ties_do_not_depend_on_the_order_of_the_boxes() -> None:
    same = [at(100), at(100), at(200)]
    between = [at(150, width=100), at(150, width=100)]
    forward = follow([(0, same), (0.2, between), (0.4, same)])
    backward = follow([(0, same[::-1]), (0.2, between[::-1]), (0.4, same[::-1])])
    for ids, reverse, boxes in zip(forward, backward, [same, between, same], strict=True):
        assert len({*ids}) == len(boxes)
        assert sorted(zip(map(Box.as_tuple, boxes), ids, strict=True)) == sorted(
            zip(map(Box.as_tuple, boxes[::-1]), reverse, strict=True)
        )


def test_no_one_and_someone_far_away() -> None:
    assert follow([(0, []), (0.2, [at(100)]), (0.4, [at(700)]), (0.6, [])]) == [[], [0], [1], []]


@pytest.mark.parametrize("name", ["max_gap", "time_constant", "describe_every"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_seconds_are_finite_and_not_negative(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        TrackOptions(**{name: value})
