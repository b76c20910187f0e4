"""One row per person of a video: how long they are in it, and their mean scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypedDict

from mien.predict.results import Results
from mien.types import DIMENSIONS

__all__ = ["TRACK_COLUMNS", "TrackRow", "TrackSummaries", "summarize_tracks"]

TRACK_COLUMNS: Final = (
    "source", "track", "first_time", "last_time", "num_frames", "num_failed", "scores", *DIMENSIONS,
    "description",
)  # fmt: skip


class TrackRow(TypedDict):
    """A person of a video: how long they are in it, and their means over the frames with a prediction.

    Attributes:
        source: The path of the video.
        track: The number of the person in the video; None for a video in which no one is found.
        first_time: When the person is first seen, in seconds.
        last_time: When the person is last seen, in seconds.
        num_frames: In how many frames the person is; without a person, how many frames were read.
        num_failed: In how many of these frames the person could not be processed.
        scores: The mean score per label, from 0 to 1; empty without a prediction.
        valence: How pleasant the emotion appears, from 0 to 1; None if the model does not predict it.
        arousal: How excited the person appears, from 0 to 1; None if the model does not predict it.
        dominance: How much in control the person appears, from 0 to 1; None if the model does not predict it.
        description: What the vision-language model wrote about the frame in which the person is largest.
    """

    source: str
    track: int | None
    first_time: float
    last_time: float
    num_frames: int
    num_failed: int
    scores: dict[str, float]
    valence: float | None
    arousal: float | None
    dominance: float | None
    description: str | None


class _Summary:
    """Sums over the rows of one track."""

    def __init__(self, source: str, track: int | None) -> None:
        self.source, self.track = source, track
        self.times: list[float] = []
        self.num_frames = self.num_failed = self.num_scored = 0
        self.scores: dict[str, float] = {}
        self.dimensions: dict[str, float] = {}
        self.num_dimensions = 0
        self.description: str | None = None
        self.largest = 0.0

    def count(self, time: float) -> None:
        """Takes a frame, without a prediction."""
        self.times = [self.times[0] if self.times else time, time]
        self.num_frames += 1

    def add(self, row: Mapping[str, Any]) -> None:
        self.count(float(row["time"]))
        if row["status"] == "failed":
            self.num_failed += 1
            return
        self.num_scored += 1
        for name, value in row["scores"].items():
            self.scores[name] = self.scores.get(name, 0.0) + value
        if row[DIMENSIONS[0]] is not None:
            self.num_dimensions += 1
            for name in DIMENSIONS:
                self.dimensions[name] = self.dimensions.get(name, 0.0) + row[name]
        area = _area(row["box"])
        if row["description"] is not None and area > self.largest:
            self.description, self.largest = row["description"], area

    def to_row(self) -> TrackRow:
        first, last = self.times
        means = {name: value / self.num_dimensions for name, value in self.dimensions.items()}
        return {
            "source": self.source,
            "track": self.track,
            "first_time": first,
            "last_time": last,
            "num_frames": self.num_frames,
            "num_failed": self.num_failed,
            "scores": {name: value / self.num_scored for name, value in self.scores.items()},
            "valence": means.get("valence"),
            "arousal": means.get("arousal"),
            "dominance": means.get("dominance"),
            "description": self.description,
        }


class TrackSummaries:
    """Sums up videos while their results come, so that the results need not be held."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Summary] = {}
        self._frames: _Summary | None = None
        self._last: tuple[str, int] | None = None

    def add(self, results: Results) -> list[TrackRow]:
        """Takes the next results; returns the rows of the video that ended before them, if one did."""
        # The same video can be given twice in a row.
        is_next = (
            self._last is not None
            and results.source == self._last[0]
            and (results.frame is None or results.frame > self._last[1])
        )
        ended = [] if is_next else self.end()
        if results.frame is not None:
            self._last = (results.source, results.frame)
        if results.time is not None and results.error is None:
            self._frames = self._frames or _Summary(results.source, None)
            self._frames.count(results.time)
        for row in results.rows():
            if row.get("track") is not None and row["time"] is not None:
                self._tracks.setdefault(row["track"], _Summary(row["source"], row["track"])).add(row)
        return ended

    def end(self) -> list[TrackRow]:
        """The rows of the last video; one without a track if no one is in it."""
        found = [self._tracks[track] for track in sorted(self._tracks)]
        if not found and self._frames is not None:
            found = [self._frames]
        self._tracks, self._frames, self._last = {}, None, None
        return [summary.to_row() for summary in found]


def summarize_tracks(results: Iterable[Results]) -> Iterator[TrackRow]:
    """A row per track, video by video, in the order of the tracks.

    `scores` and the dimensions are means over the frames in which the person was seen. `description` is the
    one from the frame in which they were largest. A video in which no one is found has one row without a
    track.

    Args:
        results: In order; those of one video follow one another.
    """
    summaries = TrackSummaries()
    for item in results:
        yield from summaries.add(item)
    yield from summaries.end()


def _area(box: tuple[float, ...] | None) -> float:
    if box is None:
        return 0.0
    left, top, right, bottom = box
    return (right - left) * (bottom - top)
