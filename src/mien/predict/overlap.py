"""How much boxes overlap."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["intersection_over_union"]


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
