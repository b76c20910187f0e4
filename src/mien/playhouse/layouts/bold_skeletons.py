"""The joints of a drawn person, as OpenPose would report them, with its weaknesses.

In: a figure; a seeded `random.Random`. Out: rows of (x, y, confidence) in pixels, in OpenPose's order of 18.
Knows nothing about files, frames' numbers or annotations.
"""

from __future__ import annotations

import random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.playhouse.figure import Figure

__all__ = ["JOINTS", "LOWEST_CONFIDENCE", "blur", "skeleton"]

# Right and left are the person's own.
JOINTS: Final = (
    *("nose", "neck", "right shoulder", "right elbow", "right wrist"),
    *("left shoulder", "left elbow", "left wrist", "right hip", "right knee", "right ankle"),
    *("left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear"),
)
LOWEST_CONFIDENCE: Final = 0.1  # joints below this confidence stand anywhere
_UNSURE: Final = 0.08  # share of joints that are so

Floats = NDArray[np.float64]


def skeleton(figure: Figure) -> Floats:
    """Where the joints of a drawn figure are: 18 rows of (x, y) in pixels."""
    body = {"nose": figure.head, "neck": _at(figure, 0.0, 0.62)}
    for side, sign in (("right", -1), ("left", 1)):  # the person faces us
        arm = next(path for path in figure.joints() if (path[0][0] - figure.x) * sign > 0)
        body |= {
            f"{side} {name}": point for name, point in zip(("shoulder", "elbow", "wrist"), arm, strict=True)
        }
        for name, up in (("hip", 0.30), ("knee", 0.16), ("ankle", 0.03)):
            body[f"{side} {name}"] = _at(figure, sign * 0.06, up)
        x, y = figure.head
        body[f"{side} eye"] = (x + sign * 0.40 * figure.radius, y - 0.10 * figure.radius)
        body[f"{side} ear"] = (x + sign * 0.98 * figure.radius, y)
    return np.array([body[name] for name in JOINTS])


def blur(points: Floats, size: int, rng: random.Random) -> Floats:
    """The joints as a detector reports them: 18 rows of (x, y, confidence).

    Those outside of the picture are not found, which is written as zeros; others are unsure, and anywhere.
    """
    rows = []
    for x, y in points:
        if not (0 <= x <= size and 0 <= y <= size):
            rows.append((0.0, 0.0, 0.0))
        elif rng.random() < _UNSURE:
            anywhere = (rng.uniform(0, size), rng.uniform(0, size))
            rows.append((*anywhere, rng.uniform(0, 0.9 * LOWEST_CONFIDENCE)))
        else:
            rows.append((x, y, rng.uniform(2 * LOWEST_CONFIDENCE, 1.0)))
    return np.array(rows)


def _at(figure: Figure, right: float, up: float) -> tuple[float, float]:
    return figure.x + right * figure.unit, figure.floor - up * figure.unit
