"""The rules: appraisals and cues move scores, and annotators are about as unlike each other as EMOTIC's."""

import random
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mien.labels import CAERS, EMOTIC
from mien.playhouse.appraisals import (
    BY_CUE,
    BY_EXPRESSION_AND_CUE,
    DIMENSIONS_BY_CUE,
    LABEL_BIAS,
)
from mien.playhouse.rules import (
    THRESHOLD,
    Observation,
    SimulatedAnnotation,
    annotate,
    observe,
    score_basic_emotions,
    score_dimensions,
    score_emotions,
)
from mien.playhouse.scene import EXPRESSIONS, Scene, sample_scene
from mien.playhouse.situations import NOTHING, Situation

NEUTRAL = {
    *("strength 2", "turn front", "tilt upright", "age adult", "light day", "weather dry"),
    "role alone",  # "closeness alone" says the same
}


def _see(setting: str, occasion: str, item: str, expression: str, *cues: str) -> Observation:
    return Observation(situation=Situation(setting, occasion, item), expression=expression, cues=cues)


@cache
def _annotated(count: int = 1500) -> list[tuple[Scene, tuple[SimulatedAnnotation, ...]]]:
    """Scenes as in the test split, each with five annotators."""
    rng = random.Random(3)
    scenes = [sample_scene(rng) for _ in range(count)]
    return [(scene, annotate(scene, rng, 5)) for scene in scenes]


@cache
def _ticks() -> np.ndarray:
    """[scene, annotator, label]: 1 if the label is ticked."""
    return np.array([[EMOTIC.encode(item.labels) for item in row] for _, row in _annotated()])


# --- Scores --------------------------------------------------------------------------------------------


def test_the_same_tears_mean_grief_at_a_funeral_and_joy_at_a_homecoming() -> None:
    funeral = score_emotions(_see("church", "funeral", NOTHING, "crying", "sign tears"))
    homecoming = score_emotions(_see("airport", "homecoming", NOTHING, "crying", "sign tears"))
    assert max(funeral, key=funeral.__getitem__) == "Sadness"
    assert max(homecoming, key=homecoming.__getitem__) != "Sadness"
    assert homecoming["Happiness"] > homecoming["Sadness"]
    assert funeral["Sadness"] > funeral["Happiness"] + THRESHOLD


def test_the_same_gift_differs_between_occasions() -> None:
    birthday = score_emotions(_see("hall", "birthday", "gift", "smiling"))
    inspection = score_emotions(_see("airport", "inspection", "gift", "smiling"))
    assert birthday["Happiness"] > THRESHOLD > inspection["Happiness"]


def test_what_is_seen_is_that_of_the_subject() -> None:
    scene = next(scene for scene, _ in _annotated() if len(scene.people) == 3)
    for index, person in enumerate(scene.people):
        seen = observe(replace(scene, subject=index))
        assert seen.situation == (scene.setting, scene.occasion, person.item)
        assert seen.expression == person.expression
        assert {f"pose {person.pose}", f"role {person.role}", f"strength {person.strength}"} <= set(seen.cues)
        others = [f"others {other.expression}" for other in scene.people if other is not person]
        assert sorted(cue for cue in seen.cues if cue.startswith("others ")) == sorted(others)


def test_a_drowsy_person_has_no_gaze() -> None:
    for scene, _ in _annotated():
        gazes = [cue for cue in observe(scene).cues if cue.startswith("gaze ")]
        assert len(gazes) == (scene.person.expression != "drowsy")


def test_every_cue_of_a_scene_moves_a_score_or_is_neutral() -> None:
    seen = {cue for scene, _ in _annotated() for cue in observe(scene).cues}
    plain = _see("park", "ordinary", NOTHING, "blank")
    for cue in sorted(seen):
        moved = False
        for expression in EXPRESSIONS:
            without = replace(plain, expression=expression)
            with_cue = replace(without, cues=(cue,))
            moved |= score_emotions(with_cue) != score_emotions(without)
            moved |= score_dimensions(with_cue) != score_dimensions(without)
        assert moved == (cue not in NEUTRAL), cue


def test_every_cue_of_the_tables_occurs() -> None:
    seen = {cue for scene, _ in _annotated() for cue in observe(scene).cues}
    seen |= {f"expression {expression}" for expression in EXPRESSIONS}
    assert set(BY_CUE) <= seen
    assert set(DIMENSIONS_BY_CUE) <= seen
    assert set(BY_EXPRESSION_AND_CUE) == set(EXPRESSIONS)
    assert {cue for row in BY_EXPRESSION_AND_CUE.values() for cue in row} <= seen
    assert set(LABEL_BIAS) <= set(EMOTIC.labels)


def test_the_number_of_others_with_a_face_counts() -> None:
    one = _see("park", "ordinary", NOTHING, "blank", "others smiling")
    two = replace(one, cues=("others smiling", "others smiling"))
    assert score_emotions(two)["Happiness"] > score_emotions(one)["Happiness"]


def test_smiles_have_a_higher_valence_than_tears() -> None:
    valences: dict[str, list[float]] = {expression: [] for expression in EXPRESSIONS}
    for scene, _ in _annotated():
        valences[scene.person.expression].append(score_dimensions(observe(scene))[0])
    assert np.mean(valences["smiling"]) > np.mean(valences["crying"]) + 3


def test_basic_emotions_are_the_classes_of_caers() -> None:
    scores = score_emotions(_see("church", "funeral", NOTHING, "crying"))
    basic = score_basic_emotions(scores)
    assert tuple(basic) == CAERS.labels
    assert max(basic, key=basic.__getitem__) == "Sad"


# --- Annotators ----------------------------------------------------------------------------------------


def test_annotations_follow_from_the_seed() -> None:
    scene = _annotated()[0][0]
    assert annotate(scene, random.Random(5)) == annotate(scene, random.Random(5))
    assert len(annotate(scene, random.Random(5), 4)) == 4


def test_every_annotator_ticks_a_label_and_rates_dimensions() -> None:
    for _, annotations in _annotated():
        for annotation in annotations:
            assert annotation.labels
            assert annotation.dimensions is not None
            assert all(value in range(1, 11) for value in annotation.dimensions)


def test_the_number_of_labels_is_near_that_of_emotic() -> None:
    ticks = _ticks()
    assert ticks[:, 0].sum(1).mean() == pytest.approx(1.96, abs=0.2)  # one annotator, as in train
    assert ticks[:, :3].max(1).sum(1).mean() == pytest.approx(4.41, abs=0.3)  # three, as in test
    assert ticks.max(1).sum(1).mean() == pytest.approx(6.15, abs=0.7)  # five, as in val


def test_annotators_agree_about_as_little_as_those_of_emotic() -> None:
    """Fleiss' kappa of three annotators."""
    kappas = []
    for label in range(len(EMOTIC)):
        counts = _ticks()[:, :3, label].sum(1)
        agreement = ((counts * (counts - 1) + (3 - counts) * (2 - counts)) / 6).mean()
        share = counts.mean() / 3
        by_chance = share**2 + (1 - share) ** 2
        kappas.append((agreement - by_chance) / (1 - by_chance))
    assert 0.2 < np.mean(kappas) < 0.4
    assert min(kappas) > 0


def test_every_label_occurs_and_labels_have_a_long_tail() -> None:
    counts = Counter(label for _, row in _annotated() for item in row for label in item.labels)
    assert set(counts) == set(EMOTIC.labels)
    assert max(counts.values()) > 15 * min(counts.values())
