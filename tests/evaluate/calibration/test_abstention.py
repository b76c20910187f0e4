"""Leaving people without an answer: by confidence, the stated share, and right more often for the rest."""

from __future__ import annotations

import numpy as np
import pytest

from mien.evaluate.calibration.abstention import (
    answered_accuracy,
    are_right,
    confidences,
    fit_min_confidence,
)


def test_the_stated_share_reaches_the_lowest_confidence() -> None:
    scores = np.random.default_rng(0).random((250, 5))
    for answered in (0.1, 0.5, 0.8, 0.999):
        lowest = fit_min_confidence(scores, answered=answered)
        reached = (confidences(scores) >= lowest).sum()
        assert reached == int(np.ceil(answered * 250))
    assert fit_min_confidence(scores, answered=1.0) == 0.0


def test_people_of_equal_confidence_are_not_separated() -> None:
    scores = np.array([[0.9], [0.4], [0.4], [0.4], [0.1]])
    lowest = fit_min_confidence(scores, answered=0.4)
    assert (confidences(scores) >= lowest).tolist() == [True, True, True, True, False]


def test_any_true_label_is_right_where_several_may_hold() -> None:
    targets = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    scores = np.array([[0.2, 0.3, 0.1], [0.9, 0.8, 0.0], [0.5, 0.1, 0.1]])
    assert are_right(targets, scores, exclusive=False).tolist() == [True, False, False]


def plain_accuracy(right: np.ndarray, confidence: np.ndarray, answered: float) -> float:
    count = int(np.ceil(answered * len(right) - 1e-9))
    order = sorted(range(len(right)), key=lambda row: -confidence[row])
    return sum(bool(right[row]) for row in order[:count]) / count


@pytest.mark.parametrize("seed", range(5))
def test_weights_count_as_repeated_people(seed: int) -> None:
    rng = np.random.default_rng(seed)
    right, confidence = rng.random(60) < 0.6, rng.random(60)
    weight = rng.integers(0, 4, size=(60, 3)).astype(np.float32)
    shares = (1.0, 0.7, 0.25)
    found = answered_accuracy(right, confidence, shares, weight)
    for column in range(3):
        repeats = weight[:, column].astype(int)
        for row, share in enumerate(shares):
            expected = plain_accuracy(np.repeat(right, repeats), np.repeat(confidence, repeats), share)
            assert found[row, column] == pytest.approx(expected)


def test_fewer_answers_are_right_more_often_if_the_scores_say_anything() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.random(20_000)
    right = rng.random(20_000) < 0.3 + 0.6 * confidence
    found = answered_accuracy(right, confidence, (1.0, 0.8, 0.6, 0.4, 0.2), np.ones((20_000, 1)))[:, 0]
    np.testing.assert_allclose(found, [0.6, 0.66, 0.72, 0.78, 0.84], atol=0.015)
    unrelated = answered_accuracy(right, rng.random(20_000), (1.0, 0.2), np.ones((20_000, 1)))[:, 0]
    assert abs(unrelated[1] - unrelated[0]) < 0.025
