"""People who are partly hidden keep their size, and who walks behind another one keeps the number."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mien.predict.track.occlusion import complete_boxes, hidden_edges
from mien.predict.track.tracker import Tracker
from mien.types import Box

Edges = tuple[float, float, float, float]


def test_an_edge_is_hidden_if_most_of_it_is_in_another_box() -> None:
    boxes = np.array(
        [
            (100, 50, 160, 200),  # in front
            (140, 50, 200, 200),  # next to it: its left edge is inside
            (110, 180, 150, 260),  # below: its top edge is inside, and its left edge in the next one
            (40, 190, 120, 400),  # only corners of it are inside of others
            (300, 50, 360, 200),
            (300, 50, 360, 200),  # the same box twice hides nothing
        ],
        float,
    )
    expected = [
        (False, False, True, True),
        (True, False, False, False),
        (True, True, False, False),
        (False, False, False, False),
        (False, False, False, False),
        (False, False, False, False),
    ]
    assert hidden_edges(boxes).tolist() == [list(row) for row in expected]
    assert hidden_edges(np.zeros((0, 4))).shape == (0, 4)


def test_a_hidden_edge_moves_to_the_known_size_and_others_stay() -> None:
    boxes = np.array([(150, 50, 180, 200), (100, 60, 160, 200)], float)
    hidden = np.array([(True, False, False, False), (False, False, True, False)])
    known = np.array([(0, 0, 70, 150), (0, 0, 20, 20)], float)
    large, small = complete_boxes(boxes, hidden, known)
    assert large.tolist() == [[110, 50, 180, 200], [100, 60, 170, 200]]
    assert small.tolist() == boxes.tolist()  # no box shrinks
    # Where both edges are hidden, the person is where they are expected, if what is visible allows it.
    both = np.array([(True, False, True, False)])
    for left, found in ((0, 110), (130, 130), (400, 150)):
        place = np.array([(left, 0, left + 70, 150)], float)
        assert complete_boxes(boxes[:1], both, place)[0].tolist() == [[found, 50, found + 70, 200]]
    assert complete_boxes(boxes, hidden, np.zeros((0, 4))).shape == (0, 2, 4)


def visible(back: Edges, front: Edges) -> Edges | None:
    """The larger side of a box that another one leaves; None if that is less than a third of it."""
    left, top, right, bottom = back
    parts = [(left, min(right, front[0])), (max(left, front[2]), right)]
    start, end = max(parts, key=lambda part: part[1] - part[0])
    return (start, top, end, bottom) if end - start >= (right - left) / 3 else None


@pytest.mark.parametrize("fps", [3, 5, 12])
@pytest.mark.parametrize("speed", [20, 40, 80])
@pytest.mark.parametrize(("wide", "narrow"), [(60, 60), (80, 50), (50, 80)])
def test_one_who_is_hidden_while_they_cross_keeps_the_number(
    fps: int, speed: float, wide: float, narrow: float
) -> None:
    """The one behind is seen in part, then not at all, then in part again."""
    tracker, found = Tracker(), []
    for step in itertools.count():
        time = step / fps
        x, y = 100 + speed * time, 400 - speed * time
        if y < 100:
            break
        front, back = (x - wide / 2, 40.0, x + wide / 2, 200.0), (y - narrow / 2, 50.0, y + narrow / 2, 190.0)
        part = visible(back, front)
        boxes = [Box.from_tuple(edges) for edges in (front, part) if edges is not None]
        found.append(tracker.update(time, boxes))
    assert all(ids == [0, 1][: len(ids)] for ids in found)
