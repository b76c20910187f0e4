"""The controls of ablations: changed descriptions, and a smaller training split."""

import re
from pathlib import Path
from typing import Any

import pytest

from mien.ablation.controls import (
    build_text_control,
    count_images,
    empty_texts,
    mask_label_words,
    remove_texts,
    shuffle_texts,
    subsample_images,
    subsample_train,
)
from mien.labels import CAERS, EMOTIC
from mien.types import Sample, Subject


def _sample(image: str, person: int, split: str = "train") -> Sample:
    return Sample(subject=Subject.still(f"{image}:{person}", Path(image)), target=None, split=split)


def test_shuffling_gives_every_subject_the_description_of_another() -> None:
    texts = {f"id-{n}": f"text {n}" for n in range(9)}
    found = shuffle_texts(texts)
    assert sorted(found.values()) == sorted(texts.values())
    assert all(found[name] != texts[name] for name in texts)
    assert found == shuffle_texts(dict(reversed(texts.items())))
    assert shuffle_texts({}) == {}


def test_emptying_keeps_the_subjects_and_removing_does_not() -> None:
    assert empty_texts({"a": "sad", "b": "calm"}) == {"a": "", "b": ""}
    assert remove_texts({"a": "sad", "b": "calm"}) == {}
    assert build_text_control(None, EMOTIC) is None


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
def test_masking_leaves_no_word_of_a_label(text: str, labels: Any, left: str | None) -> None:
    assert mask_label_words({"id": text}, labels=labels.labels) == {"id": left or text}


@pytest.mark.parametrize("labels", [EMOTIC, CAERS], ids=lambda one: one.name)
def test_masking_finds_every_label(labels: Any) -> None:
    found = mask_label_words(
        {label: f"the {label.lower()} here" for label in labels.labels}, labels=labels.labels
    )
    assert {re.sub(r"\W+", " ", text).split()[0] for text in found.values()} == {"the"}
    assert all(text in ("the [MASK] here", "the [MASK]/[MASK] here") for text in found.values())


def test_a_share_keeps_the_people_of_an_image_together_and_is_a_subset_of_a_larger_share() -> None:
    samples = [_sample(f"far/folder/{n}.png", person) for n in range(20) for person in range(2)]
    elsewhere = [_sample(f"near/far/folder/{n}.png", person) for n in range(20) for person in range(2)]
    quarter, half = subsample_images(samples, 0.25), subsample_images(samples, 0.5)
    assert (len(quarter), len(half)) == (10, 20)
    assert [one for one in half if one in quarter] == quarter
    assert {one.subject.id for one in subsample_images(elsewhere, 0.25)} == {
        f"near/{one.subject.id}" for one in quarter
    }
    assert subsample_images(samples, 1.0) == samples
    assert len(subsample_images(samples, 0.001)) == 2
    assert subsample_images(samples, 5) == quarter  # an integer is a number of images, here 5 of 20
    assert len(subsample_images(samples, 1)) == 2
    assert count_images(samples) == 20


def test_only_the_training_split_is_subsampled() -> None:
    train = [_sample(f"a/b/{n}.png", 0) for n in range(8)]
    test = [_sample(f"a/b/{n}.png", 0, "test") for n in range(8)]
    assert subsample_train("train", train, size=0.5) == subsample_images(train, 0.5)
    assert len(subsample_train("train", train, size=0.5)) == 4
    assert subsample_train("test", test, size=0.5) == test
