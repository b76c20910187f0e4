"""Descriptions: what gets said of what is seen, and texts that say it; questions about one label."""

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.labels import CAERS, EMOTIC
from mien.playhouse import text as words
from mien.playhouse.rules import observe
from mien.playhouse.salience import NUM_DETAILS, Mention, mention
from mien.playhouse.scene import Scene, sample_scene
from mien.playhouse.situations import NOTHING

SEEDS = st.integers(0, 2**32)
SHOWN_IN_STEPS = ("smiling", "crying", "scowling", "gaping")


@cache
def _scenes(count: int = 1500) -> list[Scene]:
    rng = random.Random(6)
    return [sample_scene(rng) for _ in range(count)]


def _said(scene: Scene) -> Mention:
    return mention(scene, observe(scene))


def _conclusion(text: str) -> str:
    return text[max(text.find("Given all this"), text.find("In this context")) :]


# --- What is said --------------------------------------------------------------------------------------


def test_a_description_says_at_most_three_details_of_what_is_seen() -> None:
    assert NUM_DETAILS == 3
    for scene in _scenes():
        seen, said = observe(scene), _said(scene)
        assert len(said.details) <= NUM_DETAILS
        assert len(set(said.details)) == len(said.details)
        assert set(said.details) <= {*seen.cues, "item"}
        assert set(said.observation.cues) <= {*said.details, "strength 3"}
        is_item_said = "item" in said.details
        assert said.observation.situation.item == (scene.person.item if is_item_said else NOTHING)


def test_most_of_what_is_seen_is_not_said() -> None:
    shares, never = [], set()
    for scene in _scenes():
        seen = {*observe(scene).cues} | ({"item"} if scene.person.item != NOTHING else set())
        shares.append(len(_said(scene).details) / len(seen))
        never |= seen
    assert np.mean(shares) == pytest.approx(0.25, abs=0.02)
    never -= {detail for scene in _scenes() for detail in _said(scene).details}
    assert never >= {"gaze viewer", "gaze item", "gaze aside", "turn toward", "turn away", "tilt tilted"}
    assert never >= {f"others {expression}" for expression in SHOWN_IN_STEPS}


def test_a_slight_expression_passes_for_a_neutral_one_and_a_strong_one_is_said_to_be() -> None:
    for scene in _scenes():
        said, person = _said(scene).observation, scene.person
        is_slight = person.strength == 1 and person.expression in SHOWN_IN_STEPS
        assert said.expression == ("blank" if is_slight else person.expression)
        is_strong = person.strength == 3 and person.expression in SHOWN_IN_STEPS
        assert ("strength 3" in said.cues) == is_strong


# --- Texts ---------------------------------------------------------------------------------------------


@given(SEEDS, st.sampled_from([words.WHO_BOXED, words.WHO_MAIN]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_parsing_a_description_gives_what_it_says(seed: int, who: str, basic: bool) -> None:
    scene = sample_scene(random.Random(seed), even=True)
    said = _said(scene)
    text = words.describe_emotions(scene, who, basic=basic)
    assert words.parse_description(text) == {
        "setting": scene.setting,
        "occasion": scene.occasion,
        "item": scene.person.item if "item" in said.details else None,
        "expression": said.observation.expression,
        "pose": scene.person.pose if f"pose {scene.person.pose}" in said.details else None,
        "clothes": words.describe_clothes(scene.person),
    }
    assert text.startswith(f"The {who} wears a")


def test_descriptions_are_paragraphs_of_40_to_120_words() -> None:
    lengths = [len(words.describe_emotions(scene).split()) for scene in _scenes()]
    assert min(lengths) >= 40
    assert max(lengths) <= 120
    assert np.mean(lengths) == pytest.approx(70, abs=2)


def test_every_detail_that_is_said_is_in_the_text() -> None:
    for scene in _scenes():
        text = words.describe_emotions(scene)
        for detail in _said(scene).details:
            phrases = (
                (words.ITEM_PHRASES[scene.person.item],) if detail == "item" else words.CUE_PHRASES[detail]
            )
            assert sum(phrase in text for phrase in phrases) == 1, detail


def test_what_is_not_said_changes_no_word() -> None:
    """Emotions are argued from what is said, not from what only the image shows."""
    for scene in _scenes(300):
        person = scene.person
        people = [replace(other, expression="crying") for other in scene.people]
        people[scene.subject] = replace(
            person,
            turn="away",
            tilt="tilted" if person.tilt == "upright" else person.tilt,
            gaze="aside" if person.gaze in ("viewer", "item") else person.gaze,
        )
        assert words.describe_emotions(replace(scene, people=tuple(people))) == words.describe_emotions(scene)


def test_descriptions_name_up_to_four_emotions_with_hedges() -> None:
    named = []
    for scene in _scenes():
        text = words.describe_emotions(scene)
        conclusion = _conclusion(text)
        named.append({label for label in EMOTIC.labels if label in conclusion})
        assert any(hedge in conclusion for hedge in ("most likely", "probably"))
        assert not [label for label in EMOTIC.labels if label in text.removesuffix(conclusion)]
    assert {len(labels) for labels in named} <= {1, 2, 3, 4}
    assert set.union(*named) == set(EMOTIC.labels)


def test_a_description_for_caers_names_one_class_and_perhaps_another() -> None:
    for scene in _scenes(300):
        conclusion = _conclusion(words.describe_emotions(scene, basic=True))
        assert 1 <= sum(label in conclusion for label in CAERS.labels) <= 2


def test_both_wordings_occur_and_depend_on_what_the_image_shows() -> None:
    starts = {_conclusion(words.describe_emotions(scene)).split(",")[0] for scene in _scenes(100)}
    assert starts == {"Given all this", "In this context"}
    scene = _scenes()[0]
    assert words.describe_emotions(scene) == words.describe_emotions(replace(scene, decoration_seed=1))


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_a_caption_names_no_emotion_no_expression_and_no_subject(seed: int) -> None:
    scene = sample_scene(random.Random(seed), even=True)
    text = words.describe_scene(scene)
    parsed = words.parse_description(text)
    assert parsed["setting"] == scene.setting
    assert parsed["occasion"] == scene.occasion
    assert parsed["expression"] is None
    assert parsed["pose"] is None
    assert "box" not in text
    assert not [label for label in (*EMOTIC.labels, *CAERS.labels) if label in text]
    assert all(words.describe_clothes(person) in text for person in scene.people)
    assert text == words.describe_scene(replace(scene, subject=0))


@pytest.mark.parametrize("text", ["", "Nothing about it.", "wears a"])
def test_parsing_a_text_without_information(text: str) -> None:
    assert set(words.parse_description(text).values()) == {None}


def test_an_emotion_in_the_conclusion_is_not_taken_for_what_is_shown() -> None:
    text = "The face shows a fairly neutral expression. In this context, a smile in a park suits best."
    parsed = words.parse_description(text)
    assert (parsed["expression"], parsed["setting"]) == ("blank", None)


# --- Questions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [words.ask_yes_no, words.ask_rating])
def test_a_question_names_one_label_the_person_and_the_form_of_the_answer(ask: object) -> None:
    assert callable(ask)
    questions = {(label, who): ask(label, who) for label in EMOTIC.labels for who in (words.WHO_BOXED, "man")}
    assert len(set(questions.values())) == len(questions)
    for (label, who), question in questions.items():
        assert f"the {who} appear to feel {label}?" in question
    assert ask("Fear") == ask("Fear", words.WHO_BOXED)
    assert ("yes or no" in ask("Fear")) == (ask is words.ask_yes_no)
    assert ("0 to 9" in ask("Fear")) == (ask is words.ask_rating)
