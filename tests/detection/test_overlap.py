"""How much boxes overlap, and which are duplicates, against plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.detection.overlap import intersection_over_union, suppress_duplicates

Edges = tuple[float, float, float, float]


def overlap(first: Edges, second: Edges) -> float:
    """Intersection over union of boxes with whole edges, by counting pixels."""
    pixels = [
        {(x, y) for x in range(int(left), int(right)) for y in range(int(top), int(bottom))}
        for left, top, right, bottom in (first, second)
    ]
    union = len(pixels[0] | pixels[1])
    return len(pixels[0] & pixels[1]) / union if union else 0.0


def suppress(boxes: list[Edges], scores: list[float], most: float) -> list[int]:
    """Greedy suppression in plain Python."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: (-scores[index], index)):
        if all(overlap(boxes[index], boxes[other]) <= most for other in kept):
            kept.append(index)
    return kept


edges = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 9), st.integers(0, 9)).map(
    lambda edge: (float(edge[0]), float(edge[1]), float(edge[0] + edge[2]), float(edge[1] + edge[3]))
)
scored = st.lists(st.tuples(edges, st.sampled_from([0.1, 0.2, 0.5, 0.9])), max_size=12)


@given(first=edges, second=edges)
def test_the_overlap_is_that_of_counted_pixels(first: Edges, second: Edges) -> None:
    (found,) = intersection_over_union(np.array([first]), np.array([second])).ravel()
    assert found == pytest.approx(overlap(first, second))


@given(proposals=scored, most=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_suppression_is_greedy(proposals: list[tuple[Edges, float]], most: float) -> None:
    boxes, scores = [box for box, _ in proposals], [score for _, score in proposals]
    kept = suppress_duplicates(np.array(boxes).reshape(-1, 4), np.array(scores), most)
    assert kept.tolist() == suppress(boxes, scores, most)
