"""Accuracy and F1 against scikit-learn and answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from tests.factories.metric_cases import multi_label_case, one_hot

from mien.errors import DataError
from mien.evaluate.metrics.classification import (
    ACCURACY,
    MACRO_F1,
    f1_by_label,
    predicted_labels,
    true_labels,
)
from mien.evaluate.metrics.metric import unit_weight
from mien.evaluate.metrics.table import resolve_metric
from mien.labels import EMOTIC


def test_accuracy_and_macro_f1_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    truth, scores = rng.integers(0, 7, 300), rng.random((300, 7))
    scores[np.arange(300), truth] += 0.3
    targets, predicted = np.eye(7)[truth], scores.argmax(axis=1)
    assert ACCURACY.value(targets, scores) == pytest.approx(accuracy_score(truth, predicted))
    assert MACRO_F1.value(targets, scores) == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_macro_f1_leaves_out_labels_that_are_neither_true_nor_predicted() -> None:
    # Classes 0 and 1 occur, 2 does not. F1 of class 0: 2/3, of class 1: 2/3.
    targets = one_hot([0, 0, 1], 3)
    scores = one_hot([0, 1, 1], 3)
    assert MACRO_F1.value(targets, scores) == pytest.approx(2 / 3)


def test_macro_f1_at_half_agrees_with_scikit_learn() -> None:
    targets, scores = multi_label_case(5)
    expected = f1_score(targets >= 0.5, scores >= 0.5, average="macro", zero_division=0)
    assert resolve_metric("macro_f1", EMOTIC).value(targets, scores) == pytest.approx(expected)


def test_accuracy_takes_the_first_of_equal_scores() -> None:
    scores = np.full((2, 3), 0.2)
    assert ACCURACY.value(one_hot([0, 2], 3), scores) == 0.5


def test_accuracy_refuses_a_sample_without_a_label() -> None:
    with pytest.raises(DataError, match="sample 1 has no label"):
        ACCURACY.value(np.array([[1.0, 0.0], [0.0, 0.0]]), np.ones((2, 2)))


def test_f1_of_each_label_by_hand() -> None:
    scores = np.array([[0.9, 0.2, 0.1], [0.6, 0.5, 0.1], [0.4, 0.9, 0.1]])
    targets = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    multi = f1_by_label(
        true_labels(targets, exclusive=False), predicted_labels(scores, exclusive=False), unit_weight(3)
    )
    np.testing.assert_allclose(multi[:, 0], [0.5, 1.0, np.nan])
    one = f1_by_label(
        true_labels(np.eye(3), exclusive=True), predicted_labels(scores, exclusive=True), unit_weight(3)
    )
    np.testing.assert_allclose(one[:, 0], [2 / 3, 0.0, 0.0])
