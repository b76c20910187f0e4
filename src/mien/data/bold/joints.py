"""Boxes of people in the frames of a BoLD clip, from the joints that OpenPose detected.

A `.npy` file has rows [frame, person, 18 x (x, y, confidence)]. Frame numbers in it are absolute: they count
within the film that the clip was cut from. The smallest one in a file is taken for the clip's first frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.types import Box

__all__ = ["NUM_JOINTS", "JointsFile", "Track", "read_joints"]

NUM_JOINTS = 18
_NUM_COLUMNS = 2 + 3 * NUM_JOINTS
_HINT = "copy the joints from the release again"

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A person in a clip.

    Attributes:
        frames: Ascending frame numbers in which the person is detected, from the clip's first frame.
        boxes: The boxes in these frames: left, top, right, bottom, in pixels, not clipped to the image.
    """

    frames: Integers
    boxes: Floats

    def boxes_in(self, frames: Sequence[int], *, bridge: int) -> tuple[Box | None, ...]:
        """The person's box in each of these frames, also where the person is not detected.

        Between two detections the box is interpolated linearly; before the first and after the last it is
        held. None where the nearest detection is more than `bridge` frames away.
        """
        if not len(self.frames):
            return (None,) * len(frames)
        wanted = np.asarray(frames)
        is_far = np.abs(wanted[:, None] - self.frames[None, :]).min(axis=1) > bridge
        edges = np.stack([np.interp(wanted, self.frames, side) for side in self.boxes.T], axis=1)
        return tuple(
            None if far else Box.from_tuple(tuple(box))
            for far, box in zip(is_far, edges.tolist(), strict=True)
        )

    def num_detected(self, first: int, last: int) -> int:
        """The number of frames from `first` to `last` (inclusive) in which the person is detected."""
        inside = (self.frames >= first) & (self.frames <= last)
        return int(inside.sum())

    def expanded(self, margin: float) -> Track:
        """With boxes that extend further on every side, by this share of their width or height."""
        low, high = self.boxes[:, :2], self.boxes[:, 2:]
        by = margin * (high - low)
        return replace(self, boxes=np.concatenate([low - by, high + by], axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class JointsFile:
    """The joints of all people in a clip. `first`: the absolute number of the clip's first frame."""

    first: int
    frames: Integers
    people: Integers
    joints: Floats

    def track(self, person: int, *, min_confidence: float) -> Track:
        """The boxes around a person's joints of at least this confidence."""
        own = self.people == person
        x, y, confidence = np.moveaxis(self.joints[own], 2, 0)
        valid = (confidence >= min_confidence) & np.isfinite(x) & np.isfinite(y)
        low = np.stack([np.where(valid, side, np.inf).min(axis=1) for side in (x, y)], axis=1)
        high = np.stack([np.where(valid, side, -np.inf).max(axis=1) for side in (x, y)], axis=1)
        # A box needs an area: one joint, or several on a horizontal or vertical line, give none.
        detected = (high > low).all(axis=1)
        frames, indices = np.unique(self.frames[own][detected], return_index=True)
        return Track(frames, np.concatenate([low, high], axis=1)[detected][indices])


def read_joints(path: Path) -> JointsFile:
    """The joints in a file.

    Raises:
        DataError: The file is missing or unreadable, or has another shape.
    """
    if not path.is_file():
        raise DataError(f"no joints at {path}", hint=_HINT)
    try:
        # Memory-mapped, so that a header with a wrong size allocates nothing. `np.load` would also open
        # archives.
        rows = np.lib.format.open_memmap(path, mode="r").astype(np.float64)
    except Exception as error:  # a damaged header raises nearly anything; mapped here only
        raise DataError(f"{path} contains no joints: {error}", hint=_HINT) from error
    if rows.ndim != 2 or rows.shape[1] != _NUM_COLUMNS or not len(rows):
        shape = " x ".join(map(str, rows.shape))
        raise DataError(f"{path} is {shape or 'a single number'}, not rows of {_NUM_COLUMNS}", hint=_HINT)
    numbers = rows[:, :2]
    if not np.isfinite(numbers).all() or (numbers != numbers.round()).any() or (abs(numbers) >= 2**31).any():
        raise DataError(f"{path}: frame or person numbers are not whole numbers", hint=_HINT)
    frames, people = numbers.astype(np.int64).T
    first = int(frames.min())
    return JointsFile(first, frames - first, people, rows[:, 2:].reshape(-1, NUM_JOINTS, 3))
