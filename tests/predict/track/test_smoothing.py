"""Scores over time: exponential smoothing that is correct for irregular intervals, and a row per track."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from mien.errors import DataError
from mien.predict.results import Person, Results
from mien.predict.track.smoothing import Smoother
from mien.predict.track.summary import TRACK_COLUMNS, summarize_tracks
from mien.types import Box, Description, ImageRef, Prediction


def reading(score: float, valence: float | None = None) -> Prediction:
    dimensions = None if valence is None else {"valence": valence, "arousal": 0.5, "dominance": 0.5}
    return Prediction(
        subject_id="a", label_set="own", scores={"calm": score, "sad": 1 - score}, dimensions=dimensions
    )


def test_the_past_fades_by_e_in_a_time_constant() -> None:
    smoother = Smoother(2.0)
    assert smoother.update(5.0, reading(1.0, 1.0)).scores["calm"] == 1
    smoothed = smoother.update(7.0, reading(0.0, 0.0))
    assert smoothed.scores["calm"] == pytest.approx(math.exp(-1))
    assert sum(smoothed.scores.values()) == pytest.approx(1)
    assert smoothed.dimensions is not None
    assert smoothed.dimensions["valence"] == pytest.approx(math.exp(-1))


def test_many_short_steps_forget_as_much_as_one_long_one() -> None:
    one, many = Smoother(1.5), Smoother(1.5)
    for smoother in (one, many):
        smoother.update(0, reading(0.9))
    for time in (0.1, 0.15, 1.0, 1.01, 2.9):
        many.update(time, reading(0.2))
    assert many.update(3, reading(0.2)).scores["calm"] == pytest.approx(
        one.update(3, reading(0.2)).scores["calm"]
    )


def test_without_a_time_constant_nothing_is_smoothed() -> None:
    smoother = Smoother(0)
    smoother.update(0, reading(0.9))
    assert smoother.update(0.1, reading(0.2)).scores["calm"] == 0.2


def results(source: str, frame: int | None, *people: Person) -> Results:
    image = ImageRef(path=Path(source))
    return Results(source=source, image=image, frame=frame, time=frame, people=people)


def person(
    track: int, calm: float | None, *, width: float = 10, text: str = "", valence: float | None = None
) -> Person:
    found = None if calm is None else reading(calm, valence)
    if found is not None and text:
        description = Description(key="", subject_id="a", text=text, prompt_id="", engine="", finish="stop")
        found = replace(found, description=description)
    box = Box(left=0, top=0, right=width, bottom=20)
    error = DataError("broken") if found is None else None
    return Person(id=0, box=box, box_source="detected", track=track, prediction=found, error=error)


def test_a_track_has_one_row_with_means_over_its_frames() -> None:
    frames = [
        results("photo.jpg", None),
        results("a.mp4", 0, person(1, 0.2, text="small"), person(0, 0.9, valence=0.4)),
        results("a.mp4", 1, person(1, 0.4, text="large", width=20)),
        results("a.mp4", 2),
        results("a.mp4", 3, person(1, None)),
        results("a.mp4", 0, person(0, 0.1)),
        results("b.mp4", 5, person(0, 0.3)),
    ]
    first, second, again, other = summarize_tracks(frames)
    assert tuple(first) == TRACK_COLUMNS
    assert (first["track"], first["num_frames"], first["valence"]) == (0, 1, 0.4)
    assert (second["first_time"], second["last_time"]) == (0, 3)
    assert (second["num_frames"], second["num_failed"]) == (3, 1)
    assert second["scores"]["calm"] == pytest.approx(0.3)
    assert second["description"] == "large"
    assert (again["source"], again["scores"]["calm"]) == ("a.mp4", 0.1)
    assert other["source"] == "b.mp4"
