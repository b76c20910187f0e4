"""How much boxes overlap, and which of them are duplicates."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

__all__ = ["intersection_over_union", "suppress_duplicates"]


def intersection_over_union(
    first: Float[np.ndarray, "first 4"], second: Float[np.ndarray, "second 4"]
) -> Float[np.ndarray, "first second"]:
    """The area that two boxes share, as a share of the area that they cover together; 0 for empty boxes."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod((bottom_right - top_left).clip(0), axis=-1)
    areas = [np.prod((boxes[:, 2:] - boxes[:, :2]).clip(0), axis=-1) for boxes in (first, second)]
    covered = areas[0][:, None] + areas[1][None, :] - shared
    overlap: np.ndarray = np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0)
    return overlap


def suppress_duplicates(
    boxes: Float[np.ndarray, "box 4"], scores: Float[np.ndarray, " box"], max_overlap: float
) -> Int[np.ndarray, " kept"]:
    """Greedy non-maximum suppression.

    Args:
        boxes: Left, top, right and bottom of each box.
        scores: Their scores.
        max_overlap: The largest intersection over union of two boxes that both remain.

    Returns:
        The indices of the boxes that remain, by falling score; of equal scores the first remains.
    """
    remaining = np.argsort(-scores, kind="stable")
    kept = []
    while len(remaining):
        best, others = remaining[0], remaining[1:]
        kept.append(best)
        overlaps = intersection_over_union(boxes[best : best + 1], boxes[others])[0]
        remaining = others[overlaps <= max_overlap]
    return np.array(kept, dtype=np.int64)
