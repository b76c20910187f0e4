"""Gives the people in the frames of a video numbers that stay theirs: by motion and overlap of boxes.

Each person is expected where a constant velocity takes them. The boxes of a frame are assigned to the people
so that the sum of their overlaps is highest (Hungarian algorithm, as in SORT: Bewley et al., 2016, "Simple
Online and Realtime Tracking"). A person who is partly hidden by another one counts with the box that they
would have without: else their motion would seem to stop where they walk behind someone. Nothing but boxes is
compared: a person who is away for longer than a short gap, or returns elsewhere, gets a new number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from mien.detection.overlap import intersection_over_union
from mien.errors import ConfigError
from mien.predict.track.occlusion import complete_boxes, hidden_edges
from mien.types import Box

__all__ = ["TrackOptions", "Tracker"]

_MIN_OVERLAP: Final = 0.1  # intersection over union of the expected and the found box of one person
_VELOCITY_SECONDS: Final = 0.6  # time constant of the velocity, because detectors jitter
# Where people were last seen counts less than where their motion takes them: people who cross keep their
# numbers, and one who turns round or steps out of the frame and back is found again.
_LAST_SEEN_WEIGHT: Final = 0.5
# A box that fits as it is counts more than one that would fit if a part of it were hidden.
_COMPLETED_WEIGHT: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOptions:
    """How people are followed through videos.

    Attributes:
        max_gap: Seconds for which a person may be out of sight and keep the number. A person who is in one
            frame can always be found in the next, however long it is after it.
        time_constant: Of the scores of a person over time, in seconds: the share of the past in a smoothed
            score falls by a factor of e in this time. 0 for no smoothing.
        describe_every: Seconds between two descriptions of a person; 0 for one in every frame.

    Raises:
        ConfigError: A value is negative or not finite.
    """

    max_gap: float = 2.0
    time_constant: float = 2.0
    describe_every: float = 2.0

    def __post_init__(self) -> None:
        for name in ("max_gap", "time_constant", "describe_every"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value}", hint="give a number of seconds, 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Track:
    """Where a person was seen last, and how fast the center of their box moves, in pixels per second.

    The box includes what was hidden by others.
    """

    id: int
    box: Float[np.ndarray, " 4"]
    time: float
    velocity: Float[np.ndarray, " 2"] | None = None
    is_in_last_frame: bool = True

    def expected(self, time: float) -> Float[np.ndarray, " 4"]:
        """The box at a time, if the person moves on."""
        if self.velocity is None:
            return self.box
        moved: Float[np.ndarray, " 4"] = self.box + np.tile(self.velocity, 2) * (time - self.time)
        return moved

    def seen(self, box: Float[np.ndarray, " 4"], time: float) -> _Track:
        seconds = time - self.time
        if seconds <= 0:
            return replace(self, box=box, is_in_last_frame=True)
        now = (_center(box) - _center(self.box)) / seconds
        if self.velocity is not None:
            now = self.velocity + (1 - math.exp(-seconds / _VELOCITY_SECONDS)) * (now - self.velocity)
        return replace(self, box=box, time=time, velocity=now, is_in_last_frame=True)


class Tracker:
    """Follows the people in one video.

    Args:
        max_gap: Seconds; see `TrackOptions`.
    """

    def __init__(self, max_gap: float = 2.0) -> None:
        self._max_gap = max_gap
        self._tracks: list[_Track] = []
        self._num_tracks = 0

    @property
    def tracks(self) -> frozenset[int]:
        """The numbers of the people who may be found in the next frame."""
        return frozenset(track.id for track in self._tracks)

    def update(self, time: float, boxes: Sequence[Box]) -> list[int]:
        """The number of each person in the next frame, in the order of the boxes.

        The numbers do not depend on that order: new people of a frame are numbered from left to right.

        Args:
            time: Of the frame, in seconds; not before the last one.
            boxes: Of the people in it.
        """
        tracks = [
            track for track in self._tracks if track.is_in_last_frame or time - track.time <= self._max_gap
        ]
        order = sorted(range(len(boxes)), key=lambda index: boxes[index].as_tuple())
        edges = np.array([boxes[index].as_tuple() for index in order], dtype=float).reshape(-1, 4)
        expected = np.array([track.expected(time) for track in tracks]).reshape(-1, 4)
        completed = complete_boxes(edges, hidden_edges(edges), expected)
        as_found = np.repeat(edges[None], len(tracks), axis=0)
        fits = np.maximum(
            _fits(tracks, expected, as_found), _COMPLETED_WEIGHT * _fits(tracks, expected, completed)
        )
        rows, columns = _assign(fits)
        found = {
            order[column]: tracks[row].seen(completed[row, column], time)
            for row, column in zip(rows, columns, strict=True)
        }
        for position, index in enumerate(order):
            if index not in found:
                found[index] = _Track(id=self._num_tracks, box=edges[position], time=time)
                self._num_tracks += 1
        lost = [replace(track, is_in_last_frame=False) for row, track in enumerate(tracks) if row not in rows]
        self._tracks = sorted([*found.values(), *lost], key=lambda track: track.id)
        return [found[index].id for index in range(len(boxes))]


def _fits(
    tracks: Sequence[_Track],
    expected: Float[np.ndarray, "track 4"],
    boxes: Float[np.ndarray, "track box 4"],
) -> Float[np.ndarray, "track box"]:
    """How much each box overlaps with where a person is expected, or was seen last."""
    overlaps = np.zeros(boxes.shape[:2])
    for row, (track, place, found) in enumerate(zip(tracks, expected, boxes, strict=True)):
        moved, last = intersection_over_union(np.stack([place, track.box]), found)
        overlaps[row] = np.maximum(moved, _LAST_SEEN_WEIGHT * last)
    return overlaps


def _assign(fits: Float[np.ndarray, "track box"]) -> tuple[list[int], list[int]]:
    """Pairs of a track and a box that belong together."""
    fits = np.where(fits < _MIN_OVERLAP, 0, fits)
    rows, columns = linear_sum_assignment(fits, maximize=True)
    kept = fits[rows, columns] > 0
    return rows[kept].tolist(), columns[kept].tolist()


def _center(box: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 2"]:
    center: Float[np.ndarray, " 2"] = (box[:2] + box[2:]) / 2
    return center
