"""What was read of the people in a video last: it holds until they are read again."""

from __future__ import annotations

from collections.abc import Set

from mien.errors import MienError
from mien.predict.track.smoothing import Smoother
from mien.types import Prediction

__all__ = ["Readings"]


class Readings:
    """The smoothed prediction, or the error, of each person of one video.

    Args:
        time_constant: Of the smoothing, in seconds.
    """

    def __init__(self, time_constant: float) -> None:
        self._time_constant = time_constant
        self._smoothers: dict[int, Smoother] = {}
        self._last: dict[int, Prediction | MienError] = {}

    def read(self, track: int, time: float, answer: Prediction | MienError) -> Prediction | MienError:
        """The answer, smoothed; an error is returned as it is, and leaves the scores unchanged."""
        if isinstance(answer, MienError):
            self._last.setdefault(track, answer)
            return answer
        smoother = self._smoothers.setdefault(track, Smoother(self._time_constant))
        smoothed = smoother.update(time, answer)
        self._last[track] = smoothed
        return smoothed

    def restore(self, track: int, time: float, answer: Prediction | MienError) -> None:
        """Takes over what `read` returned at this time in an earlier run."""
        if isinstance(answer, Prediction):
            smoother = self._smoothers[track] = Smoother(self._time_constant)
            smoother.update(time, answer)
            self._last[track] = answer
        else:
            self._last.setdefault(track, answer)

    def last(self, track: int) -> Prediction | MienError:
        """The last prediction of a person, or the error if there was none."""
        return self._last[track]

    def keep(self, tracks: Set[int]) -> None:
        """Forgets all other people."""
        self._smoothers = {track: item for track, item in self._smoothers.items() if track in tracks}
        self._last = {track: item for track, item in self._last.items() if track in tracks}
