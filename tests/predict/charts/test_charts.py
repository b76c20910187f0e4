"""Charts of results: well-formed, complete, escaped, and readable without colors."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

from mien.errors import DataError, UsageError
from mien.predict.charts.chart import DASHES, Chart
from mien.predict.results import Person, Results
from mien.types import ImageRef, Prediction

SVG = "{http://www.w3.org/2000/svg}"


def person(
    number: int,
    scores: Mapping[str, float] | None,
    dimensions: tuple[float, float, float] | None = None,
    track: int | None = None,
) -> Person:
    prediction = None
    if scores is not None:
        names = ("valence", "arousal", "dominance")
        prediction = Prediction(
            subject_id=str(number),
            label_set="own",
            scores=scores,
            dimensions=None if dimensions is None else dict(zip(names, dimensions, strict=True)),
            thresholds=dict.fromkeys(scores, 0.25),
        )
    error = DataError("broken") if scores is None else None
    return Person(id=number, box=None, box_source="whole", prediction=prediction, error=error, track=track)


def results(*people: Person, time: float | None = None, source: str = "a.png") -> Results:
    frame = None if time is None else round(10 * time)
    return Results(source=source, image=ImageRef(path=Path(source)), people=people, time=time, frame=frame)


def parse(chart: Chart) -> ET.Element:
    return ET.fromstring(chart.svg)  # noqa: S314  our own text


def texts(chart: Chart) -> list[str]:
    return ["".join(element.itertext()) for element in parse(chart).iter(f"{SVG}text")]


def points(element: ET.Element) -> list[tuple[float, ...]]:
    return [tuple(map(float, place.split(","))) for place in element.get("points", "").split()]


def test_a_radar_has_the_highest_labels_of_all_people_as_axes() -> None:
    people = [
        person(0, {"calm": 0.9, "<sad>": 0.1, "low": 0.05, "tired": 0.2}),
        person(1, {"calm": 0.2, "<sad>": 0.8, "low": 0.05, "tired": 0.3}),
        person(2, None),
    ]
    chart = results(*people).plot("radar", top=3)
    found = texts(chart)
    for name in ("calm", "<sad>", "tired"):
        assert found.count(name) == 2
    assert "low" not in found
    assert {"Person 0", "Person 1", "Person 2 (failed)", "0.90", "0.80"} <= {*found}
    first, second = (points(element) for element in parse(chart).iter(f"{SVG}polygon"))
    # The first axis points up: 0.9 of the radius, and 0.2 of it.
    middle = 0.9 * (second[0][1] - first[0][1]) / 0.7 + first[0][1]
    assert (first[0][1] - middle) / (second[0][1] - middle) == pytest.approx(0.9 / 0.2, rel=0.05)
    assert len(first) == 3


def test_a_radar_of_one_label_of_no_one_and_of_long_labels() -> None:
    assert texts(results(person(0, {"calm": 0.5})).plot("radar")).count("calm") == 1
    assert texts(results().plot("radar")) == []
    long = "a label of one's own that is much longer than others"
    chart = results(person(0, {long: 0.5, "b": 0.1, "c": 0.2}), person(1, {long: 0.1})).plot("radar")
    assert float(parse(chart).get("width", "0")) > 2 * 7 * len(long)


def test_the_plane_places_people_by_valence_and_arousal_and_names_each() -> None:
    people = [
        person(0, {"a": 0.1}, (0.0, 1.0, 0.25)),
        person(1, {"a": 0.1}, (1.0, 0.0, 1.0)),
        person(2, {"a": 0.1}),
        person(3, None),
    ]
    chart = results(*people).plot("vad")
    found = texts(chart)
    assert {"valence", "arousal", "dominance", "Person 0", "Person 1"} <= {*found}
    assert "Person 2: no dimensions" in found
    assert "Person 3 (failed): no dimensions" in found
    circles = [
        element for element in parse(chart).iter(f"{SVG}circle") if element.find(f"{SVG}title") is not None
    ]
    large, small = circles  # in this order, so that none is covered
    assert float(large.get("r", "")) == pytest.approx(2 * float(small.get("r", "")))  # the area is dominance
    x = [float(circle.get("cx", "")) for circle in (small, large)]
    y = [float(circle.get("cy", "")) for circle in (small, large)]
    assert x[0] + 360 == x[1]
    assert y[0] + 360 == y[1]
    assert "valence 0.0/10" in "".join(small.itertext())


def test_names_in_the_plane_do_not_cover_each_other() -> None:
    people = [person(n, {"a": 0.1}, (0.5 + 0.004 * n, 0.5, 0.3)) for n in range(8)]
    chart = results(*people).plot("vad")
    places = [
        (float(element.get("x", "")), float(element.get("y", "")))
        for element in parse(chart).iter(f"{SVG}text")
        if (element.text or "").startswith("Person")
    ]
    assert len(places) == 8
    for index, (x, y) in enumerate(places):
        assert all(abs(x - other[0]) > 50 or abs(y - other[1]) > 12 for other in places[:index])


def frames() -> list[Results]:
    """Two people for ten seconds: one is away for three of them and fails once, and one leaves."""
    found = [results(person(0, {"of": 1.0, "another": 0.5}, track=0), time=0.0, source="b.mp4")]
    for step in range(50):
        time, people = step / 5, []
        if not 4 <= time < 7:
            people.append(
                person(0, None if step == 5 else {"calm": 0.9, "sad": time / 10, "low": 0.01}, track=0)
            )
        if time < 3:
            people.append(person(1, {"calm": 0.1, "sad": 0.8, "low": 0.02}, track=1))
        found.append(results(*people, time=time, source="a.mp4"))
    return found


def test_a_timeline_has_a_panel_per_person_and_lines_with_patterns_and_names() -> None:
    other, *video = frames()
    chart = video[0].plot("timeline", top=2, frames=[other, *video])
    found = texts(chart)
    assert {"Person 0", "0.0 to 9.8 s", "Person 1", "0.0 to 2.8 s"} <= {*found}
    assert {"calm 0.90", "sad 0.98", "calm 0.10", "sad 0.80"} <= {*found}
    assert not any("low" in words or "another" in words for words in found)
    panels = list(parse(chart).iter(f"{SVG}g"))
    lines = [
        [element for element in panel.iter(f"{SVG}polyline") if element.get("stroke-width") == "2"]
        for panel in panels
    ]
    # Of each label a piece next to its name, and one line for each time without a gap of several frames.
    assert [len(panel) for panel in lines] == [2 * (1 + 2), 2 * (1 + 1)]
    for panel in lines:
        patterns = {element.get("stroke"): element.get("stroke-dasharray") for element in panel}
        assert len(patterns) == len({*patterns.values()}) == 2
    crosses = [element for element in panels[0] if element.get("stroke-width") == "1.5"]
    assert len(crosses) == 2


def test_a_timeline_is_of_at_most_as_many_labels_as_there_are_patterns() -> None:
    scores = {f"label {n}": n / 20 for n in range(20)}
    video = [results(person(0, scores, track=0), time=n / 5, source="a.mp4") for n in range(5)]
    names = [words for words in texts(video[0].plot("timeline", top=20, frames=video)) if "label" in words]
    assert names == [f"label {n} {n / 20:.2f}" for n in range(19, 19 - len(DASHES), -1)]


def test_a_timeline_of_an_hour_is_not_larger_than_the_screen_can_show() -> None:
    hour = [
        results(person(0, {"calm": (n % 7) / 7}, track=0), time=n / 5, source="a.mp4")
        for n in range(5 * 3600)
    ]
    chart = hour[0].plot("timeline", frames=hour)
    assert len(chart.svg) < 40_000
    assert any(re.fullmatch(r"\d+ s", words) for words in texts(chart))


def test_a_timeline_of_failures_and_of_no_one() -> None:
    video = [results(person(0, None, track=0), time=n / 5, source="a.mp4") for n in range(3)]
    assert "failed" in texts(video[0].plot("timeline", frames=video))
    empty = [results(time=0.0, source="a.mp4")]
    assert texts(empty[0].plot("timeline", frames=empty)) == []
    assert texts(empty[0].plot("timeline", frames=[])) == []


def test_charts_that_cannot_be_drawn_are_refused() -> None:
    one = results(person(0, {"calm": 0.5}))
    with pytest.raises(UsageError, match="kind of chart 'pie'"):
        one.plot("pie")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs the frames of a video") as raised:
        one.plot("timeline")
    assert "frames=frames" in raised.value.hint
    with pytest.raises(UsageError, match="a chart of 0 labels"):
        one.plot(top=0)


def test_long_labels_of_bars_have_room() -> None:
    long = "a label of one's own that is much longer than others"
    wide, narrow = (parse(results(person(0, {label: 0.5})).plot()) for label in (long, "calm"))
    assert narrow.get("width") == "460"
    label = next(element for element in wide.iter(f"{SVG}text") if element.text == long)
    assert float(label.get("x", "")) >= 7 * len(long)
