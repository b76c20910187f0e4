"""The play: the same seed gives the same scene, rules reach every label, words say what is on stage."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.labels import CAERS, EMOTIC
from mien.playhouse import text as words
from mien.playhouse.draw import SIZE, draw_scene, draw_with_person_map
from mien.playhouse.rules import annotate, score_basic_emotions, score_dimensions, score_emotions
from mien.playhouse.scene import (
    ABSENT_FROM_TRAIN,
    COLORS,
    EXPRESSIONS,
    GARMENTS,
    PLACES,
    POSES,
    SKINS,
    sample_scene,
)

SEEDS = st.integers(0, 2**32)


def test_the_theatre_is_varied_enough() -> None:
    assert len(PLACES) >= 10
    assert min(len(EXPRESSIONS), len(POSES), len(SKINS)) >= 6
    assert len(ABSENT_FROM_TRAIN) * 3 == len(PLACES) * len(EXPRESSIONS)
    for place in PLACES:
        assert {pair[1] for pair in ABSENT_FROM_TRAIN if pair[0] == place} != set(EXPRESSIONS)
    for face in EXPRESSIONS:  # every face is known from some place
        assert {pair[0] for pair in ABSENT_FROM_TRAIN if pair[1] == face} != set(PLACES)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_same_seed_same_pixels_and_opinions(seed: int) -> None:
    first, second = (sample_scene(random.Random(seed)) for _ in range(2))
    assert first == second
    assert draw_scene(first).image.tobytes() == draw_scene(second).image.tobytes()
    assert annotate(first, random.Random(seed)) == annotate(second, random.Random(seed))


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_every_person_is_inside_their_box(seed: int) -> None:
    scene = sample_scene(random.Random(seed), even=True)
    drawing, layer = draw_with_person_map(scene)
    owner = np.asarray(layer)
    assert drawing.image.size == (SIZE, SIZE)
    for index, box in enumerate(drawing.boxes):
        rows, columns = np.nonzero(owner == index + 1)
        assert len(rows) > 500  # nobody is hidden by somebody else
        slack = 0.05 * SIZE  # the tip of a cap or of a shoe may stick out
        assert columns.min() >= box.left - slack
        assert columns.max() < box.right + slack
        assert rows.min() >= box.top - slack
        assert rows.max() < box.bottom + slack


def test_drawing_in_layers_draws_the_same_picture() -> None:
    scene = sample_scene(random.Random(5))
    assert draw_with_person_map(scene)[0].image.tobytes() == draw_scene(scene).image.tobytes()


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_company_and_clothes_hang_together(seed: int) -> None:
    scene = sample_scene(random.Random(seed))
    roles = [person.role for person in scene.people]
    colors = [person.color for person in scene.people]
    assert len(set(colors)) == len(colors), "clothes must tell people apart"
    assert roles.count("shouting") == roles.count("shouted_at") <= 1
    assert roles.count("comforting") == roles.count("comforted") <= 1
    assert (roles == ["alone"]) == (len(roles) == 1)
    assert 1 <= len(roles) <= 3


def test_nothing_but_the_box_tells_who_is_the_subject() -> None:
    rng = random.Random(1)
    scenes = [scene for scene in (sample_scene(rng) for _ in range(12_000)) if len(scene.people) == 2]
    left = np.mean([scene.subject == 0 for scene in scenes])
    taller = np.mean([scene.person.height == max(p.height for p in scene.people) for scene in scenes])
    shouting = [scene for scene in scenes if scene.company == "shouting"]
    shouter = np.mean([scene.person.role == "shouting" for scene in shouting])
    for share, count in ((left, len(scenes)), (taller, len(scenes)), (shouter, len(shouting))):
        assert abs(share - 0.5) < 4 * 0.5 / count**0.5


def test_the_same_tears_mean_grief_by_a_coffin_and_joy_beside_a_trophy() -> None:
    rng = random.Random(0)
    crying: dict[str, dict[str, float]] = {}
    while set(crying) != {"funeral", "award"}:
        scene = sample_scene(rng, even=True)
        if (
            scene.person.expression == "crying"
            and scene.person.role == "alone"
            and scene.place in ("funeral", "award")
        ):
            crying[scene.place] = score_emotions(scene.place, scene.person)
    assert max(crying["funeral"], key=crying["funeral"].__getitem__) in ("Sadness", "Suffering")
    assert crying["award"]["Happiness"] > crying["award"]["Sadness"]
    assert crying["funeral"]["Sadness"] > crying["funeral"]["Happiness"]


def test_labels_have_a_long_tail_and_none_is_out_of_reach() -> None:
    rng = random.Random(3)
    ticked: Counter[str] = Counter()
    for _ in range(4000):
        for annotation in annotate(sample_scene(rng), rng):
            assert annotation.labels
            assert annotation.dimensions is not None
            assert all(1 <= value <= 10 for value in annotation.dimensions)
            ticked.update(annotation.labels)
    assert set(ticked) == set(EMOTIC.labels)
    counts = sorted(ticked.values())
    assert counts[-1] > 15 * counts[0]


def test_annotators_disagree() -> None:
    rng = random.Random(4)
    scenes = [sample_scene(rng) for _ in range(300)]
    same = [len({annotation.labels for annotation in annotate(scene, rng)}) == 1 for scene in scenes]
    assert 0.0 < np.mean(same) < 0.5


def test_dimensions_follow_the_play() -> None:
    rng = random.Random(2)
    happy: list[float] = []
    sad: list[float] = []
    for _ in range(2000):
        scene = sample_scene(rng)
        if scene.person.expression in ("smiling", "crying"):
            (happy if scene.person.expression == "smiling" else sad).append(
                score_dimensions(scene.place, scene.person)[0]
            )
    assert np.mean(happy) > np.mean(sad) + 3


def test_basic_emotions_are_caers_classes() -> None:
    scene = sample_scene(random.Random(0))
    assert tuple(score_basic_emotions(score_emotions(scene.place, scene.person))) == CAERS.labels


@given(SEEDS, st.sampled_from([words.WHO_BOXED, words.WHO_MAIN]))
@settings(max_examples=200, deadline=None)
def test_a_description_says_what_is_seen(seed: int, who: str) -> None:
    scene = sample_scene(random.Random(seed), even=True)
    text = words.describe_emotions(scene, score_emotions(scene.place, scene.person), who)
    assert words.parse_description(text) == {
        "place": scene.place,
        "expression": scene.person.expression,
        "pose": scene.person.pose,
        "clothes": words.describe_clothes(scene.person),
    }
    assert 2 <= text.count(".") <= 4
    assert who in text


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_a_caption_tells_no_feeling_no_face_and_no_subject(seed: int) -> None:
    scene = sample_scene(random.Random(seed), even=True)
    text = words.describe_scene(scene)
    read = words.parse_description(text)
    assert read["place"] == scene.place
    assert read["expression"] is None
    assert read["pose"] is None
    assert "box" not in text
    assert not [label for label in EMOTIC.labels if label in text]
    assert all(words.describe_clothes(person) in text for person in scene.people)


@pytest.mark.parametrize("text", ["", "Nothing of the kind.", "wears a"])
def test_reading_a_text_that_says_nothing(text: str) -> None:
    assert set(words.parse_description(text).values()) == {None}


def test_colours_have_words() -> None:
    assert set(words.GARMENT_PHRASES) == set(GARMENTS)
    assert len(set(COLORS)) == len(COLORS) == 8
