"""Boxes of people who are partly hidden by others, as they would be without them.

Many detectors box what is visible. So the box of a person who walks behind another one shrinks from one side
and grows again from the other, and its center moves as no person does.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["complete_boxes", "hidden_edges"]

_COVERED: Final = 0.5  # of the length of an edge that is in another box
_SLACK: Final = (
    0.1  # of the size of the other box, by which an edge may be outside of it: boxes are not exact
)


def hidden_edges(boxes: Float[np.ndarray, "box 4"]) -> Bool[np.ndarray, "box 4"]:
    """Which of the left, top, right and bottom edges of each box end at or in another one of the image."""
    left, top, right, bottom = boxes.T
    width = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    height = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    adjacent = height > _COVERED * (bottom - top)[:, None]
    above = width > _COVERED * (right - left)[:, None]
    slack_x, slack_y = _SLACK * (right - left), _SLACK * (bottom - top)
    found = [
        adjacent & (left < left[:, None]) & (left[:, None] <= right + slack_x),
        above & (top < top[:, None]) & (top[:, None] <= bottom + slack_y),
        adjacent & (right > right[:, None]) & (right[:, None] >= left - slack_x),
        above & (bottom > bottom[:, None]) & (bottom[:, None] >= top - slack_y),
    ]
    hidden: Bool[np.ndarray, "box 4"] = np.stack([edge.any(axis=1) for edge in found], axis=1)
    return hidden


def complete_boxes(
    boxes: Float[np.ndarray, "box 4"],
    hidden: Bool[np.ndarray, "box 4"],
    expected: Float[np.ndarray, "person 4"],
) -> Float[np.ndarray, "person box 4"]:
    """Each box as it would be if it were of each person.

    Where an edge is hidden and the box is smaller than the person, the edge is moved so that the box is as
    large as the person. If the opposite edge is hidden, too, the box is where the person is expected, as far
    as it still contains what is visible.

    Args:
        boxes: The boxes of an image.
        hidden: `hidden_edges` of them.
        expected: Where each person is expected in this image, in their whole size.
    """
    completed = np.repeat(boxes[None], len(expected), axis=0)
    for low, high in ((0, 2), (1, 3)):
        size = (expected[:, high] - expected[:, low])[:, None]
        found_low, found_high = boxes[:, low], boxes[:, high]
        at_low, at_high = hidden[:, low], hidden[:, high]
        # A hidden low edge may be as far down as the high edge allows, and a visible one is where it is.
        lowest = np.where(at_low, found_high - size, found_low)
        highest = np.where(at_high, found_low, found_high - size)
        start = np.clip(expected[:, low][:, None], lowest, highest)
        is_part = (found_high - found_low < size) & (at_low | at_high)
        completed[:, :, low] = np.where(is_part, start, found_low)
        completed[:, :, high] = np.where(is_part, start + size, found_high)
    return completed
