"""The scores of each person of a video over time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mien.predict.annotate import person_color
from mien.predict.charts.chart import DASHES, INK, PALE, Chart, draw_chart, line, text, text_width

if TYPE_CHECKING:
    from mien.predict.results import Results

__all__ = ["timeline_chart"]

# Sizes in pixels.
_WIDTH: Final = 620  # of the lines
_LEFT: Final = 44  # to the left of them
_PANEL, _HEIGHT = 176, 110  # of a person, and of the lines in it
_TOP: Final = 34
_NAME: Final = 15  # least distance of two labels
_LEADER: Final = "#9aa3ab"  # color of the lines from an end to its name
_GAP: Final = 2.5  # frames: where a person is not seen for longer, lines are interrupted


@dataclass(slots=True)
class _Track:
    """One person: the scores of each frame, and the times at which they failed."""

    number: int
    points: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)


def timeline_chart(frames: Iterable[Results], *, top: int) -> Chart:
    """One panel per person of a video, from 0 to 1: the labels whose mean score is highest for anyone.

    Each label has a color, a pattern and its name at the end of its line. Lines are interrupted where the
    person is not seen, and a cross marks a frame in which they failed.

    Args:
        frames: The results of the frames of one video, in order.
        top: How many labels, at most as many as there are patterns.
    """
    tracks, times = _collect(frames)
    labels = _highest(tracks, min(top, len(DASHES)))
    start, end = (min(times), max(times)) if times else (0.0, 0.0)
    step = _usual_step(times)
    parts: list[str] = []
    for index, track in enumerate(tracks):
        panel = _Panel(start, max(end - start, step), step)
        parts.append(f'<g transform="translate(0,{index * _PANEL})">{"".join(panel.draw(track, labels))}</g>')
    height = max(40, len(tracks) * _PANEL)
    people = "1 person" if len(tracks) == 1 else f"{len(tracks)} people"
    width = _LEFT + _WIDTH + 90 + math.ceil(max([60.0, *map(text_width, labels)]))
    title = f"Scores of {people} from {start:.1f} to {end:.1f} s"
    return draw_chart(parts, width=width, height=height, title=title)


def _collect(frames: Iterable[Results]) -> tuple[list[_Track], list[float]]:
    tracks: dict[int, _Track] = {}
    times = []
    for results in frames:
        if results.time is None:
            continue
        times.append(results.time)
        for person in results:
            if person.track is None:
                continue
            track = tracks.setdefault(person.track, _Track(person.track))
            if person.prediction is None:
                track.failed.append(results.time)
            else:
                track.points.append((results.time, dict(person.scores)))
    return [tracks[number] for number in sorted(tracks)], times


def _highest(tracks: Sequence[_Track], count: int) -> tuple[str, ...]:
    """The labels with the highest mean in any track, in the order of the label set."""
    highest: dict[str, float] = {}
    for track in tracks:
        for label in track.points[0][1] if track.points else ():
            mean = sum(scores.get(label, 0.0) for _, scores in track.points) / len(track.points)
            highest[label] = max(mean, highest.get(label, 0.0))
    chosen = sorted(highest, key=lambda label: -highest[label])[:count]
    return tuple(label for label in highest if label in chosen)


def _usual_step(times: Sequence[float]) -> float:
    """The median time between two frames, in seconds."""
    steps = sorted(after - before for before, after in itertools.pairwise(times))
    return steps[len(steps) // 2] if steps else 1.0


class _Panel:
    """The axes of one person, and how times and scores are placed on them."""

    def __init__(self, start: float, seconds: float, step: float) -> None:
        self._start, self._seconds, self._step = start, seconds, step

    def draw(self, track: _Track, labels: Sequence[str]) -> list[str]:
        seen = [*(time for time, _ in track.points), *track.failed]
        span = f"{min(seen):.1f} to {max(seen):.1f} s"
        parts = [text(_LEFT, 20, f"Person {track.number}", bold=True), text(_LEFT + 76, 20, span, color=PALE)]
        parts += self._axes()
        for index, label in enumerate(labels):
            for run in self._runs(track):
                points = self._thin(
                    [(self._x(time), self._y(scores.get(label, 0.0))) for time, scores in run]
                )
                parts.append(line(points, color=person_color(index), width=2, dash=DASHES[index]))
        parts += [self._cross(time) for time in track.failed]
        return parts + self._names(track, labels)

    def _x(self, time: float) -> float:
        return _LEFT + _WIDTH * (time - self._start) / self._seconds

    def _y(self, score: float) -> float:
        return _TOP + _HEIGHT * (1 - score)

    def _axes(self) -> list[str]:
        parts = []
        for score in (0, 0.5, 1):
            y = self._y(score)
            parts += [
                line([(_LEFT, y), (_LEFT + _WIDTH, y)]),
                text(_LEFT - 8, y + 4, f"{score:g}", anchor="end"),
            ]
        every = next(
            (unit for unit in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800) if self._seconds / unit <= 10),
            3600,
        )
        for number in range(-(-int(self._start) // every), int((self._start + self._seconds) / every) + 1):
            x = self._x(number * every)
            if x >= _LEFT:
                parts.append(line([(x, _TOP + _HEIGHT), (x, _TOP + _HEIGHT + 5)], color=PALE))
                parts.append(text(x, _TOP + _HEIGHT + 20, f"{number * every} s", anchor="middle"))
        return parts

    def _runs(self, track: _Track) -> list[list[tuple[float, dict[str, float]]]]:
        """The frames without a gap between them."""
        runs: list[list[tuple[float, dict[str, float]]]] = []
        for time, scores in track.points:
            if not runs or time - runs[-1][-1][0] > _GAP * self._step:
                runs.append([])
            runs[-1].append((time, scores))
        return runs

    def _thin(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """At most two points per pixel; a single one becomes a short line."""
        thinned = [
            next(group) for _, group in itertools.groupby(points, key=lambda point: round(2 * point[0]))
        ]
        if thinned[-1] != points[-1]:
            thinned.append(points[-1])
        if len(thinned) == 1:
            x, y = thinned[0]
            return [(x - 1.5, y), (x + 1.5, y)]
        return thinned

    def _cross(self, time: float) -> str:
        x, y = self._x(time), self._y(0)
        return line([(x - 4, y - 4), (x + 4, y + 4)], color=INK, width=1.5) + line(
            [(x - 4, y + 4), (x + 4, y - 4)], color=INK, width=1.5
        )

    def _names(self, track: _Track, labels: Sequence[str]) -> list[str]:
        """The labels next to the ends of their lines, moved apart, each with a piece of its line."""
        if not track.points:
            return [text(_LEFT + _WIDTH + 12, self._y(0) + 4, "failed", color=PALE)]
        time, scores = track.points[-1]
        ordered = sorted(range(len(labels)), key=lambda index: -scores.get(labels[index], 0.0))
        wanted = [self._y(scores.get(labels[index], 0.0)) for index in ordered]
        places = _apart(wanted, low=_TOP, high=_TOP + _HEIGHT)
        parts, right = [], _LEFT + _WIDTH
        for index, y, end in zip(ordered, places, wanted, strict=True):
            color = person_color(index)
            if right - self._x(time) < 40:  # the line ends here
                parts.append(line([(self._x(time), end), (right + 8, y)], color=_LEADER))
            parts.append(line([(right + 8, y), (right + 34, y)], color=color, width=2, dash=DASHES[index]))
            parts.append(text(right + 40, y + 4, f"{labels[index]} {scores.get(labels[index], 0.0):.2f}"))
        return parts


def _apart(wanted: Sequence[float], *, low: float, high: float) -> list[float]:
    """Places from top to bottom, near the wanted ones and at least a line of text apart."""
    places: list[float] = []
    for y in wanted:
        places.append(max(y, places[-1] + _NAME) if places else max(y, low))
    over = places[-1] - high if places else 0.0
    if over > 0:
        places[-1] -= over
        for index in range(len(places) - 2, -1, -1):
            places[index] = min(places[index], places[index + 1] - _NAME)
    return places
