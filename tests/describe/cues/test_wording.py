"""Sentences: counts, places, hedges."""

from dataclasses import replace

import pytest

from mien.describe.cues.coco import CLASSES, count_noun
from mien.describe.cues.detectors import Found
from mien.describe.cues.geometry import Edges, relate
from mien.describe.cues.posture import Posture
from mien.describe.cues.scene import Neighbor, Portrait, Scene
from mien.describe.cues.wording import describe_scene

SUBJECT: Edges = (40, 30, 60, 70)
PORTRAIT = Portrait(box=SUBJECT, is_boxed=True, score=0.9, face=None, posture=None)
ALONE = Scene(
    size=(100, 100), subject=PORTRAIT, people=(), things=(), reads_faces=False, reads_postures=False
)


def neighbor(box: Edges, name: str = "person", score: float = 0.9) -> Neighbor:
    return Neighbor(found=Found(name=name, box=box, score=score), relation=relate(SUBJECT, box))


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((62, 30, 82, 70), "One other person is close to them on the right."),
        ((10, 30, 30, 70), "One other person is at some distance from them on the left."),
        ((50, 35, 70, 75), "One other person is right next to them on the right."),
        ((35, 20, 75, 90), "One other person is right in front of them."),
        ((45, 30, 55, 48), "One other person is right behind them."),
        ((95, 30, 100, 40), "One other person is far behind them on the right."),
    ],
)
def test_where_another_person_is(box: Edges, said: str) -> None:
    assert said in describe_scene(replace(ALONE, people=(neighbor(box),)))


def test_people_are_counted_and_the_nearest_placed() -> None:
    near, far = neighbor((62, 30, 82, 70)), neighbor((95, 30, 100, 40))
    two = describe_scene(replace(ALONE, people=(near, far)))
    nearest = "One is close to them on the right; one is far behind them on the right."
    assert f"There are two other people. {nearest}" in two
    many = describe_scene(replace(ALONE, people=(near, *[far] * 3)))
    assert "There are four other people. Of the nearest, one is close to" in many
    unsure = neighbor((95, 30, 100, 40), score=0.4)
    assert "There is one other person, and perhaps two more." in describe_scene(
        replace(ALONE, people=(near, unsure, unsure))
    )
    assert "There are perhaps two other people." in describe_scene(replace(ALONE, people=(unsure, unsure)))
    assert "Perhaps one other person is far" in describe_scene(replace(ALONE, people=(unsure,)))
    assert "There are many other people." in describe_scene(replace(ALONE, people=(near,) * 11))
    assert "No one else was found." in describe_scene(ALONE)


def test_things_are_grouped_by_how_near_they_are() -> None:
    things = (
        neighbor((45, 45, 55, 55), "umbrella"),
        neighbor((62, 60, 70, 70), "chair"),
        neighbor((62, 60, 70, 70), "chair"),
        neighbor((62, 50, 70, 60), "bus", 0.4),
        neighbor((90, 0, 100, 10), "knife"),
        neighbor((90, 0, 100, 10), "knife", 0.4),
    )
    text = describe_scene(replace(ALONE, things=things))
    assert "Right by them is an umbrella." in text
    assert "Close to them are two chairs and perhaps a bus." in text
    assert "Elsewhere in the image are at least a knife." in text


def test_the_name_of_the_subject_follows_the_marking() -> None:
    assert describe_scene(ALONE).startswith("The person in the red box is of medium size, in the middle")
    assert describe_scene(ALONE, boxed_name=False).startswith("The main person is of medium size")
    unboxed = replace(ALONE, subject=replace(PORTRAIT, is_boxed=False))
    assert describe_scene(unboxed).startswith("The main person")
    assert describe_scene(replace(ALONE, subject=replace(PORTRAIT, score=None)), boxed_name=False).startswith(
        "No person was found at the marked place"
    )


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((0, 0, 90, 90), "close up, and fills much of the image"),
        ((0, 0, 30, 60), "large, on the left of the image"),
        ((80, 0, 90, 10), "small, on the right of the image"),
    ],
)
def test_where_the_subject_is(box: Edges, said: str) -> None:
    assert said in describe_scene(replace(ALONE, subject=replace(PORTRAIT, box=box)))


def test_a_person_with_a_low_score_is_hard_to_make_out() -> None:
    text = describe_scene(replace(ALONE, subject=replace(PORTRAIT, score=0.35)))
    assert text.startswith("The person in the red box is hard to make out, and is of medium size")


@pytest.mark.parametrize(
    ("posture", "said"),
    [
        (Posture(stance="sit", details=(), is_sure=True), "They sit."),
        (Posture(stance="sit", details=("a", "b", "c"), is_sure=False), "They seem to sit with a, b and c."),
        (Posture(stance=None, details=("the arms down",), is_sure=True), "They have the arms down."),
        (Posture(stance=None, details=("a",), is_sure=False), "They seem to have a."),
        (Posture(stance=None, details=(), is_sure=True), "Their posture cannot be made out."),
        (None, "Their posture cannot be made out."),
    ],
)
def test_postures(posture: Posture | None, said: str) -> None:
    scene = replace(ALONE, subject=replace(PORTRAIT, posture=posture), reads_postures=True)
    assert said in describe_scene(scene)


def test_every_class_has_a_singular_and_a_plural() -> None:
    assert len(set(CLASSES)) == 80
    assert CLASSES[0] == "person"
    nouns = ["person", "umbrella", "pair of skis", "bus", "couch", "knife", "wine glass", "sheep"]
    assert [count_noun(noun, 1) for noun in nouns[:3]] == ["a person", "an umbrella", "a pair of skis"]
    assert [count_noun(noun, 2) for noun in nouns] == [
        *("two people", "two umbrellas", "two pairs of skis", "two buses", "two couches", "two knives"),
        *("two wine glasses", "two sheep"),
    ]
    assert count_noun("dog", 11) == "many dogs"
