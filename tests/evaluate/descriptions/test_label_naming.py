"""Which labels a text names: plain forms of their words, in order, except in recitals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mien.errors import UnknownNameError
from mien.evaluate.descriptions.label_agreement import measure_agreement, rate
from mien.evaluate.descriptions.label_naming import LabelNamer
from mien.labels import BOLD, CAERS, EMOTIC, LabelSet


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("The most suitable emotion is **Happy**.", ("Happy",)),
        ("### _Sadness_, or `anger`", ("Sad", "Anger")),
        ("She looks happily surprised, and disgusted.", ("Happy", "Surprise", "Disgust")),
        ("He is afraid. Fearful, that is.", ("Fear",)),
        ("an ANGRY man; angrily; not sad", ("Anger", "Sad")),  # negation is not understood
        ("Neutral\u2019s the word", ("Neutral",)),
        ("joyful, glum, irate", ()),  # synonyms
        ("a disguised saddle, unhappy", ()),  # parts of other words
        ("", ()),
    ],
)
def test_a_label_is_named_by_its_plain_forms(text: str, named: tuple[str, ...]) -> None:
    assert LabelNamer(CAERS).named(text) == named


@pytest.mark.parametrize("label_set", [CAERS, EMOTIC, BOLD])
def test_every_label_is_named_by_itself(label_set: LabelSet) -> None:
    namer = LabelNamer(label_set)
    for label in label_set.labels:
        assert namer.named(f"This is {label.lower()}!") == (label,)


def test_the_forms_of_emotics_words() -> None:
    named = LabelNamer(EMOTIC).named(
        "affectionate, then annoyed; looking confident while disconnected. Confused, doubtful, embarrassed. "
        "He was engaged and so excited; fatigued, peaceful, pleased and sympathetic."
    )
    assert named == (
        *("Affection", "Annoyance", "Confidence", "Disconnection", "Doubt/Confusion", "Embarrassment"),
        *("Engagement", "Excitement", "Fatigue", "Peace", "Pleasure", "Sympathy"),
    )


def test_idioms_do_not_name_doubt() -> None:
    namer = LabelNamer(EMOTIC)
    assert namer.named("No doubt she is at peace, without a doubt, undoubtedly.") == ("Peace",)
    assert namer.named("She is in doubt.") == ("Doubt/Confusion",)


def test_a_recital_of_the_list_names_nothing() -> None:
    namer = LabelNamer(CAERS)
    recital = "None of (Angry, Disgust, Fear, Happy, Neutral, Sad, or Surprise) fits"
    assert namer.named(recital) == ()
    assert namer.named(f"{recital}, but Sad is near.") == ("Sad",)
    # So few are a reply, not a recital.
    assert namer.named("Happy, Neutral and Sad.") == ("Happy", "Neutral", "Sad")
    lines = "\n".join(f"{i}. **{label}**" for i, label in enumerate(EMOTIC.labels, start=1))
    assert LabelNamer(EMOTIC).named(f"{lines}\n\nOf these, fear.") == ("Fear",)


def test_labels_of_a_custom_set_are_named_by_their_words() -> None:
    labels = LabelSet(name="own", labels=("Very calm", "Calm", "Sad", "Sadness", "C++"), exclusive=False)
    namer = LabelNamer(labels)
    assert namer.named("she is very calm and calm, C++") == ("Very calm", "Calm", "C++")
    assert namer.named("sad") == ("Sad",)
    assert namer.named("sadness") == ("Sadness",)
    assert namer.named("sadly") == ()  # ambiguous


def test_scores_in_json_name_the_highest_labels() -> None:
    namer = LabelNamer(CAERS)
    scores = dict.fromkeys(CAERS.labels, 0.1) | {"Sad": 0.7, "Fear": 0.9}
    assert namer.named(f"```json\n{json.dumps(scores)}\n```") == ("Fear", "Sad")
    assert namer.named('{"Sad": 0.7}') == ("Sad",)  # not valid scores, so it is read as prose


def test_labels_are_found_by_their_forms() -> None:
    namer = LabelNamer(CAERS)
    assert [namer.label(name) for name in ("Anger", "Angry", "SADNESS")] == ["Anger", "Anger", "Sad"]
    with pytest.raises(UnknownNameError, match="Furious"):
        namer.label("Furious")


# --- Against gold ---


def test_naming_is_compared_with_gold_labels_and_with_chance() -> None:
    labels = LabelSet(name="three", labels=("A", "B", "C"), exclusive=False)
    named = [("A", "B"), ("B",), (), ("A",), ("C",)]
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    found = measure_agreement(labels, named, truth)
    assert found is not None
    assert (found.n, found.unlabeled) == (5, 1)
    # Of the texts that name a label and have a gold one: right, right, wrong.
    assert found.first is not None
    assert found.first.value == pytest.approx(2 / 3)
    assert found.first.n == 3
    # Gold among these three: A in 2, B in 2; named first: A, B, A.
    assert found.chance == pytest.approx(2 / 3)
    assert found.named_if_gold is not None
    assert found.named_if_not is not None
    assert (found.named_if_gold.value, found.named_if_gold.n) == (2 / 5, 5)
    assert (found.named_if_not.value, found.named_if_not.n) == (3 / 10, 10)
    a, b, c = found.labels
    assert (a.gold, a.named_if_gold, a.named_if_not, a.lift) == (2, 0.5, 1 / 3, 1.5)
    assert (b.gold, b.named_if_gold, b.named_if_not) == (3, 1 / 3, 0.5)
    assert (c.gold, c.named_if_gold, c.named_if_not, c.lift) == (0, None, 0.2, None)


def test_chance_is_what_the_same_names_reach_in_random_order() -> None:
    labels = LabelSet(name="two", labels=("Often", "Rarely"), exclusive=True)
    truth = np.array([[1, 0]] * 9 + [[0, 1]], dtype=bool)
    always = measure_agreement(labels, [("Often",)] * 10, truth)
    assert always is not None
    assert always.first is not None
    assert always.first.value == always.chance == pytest.approx(0.9)


def test_texts_that_name_nothing_have_no_rate() -> None:
    found = measure_agreement(CAERS, [(), ()], np.eye(7, dtype=bool)[:2])
    assert found is not None
    assert (found.first, found.chance, found.unlabeled) == (None, None, 2)
    assert measure_agreement(CAERS, [], np.zeros((0, 7), dtype=bool)) is None


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)]
)
def test_intervals_are_wilsons(hits: int, n: int, low: float, high: float) -> None:
    found = rate(hits, n)
    assert found is not None
    assert found.low == pytest.approx(low, abs=1e-4)
    assert found.high == pytest.approx(high, abs=1e-4)
    assert rate(0, 0) is None
