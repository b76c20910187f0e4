"""Which of a model's proposals become people: suppression, limits, order."""

import logging

import numpy as np
import pytest

from mien.errors import ConfigError, EngineError
from mien.predict.detect.detector import Detection, DetectorOptions
from mien.predict.detect.selection import select_detections
from mien.types import Box

SIZE = (100, 80)
OPTIONS = DetectorOptions(min_score=0.3, min_size=4)
Edges = tuple[float, float, float, float]


def select(*proposals: tuple[Edges, float], options: DetectorOptions = OPTIONS) -> tuple[Detection, ...]:
    boxes = np.array([box for box, _ in proposals], np.float32).reshape(-1, 4)
    return select_detections(boxes, np.array([score for _, score in proposals], np.float32), SIZE, options)


def edges_of(people: tuple[Detection, ...]) -> list[Edges]:
    return [person.box.as_tuple() for person in people if person.box is not None]


def test_without_proposals_there_are_no_people() -> None:
    assert select() == ()


def test_people_come_by_falling_score_and_then_by_position() -> None:
    people = select(
        ((30, 0, 50, 20), 0.5), ((10, 9, 20, 30), 0.5), ((0, 0, 9, 9), 0.8), ((10, 2, 20, 30), 0.5)
    )
    assert [person.score for person in people] == [0.8, 0.5, 0.5, 0.5]
    assert edges_of(people) == [(0, 0, 9, 9), (10, 2, 20, 30), (10, 9, 20, 30), (30, 0, 50, 20)]


def test_a_crowd_is_returned_whole() -> None:
    crowd = [
        ((10.0 * (n % 10), 12.0 * (n // 10), 10.0 * (n % 10) + 9, 12.0 * (n // 10) + 11), 0.5)
        for n in range(60)
    ]
    assert len(select(*crowd)) == 60


def test_a_score_reaches_the_least_one_after_rounding() -> None:
    assert [person.score for person in select(((0, 0, 9, 9), 0.29996), ((0, 0, 9, 9), 0.29994))] == [0.3]


def test_boxes_are_clipped_to_the_image_and_rounded_to_whole_pixels() -> None:
    assert edges_of(select(((-20, 3.4, 30.5, 200), 0.9))) == [(0, 3, 31, 80)]


@pytest.mark.parametrize("box", [(-30, 0, -10, 20), (100, 0, 140, 20), (0, 90, 20, 120), (20, 20, 10, 40)])
def test_boxes_outside_of_the_image_and_inverted_ones_are_left_out(box: Edges) -> None:
    assert select((box, 0.9), options=DetectorOptions(min_score=0, min_size=1)) == ()


def test_what_is_too_small_inside_of_the_image_is_left_out() -> None:
    proposals: list[tuple[Edges, float]] = [
        ((0, 0, 4, 40), 0.9),
        ((0, 0, 3, 40), 0.8),
        ((97, 0, 120, 40), 0.7),
    ]
    assert edges_of(select(*proposals)) == [(0, 0, 4, 40)]


def test_a_box_of_the_least_size_remains_wherever_it_is_rounded() -> None:
    tiny = DetectorOptions(min_score=0, min_size=1)
    for tenth in range(30):
        assert len(select(((tenth / 10, 3.5, tenth / 10 + 1, 4.5), 0.9), options=tiny)) == 1


def test_duplicates_are_suppressed_only_if_asked_for() -> None:
    proposals: list[tuple[Edges, float]] = [
        ((0, 0, 20, 20), 0.6),
        ((0, 0, 20, 18), 0.9),
        ((60, 0, 80, 20), 0.4),
    ]
    assert len(select(*proposals)) == 3
    once = select(*proposals, options=OPTIONS.with_defaults(min_score=1, max_overlap=0.5))
    assert edges_of(once) == [(0, 0, 20, 18), (60, 0, 80, 20)]


def test_a_limit_keeps_the_surest_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    people = [((10.0 * n, 0.0, 10.0 * n + 9, 20.0), 0.3 + n / 10) for n in range(6)]
    limited = DetectorOptions(min_score=0.3, max_people=2)
    with caplog.at_level(logging.WARNING, logger="mien"):
        assert [person.score for person in select(*people, options=limited)] == [0.8, 0.7]
    assert [record.getMessage() for record in caplog.records] == [
        "found 6 people in an image; only the 2 with the highest scores are returned (max_people)"
    ]
    caplog.clear()
    assert len(select(*people[:2], options=limited)) == 2
    assert caplog.records == []


@pytest.mark.parametrize("box", [(0, 0, np.nan, 9), (0, 0, np.inf, 9)])
def test_a_box_that_is_not_finite_is_an_error_unless_its_score_is_low(box: Edges) -> None:
    assert select((box, 0.2)) == ()
    with pytest.raises(EngineError, match="not finite"):
        select((box, 0.9))


def test_a_score_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(EngineError, match="not finite"):
        select(((0, 0, 9, 9), np.nan))


def test_bodies_are_made_after_suppression() -> None:
    faces = np.array([[10.0, 10, 20, 20], [11, 10, 21, 20], [30, 10, 40, 20]])
    people = select_detections(
        faces,
        np.array([0.9, 0.8, 0.7]),
        SIZE,
        DetectorOptions(min_score=0.5, max_overlap=0.3),
        widen=lambda boxes: boxes + np.array([-10, 0, 10, 40]),
    )
    assert people == (
        Detection(box=Box(left=0, top=10, right=30, bottom=60), score=0.9),
        Detection(box=Box(left=20, top=10, right=50, bottom=60), score=0.7),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_score", -0.1),
        ("min_score", 1.5),
        ("min_score", float("nan")),
        ("max_overlap", 2.0),
        ("min_size", 0),
        ("min_size", float("nan")),
        ("max_people", 0),
    ],
)
def test_an_option_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} of a detector is {value}"):
        DetectorOptions(**{name: value})  # type: ignore[arg-type]
