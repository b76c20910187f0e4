"""Agreement: a published example, the definition, and the extremes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.datasets import MOODS, InMemoryDataset, image_record

from mien.data.audit.agreement import measure_agreement, split_agreement
from mien.labels import LabelSet
from mien.types import DIMENSIONS, Target

# The worked example of Fleiss' kappa on Wikipedia: 10 subjects, 14 raters, 5 categories; kappa is 0.210.
_EXAMPLE = (
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
)
_GRADES = LabelSet(name="grades", labels=("1", "2", "3", "4", "5"), exclusive=True)


def _annotation(*labels: str, values: Sequence[float] | None = None) -> Target:
    dimensions = None if values is None else dict(zip(DIMENSIONS, values, strict=True))
    return Target(labels=dict.fromkeys(labels, 1.0), dimensions=dimensions)


def test_a_published_example_is_reproduced() -> None:
    subjects = [
        [_annotation(grade) for grade, count in zip(_GRADES.labels, row, strict=True) for _ in range(count)]
        for row in _EXAMPLE
    ]
    found = split_agreement("test", iter(subjects), _GRADES)
    shares = np.sum(_EXAMPLE, axis=0) / 140
    weights = shares * (1 - shares)
    # Fleiss (1971): the kappa of all categories is the mean of each one's, weighted by p (1 - p).
    kappas = [found.kappa[grade] for grade in _GRADES.labels]
    assert np.dot(weights, np.array(kappas, dtype=float)) / weights.sum() == pytest.approx(0.210, abs=5e-4)
    assert found.num_subjects == 10


def test_perfect_agreement_is_one_and_a_constant_answer_is_undefined() -> None:
    subjects = [[_annotation("calm")] * 3, [_annotation()] * 2]
    found = split_agreement("test", iter(subjects), MOODS)
    assert found.kappa == {"calm": 1.0, "glad": None, "sour": None}
    assert found.mean_kappa == 1.0


def test_perfect_disagreement_of_two_is_minus_one() -> None:
    subjects = [[_annotation("calm"), _annotation()], [_annotation(), _annotation("calm")]]
    assert split_agreement("test", iter(subjects), MOODS).kappa["calm"] == pytest.approx(-1.0)


def test_random_answers_agree_as_often_as_chance() -> None:
    rng = random.Random(0)

    def annotation() -> Target:
        values = [rng.randint(1, 10) / 10 for _ in DIMENSIONS]
        return _annotation(*(label for label in MOODS.labels if rng.random() < 0.3), values=values)

    subjects = [[annotation() for _ in range(rng.randint(2, 6))] for _ in range(4000)]
    found = split_agreement("test", iter(subjects), MOODS)
    assert all(value == pytest.approx(0, abs=0.03) for value in found.kappa.values())
    assert all(item.alpha == pytest.approx(0, abs=0.03) for item in found.dimensions.values())
    # The mean difference between two random values from 1..10 is (10 - 1/10) / 3 steps.
    assert found.dimensions["valence"].mean_difference == pytest.approx(0.33, abs=0.01)


_VALUES = st.lists(st.lists(st.integers(1, 10), min_size=2, max_size=5), min_size=1, max_size=6)


@given(subjects=_VALUES)
def test_alpha_equals_its_definition(subjects: list[list[int]]) -> None:
    annotations = [[_annotation(values=(value / 10, 0.5, 0.5)) for value in values] for values in subjects]
    found = split_agreement("test", iter(annotations), MOODS).dimensions
    pooled = [value / 10 for values in subjects for value in values]
    observed = sum(
        sum((a - b) ** 2 for a, b in permutations([value / 10 for value in values], 2)) / (len(values) - 1)
        for values in subjects
    ) / len(pooled)
    expected = sum((a - b) ** 2 for a, b in permutations(pooled, 2)) / (len(pooled) * (len(pooled) - 1))
    if expected:
        assert found["valence"].alpha == pytest.approx(1 - observed / expected, abs=1e-9)
    else:
        assert found["valence"].alpha is None
    assert found["arousal"].alpha is None
    assert found["arousal"].mean_difference == 0


@given(
    subjects=st.lists(st.lists(st.booleans(), min_size=2, max_size=6), min_size=1, max_size=8),
    rest=st.lists(st.booleans(), max_size=1),
)
def test_kappa_equals_its_definition(subjects: list[list[bool]], rest: list[bool]) -> None:
    annotations = [[_annotation(*["calm"] * said) for said in answers] for answers in [*subjects, rest]]
    found = split_agreement("test", iter(annotations), MOODS)
    pairs = [np.mean([a == b for a, b in permutations(answers, 2)]) for answers in subjects]
    share = np.mean([np.mean(answers) for answers in subjects])
    by_chance = share**2 + (1 - share) ** 2
    expected = None if by_chance == 1 else (np.mean(pairs) - by_chance) / (1 - by_chance)
    assert found.kappa["calm"] == (None if expected is None else pytest.approx(expected, abs=1e-9))
    assert found.num_subjects == len(subjects)  # one annotator cannot agree


def test_annotators_without_dimensions_do_not_count_for_dimensions() -> None:
    both = [_annotation(values=(0.2, 0.2, 0.2)), _annotation(), _annotation(values=(0.6, 0.2, 0.2))]
    found = split_agreement("test", iter([both, [_annotation(), _annotation()]]), MOODS)
    assert found.num_subjects == 2
    assert found.dimensions["valence"].num_subjects == 1
    assert found.dimensions["valence"].mean_difference == pytest.approx(0.4)
    assert found.to_json()["kappa"]["calm"] is None


def test_soft_labels_count_from_a_half_on() -> None:
    subjects = [
        [Target(labels={"calm": 0.5}), Target(labels={"calm": 0.9})],
        [_annotation(), Target(labels={"calm": 0.4})],
    ]
    assert split_agreement("test", iter(subjects), MOODS).kappa["calm"] == 1.0


def test_only_splits_with_several_annotators_are_measured(tmp_path: Path) -> None:
    alone = image_record("a", tmp_path, "calm", annotations=[_annotation("calm")])
    several = image_record("b", tmp_path, "calm", annotations=[_annotation("calm"), _annotation()])
    found = measure_agreement(InMemoryDataset({"train": [alone], "test": [several]}))
    assert [item.split for item in found] == ["test"]
    assert measure_agreement(InMemoryDataset({"train": [alone]})) == ()
