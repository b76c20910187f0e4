"""The probe finds labels that words reveal, and nothing else."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mien.evaluate.descriptions.probe import MIN_TEXTS, run_probe
from mien.labels import CAERS, EMOTIC

_RNG = random.Random(0)
_NOISE = [f"w{number}" for number in range(200)]


def _noise(length: int = 30) -> str:
    return " ".join(_RNG.choices(_NOISE, k=length))


def _classes(n: int) -> np.ndarray:
    return np.eye(7, dtype=bool)[np.random.default_rng(0).integers(7, size=n)]


def test_random_words_are_at_chance() -> None:
    truth = _classes(700)
    found = run_probe(CAERS, [_noise() for _ in truth], truth)
    assert found is not None
    assert (found.metric, found.n) == ("accuracy", 700)
    assert found.chance == pytest.approx(truth.mean(axis=0).max())
    assert found.low <= found.chance + 0.02
    assert found.value < 0.25
    assert found.min_gap < 0.5


def test_a_word_for_each_class_is_found_without_error() -> None:
    truth = _classes(350)
    texts = [f"{_noise(1)} code{row.argmax()}" for row in truth]
    found = run_probe(CAERS, texts, truth)
    assert found is not None
    assert found.value > 0.98
    assert found.min_gap == 1.0
    assert {one.label: one.word for one in found.telling_words} == {
        label: f"code{index}" for index, label in enumerate(CAERS.labels)
    }
    assert all((one.with_label, one.without) == (1.0, 0.0) for one in found.telling_words)


def test_in_multi_label_sets_each_label_is_found() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((400, 26)) < 0.2
    texts = [" ".join([_noise(3), *(f"code{label}" for label in np.flatnonzero(row))]) for row in truth]
    found = run_probe(EMOTIC, texts, truth)
    blind = run_probe(EMOTIC, [_noise() for _ in truth], truth)
    assert found is not None
    assert blind is not None
    assert (found.metric, found.value > 0.97) == ("mAP", True)
    assert found.chance == blind.chance == pytest.approx(0.2, abs=0.02)
    assert blind.value < 0.3


def test_the_same_texts_give_the_same_score() -> None:
    truth = _classes(100)
    texts = [_noise() for _ in truth]
    assert run_probe(CAERS, texts, truth) == run_probe(CAERS, texts, truth)


def test_labels_of_too_few_texts_have_no_telling_word() -> None:
    truth = np.zeros((100, 26), dtype=bool)
    truth[:50, 0] = True
    truth[:3, 1] = True
    found = run_probe(EMOTIC, [f"code{int(row[1])} {_noise(3)}" for row in truth], truth)
    assert found is not None
    assert [one.label for one in found.telling_words] == [EMOTIC.labels[0]]


def test_there_is_no_score_with_nothing_to_learn() -> None:
    truth = _classes(MIN_TEXTS)
    assert run_probe(CAERS, ["word"] * MIN_TEXTS, truth) is not None
    assert run_probe(CAERS, ["word"] * (MIN_TEXTS - 1), truth[1:]) is None
    assert run_probe(CAERS, ["..."] * MIN_TEXTS, truth) is None
    assert run_probe(CAERS, ["word"] * MIN_TEXTS, np.eye(7, dtype=bool)[[0] * MIN_TEXTS]) is None
