"""Where a person is in each frame of a BoLD clip, from the joints that OpenPose saw.

In: a `.npy` file of rows [frame, person, 18 x (x, y, confidence)]. Out: a box for a person in a frame, also
between frames in which the person was seen. Knows nothing about annotations, splits or pixels.

Frame numbers in the files are absolute: they count within the film from which a clip was cut. The smallest
of a file is taken for the clip's first frame.
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
_COLUMNS = 2 + 3 * NUM_JOINTS
_HINT = "take the joints from the release anew"

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The frames of the clip in which a person is seen, ascending, and the boxes there: left, top, right,
    bottom, in pixels."""

    frames: Integers
    boxes: Floats

    def boxes_in(self, frames: Sequence[int], *, bridge: int) -> tuple[Box | None, ...]:
        """The person's box in each of these frames, also where the person is not seen.

        Between frames in which they are seen, it is on the line between theirs; before the first and after
        the last it is held. None where the nearest of them is more than `bridge` frames away.
        """
        if not len(self.frames):
            return (None,) * len(frames)
        wanted = np.asarray(frames)
        far = np.abs(wanted[:, None] - self.frames[None, :]).min(axis=1) > bridge
        edges = np.stack([np.interp(wanted, self.frames, side) for side in self.boxes.T], axis=1)
        return tuple(
            None if lost else Box.from_tuple(tuple(box))
            for lost, box in zip(far, edges.tolist(), strict=True)
        )

    def num_seen(self, first: int, last: int) -> int:
        """In how many frames from `first` to `last` the person is seen."""
        inside = (self.frames >= first) & (self.frames <= last)
        return int(inside.sum())

    def grown(self, margin: float) -> Track:
        """Boxes that reach further on every side, by this share of their width or height."""
        low, high = self.boxes[:, :2], self.boxes[:, 2:]
        by = margin * (high - low)
        return replace(self, boxes=np.concatenate([low - by, high + by], axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class JointsFile:
    """The joints of everybody in a clip. `first`: the absolute number of the clip's first frame."""

    first: int
    frames: Integers
    people: Integers
    joints: Floats

    def track(self, person: int, *, min_confidence: float) -> Track:
        """Where a person is seen, by the joints of at least this confidence."""
        own = self.people == person
        x, y, confidence = np.moveaxis(self.joints[own], 2, 0)
        valid = (confidence >= min_confidence) & np.isfinite(x) & np.isfinite(y)
        low = np.stack([np.where(valid, side, np.inf).min(axis=1) for side in (x, y)], axis=1)
        high = np.stack([np.where(valid, side, -np.inf).max(axis=1) for side in (x, y)], axis=1)
        # A box needs an extent: one joint, or several in one line, make none.
        seen = (high > low).all(axis=1)
        frames, places = np.unique(self.frames[own][seen], return_index=True)
        return Track(frames, np.concatenate([low, high], axis=1)[seen][places])


def read_joints(path: Path) -> JointsFile:
    """The joints in a file; DataError if it is missing, unreadable, or of another shape."""
    if not path.is_file():
        raise DataError(f"no joints at {path}", hint=_HINT)
    try:
        # Mapped, so that a header that lies about the size asks for no memory; not by `np.load`, which would
        # open archives as well.
        rows = np.lib.format.open_memmap(path, mode="r").astype(np.float64)
    except Exception as error:  # a damaged header raises nearly anything; this is the seam
        raise DataError(f"{path} holds no joints: {error}", hint=_HINT) from error
    if rows.ndim != 2 or rows.shape[1] != _COLUMNS or not len(rows):
        shape = " x ".join(map(str, rows.shape))
        raise DataError(f"{path} is {shape or 'a single number'}, not rows of {_COLUMNS}", hint=_HINT)
    numbers = rows[:, :2]
    if not np.isfinite(numbers).all() or (numbers != numbers.round()).any() or (abs(numbers) >= 2**31).any():
        raise DataError(f"{path}: frames or people are no whole numbers", hint=_HINT)
    frames, people = numbers.astype(np.int64).T
    first = int(frames.min())
    return JointsFile(first, frames - first, people, rows[:, 2:].reshape(-1, NUM_JOINTS, 3))
