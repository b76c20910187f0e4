"""The controls of ablations: what is done to descriptions, and to how many pictures there are."""

import re
from pathlib import Path
from typing import Any

import pytest

from mien.ablation.controls import emptied, masked, none_left, share_of, shuffled, text_control
from mien.labels import CAERS, EMOTIC
from mien.types import Sample, Subject


def _sample(picture: str, person: int) -> Sample:
    return Sample(subject=Subject.still(f"{picture}:{person}", Path(picture)), target=None, split="train")


def test_shuffled_gives_everybody_the_words_of_somebody_else() -> None:
    texts = {f"id-{n}": f"text {n}" for n in range(9)}
    found = shuffled(texts)
    assert sorted(found.values()) == sorted(texts.values())
    assert all(found[name] != texts[name] for name in texts)
    assert found == shuffled(dict(reversed(texts.items())))
    assert shuffled({}) == {}


def test_emptied_keeps_who_was_described() -> None:
    assert emptied({"a": "sad", "b": "calm"}) == {"a": "", "b": ""}
    assert none_left({"a": "sad", "b": "calm"}) == {}
    assert text_control(None, EMOTIC) is None


@pytest.mark.parametrize(
    ("text", "labels", "left"),
    [
        ("He looks happy, with sadness nearby.", EMOTIC, "He looks [MASK], with [MASK] nearby."),
        ("Doubt or confusion; she seems confused.", EMOTIC, "[MASK] or [MASK]; she seems [MASK]."),
        ("An ANGRY man, pleased and excited.", EMOTIC, "An [MASK] man, [MASK] and [MASK]."),
        ("What happens is dangerous on average, unhappy.", EMOTIC, None),
        (
            "A sympathetic, averse, anticipating, sensitive friend.",
            EMOTIC,
            "A [MASK], [MASK], [MASK], [MASK] friend.",
        ),
        ("A neutral face, disgusted.", CAERS, "A [MASK] face, [MASK]."),
    ],
)
def test_masked_leaves_no_word_of_a_label(text: str, labels: Any, left: str | None) -> None:
    assert masked({"id": text}, labels=labels.labels) == {"id": left or text}


@pytest.mark.parametrize("labels", [EMOTIC, CAERS], ids=lambda one: one.name)
def test_masked_finds_every_label_itself(labels: Any) -> None:
    found = masked({label: f"the {label.lower()} here" for label in labels.labels}, labels=labels.labels)
    assert {re.sub(r"\W+", " ", text).split()[0] for text in found.values()} == {"the"}
    assert all(text in ("the [MASK] here", "the [MASK]/[MASK] here") for text in found.values())


def test_a_share_keeps_people_of_one_picture_together_and_is_within_a_larger_one() -> None:
    samples = [_sample(f"far/folder/{n}.png", person) for n in range(20) for person in range(2)]
    elsewhere = [_sample(f"near/far/folder/{n}.png", person) for n in range(20) for person in range(2)]
    quarter, half = share_of(samples, 0.25), share_of(samples, 0.5)
    assert (len(quarter), len(half)) == (10, 20)
    assert [one for one in half if one in quarter] == quarter
    assert {one.subject.id for one in share_of(elsewhere, 0.25)} == {
        f"near/{one.subject.id}" for one in quarter
    }
    assert share_of(samples, 1.0) == samples
    assert len(share_of(samples, 0.001)) == 2
