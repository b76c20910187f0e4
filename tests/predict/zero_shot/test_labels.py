"""Labels, their definitions and their word forms."""

from collections.abc import Callable

import pytest

from mien.labels import BOLD, CAERS, EMOTIC, LabelSet
from mien.playhouse import text
from mien.predict.zero_shot.description_scorer import named_labels
from mien.predict.zero_shot.labels import open_labels, read_data, words_of
from mien.predict.zero_shot.question import QUESTION, fill_question


@pytest.mark.parametrize("known", [EMOTIC, BOLD, CAERS])
def test_known_labels_have_definitions_and_word_forms(known: LabelSet) -> None:
    labels = open_labels(known.name)
    assert labels.label_set is known
    for label in known.labels:
        own, near = labels.forms(label)
        assert len(labels.definition(label).split()) >= 2
        assert label.lower().split("/")[0] in own
        assert near
        assert not set(own) & set(near)


def test_word_forms_are_those_of_known_labels() -> None:
    assert read_data("word_forms.json")["labels"].keys() == {*EMOTIC.labels, *CAERS.labels}


def test_the_digest_covers_names_order_and_definitions() -> None:
    variants = [
        open_labels(["calm", "afraid"]),
        open_labels(["afraid", "calm"]),
        open_labels(["calm", "afraid"], exclusive=True),
        open_labels({"calm": "at ease", "afraid": "feeling a threat"}),
        open_labels({"calm": "at ease", "afraid": "in danger"}),
        open_labels("emotic"),
        open_labels("bold"),
    ]
    assert len({labels.digest() for labels in variants}) == len(variants)
    assert open_labels(EMOTIC.labels).digest() == open_labels("emotic").digest()


def test_labels_without_definitions_stand_for_their_words() -> None:
    labels = open_labels({"Doubt/Confusion": "", "ill_at_ease": "wanting to leave"})
    assert labels.definition("Doubt/Confusion") == "doubt or confusion"
    assert labels.definition("ill_at_ease") == "wanting to leave"
    assert words_of("ill_at_ease") == "ill at ease"


def test_questions_name_the_label_or_its_definition() -> None:
    labels = open_labels({"calm": "at ease"})
    assert fill_question("Is it <label> (<definition>)?", "calm", labels) == "Is it calm (at ease)?"


@pytest.mark.skipif(not hasattr(text, "ask_yes_no"), reason="the embedded model is older")
def test_the_question_is_the_one_that_the_embedded_model_learns() -> None:
    ask: Callable[..., str] = getattr(text, "ask_yes_no")  # noqa: B009  mypy sees the older one
    assert fill_question(QUESTION, "Fear", open_labels("emotic")) == ask("Fear")
    main = QUESTION.replace("the person in the red box", "the main person")
    assert main == ask("<label>", "main person")


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("The person seems angry.", {"Anger": 1.0}),
        ("Anger and FEAR.", {"Anger": 1.0, "Fear": 1.0}),
        ("She is furious, and looks tired.", {"Anger": 0.5, "Fatigue": 0.5}),
        ("She is not angry, but afraid.", {"Fear": 1.0}),
        ("There is no sign of fear here. She is angry.", {"Anger": 1.0}),
        ("He does not smile and is sad.", {"Sadness": 1.0}),
        ("She is neither angry nor sad or tired.", {}),
        ("She is not angry. Later she gets angry.", {"Anger": 1.0}),
        ("A painting of a fearless knight.", {}),
        ("Doubt remains.", {"Doubt/Confusion": 1.0}),
    ],
)
def test_labels_are_named_by_their_forms_and_near_words(said: str, named: dict[str, float]) -> None:
    labels = open_labels("emotic")
    found = dict(zip(EMOTIC.labels, named_labels(said, labels).tolist(), strict=True))
    assert {label: score for label, score in found.items() if score} == named
