"""Pairs of errors against a count in plain Python, and the confusion matrix against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from mien.evaluate.analysis.label_errors import confusion_matrix, error_pairs

LABELS = ("Anger", "Fear", "Peace", "Surprise")


def _random(seed: int, people: int = 400, wrong: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((people, len(LABELS))) < 0.4
    return truth, truth ^ (rng.random(truth.shape) < wrong)


def test_pairs_are_counted_as_in_plain_python() -> None:
    truth, predicted = _random(0)
    found = error_pairs(truth, predicted, LABELS)
    assert {pair.kind for pair in found} == {"missed together", "given together", "given instead"}
    for pair in found:
        i, j = LABELS.index(pair.first), LABELS.index(pair.second)
        second_is_missed = pair.kind == "missed together"
        first_is_missed = pair.kind != "given together"
        could = [
            row
            for row in range(len(truth))
            if truth[row, i] == first_is_missed and truth[row, j] == second_is_missed
        ]
        count = sum(
            truth[row, i] != predicted[row, i] and truth[row, j] != predicted[row, j] for row in could
        )
        rates = []
        for label, is_missed in ((i, first_is_missed), (j, second_is_missed)):
            people = [row for row in range(len(truth)) if truth[row, label] == is_missed]
            rates.append(sum(truth[row, label] != predicted[row, label] for row in people) / len(people))
        assert (pair.count, pair.n) == (count, len(could))
        assert pair.expected == pytest.approx(len(could) * rates[0] * rates[1])
        assert pair.count > pair.expected


def test_independent_errors_are_not_called_clear_and_common_ones_are() -> None:
    assert not any(pair.is_clear for pair in error_pairs(*_random(1), LABELS))
    truth, predicted = _random(2, wrong=0.05)
    hard = np.arange(len(truth)) < 80  # of these people, Fear and Surprise are always wrong
    for label in (1, 3):
        predicted[hard, label] = ~truth[hard, label]
    clear = {
        (pair.kind, pair.first, pair.second)
        for pair in error_pairs(truth, predicted, LABELS)
        if pair.is_clear
    }
    assert {("given together", "Fear", "Surprise"), ("given instead", "Fear", "Surprise")} <= clear
    assert all({pair[1], pair[2]} == {"Fear", "Surprise"} for pair in clear)


def test_labels_that_no_one_has_give_no_pairs() -> None:
    truth = np.zeros((30, 4), dtype=np.bool_)
    assert error_pairs(truth, truth, LABELS) == ()


def test_the_confusion_matrix_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    classes = rng.integers(4, size=200)
    scores = rng.random((200, 4)).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)[classes]
    expected = metrics.confusion_matrix(classes, scores.argmax(axis=1), labels=range(4))
    np.testing.assert_array_equal(confusion_matrix(targets, scores), expected)
