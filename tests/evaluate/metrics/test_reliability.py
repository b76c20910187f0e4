"""Calibration error and Brier score against plain Python, scikit-learn and answers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from mien.errors import DataError
from mien.evaluate.metrics.reliability import BINS, reliability_bins
from mien.evaluate.metrics.table import resolve_metric
from mien.labels import CAERS, EMOTIC

ECE, BRIER = resolve_metric("ECE", EMOTIC), resolve_metric("Brier", EMOTIC)
EXCLUSIVE_ECE, EXCLUSIVE_BRIER = resolve_metric("ECE", CAERS), resolve_metric("Brier", CAERS)
# Includes scores at the edges of bins and at both ends.
LEVELS = [0.0, 1 / 15, 0.2, 1 / 3, 0.5, 0.6, 0.99, 1.0]


def error_of(scores: list[float], came_true: list[bool]) -> float:
    """Bin by bin, in plain Python."""
    total = 0.0
    for index in range(BINS):
        inside = [
            (score, one)
            for score, one in zip(scores, came_true, strict=True)
            if min(int(score * BINS), BINS - 1) == index
        ]
        if inside:
            mean = sum(score for score, _ in inside) / len(inside)
            share = sum(one for _, one in inside) / len(inside)
            total += len(inside) / len(scores) * abs(mean - share)
    return total


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rows, labels = draw(st.integers(1, 12)), draw(st.integers(2, 4))
    size = rows * labels
    scores = draw(st.lists(st.sampled_from(LEVELS), min_size=size, max_size=size))
    targets = draw(st.lists(st.sampled_from([0.0, 0.49, 0.5, 1.0]), min_size=size, max_size=size))
    return np.array(scores).reshape(rows, labels), np.array(targets).reshape(rows, labels)


@settings(max_examples=100, deadline=None)
@given(scored())
def test_in_multi_label_sets_each_label_is_judged_alone(
    made: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, targets = made
    columns = [(scores[:, k].tolist(), (targets[:, k] >= 0.5).tolist()) for k in range(scores.shape[1])]
    assert ECE.value(targets, scores) == pytest.approx(np.mean([error_of(*one) for one in columns]))
    expected = np.mean([brier_score_loss(holds, column, pos_label=True) for column, holds in columns])
    assert BRIER.value(targets, scores) == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(scored(), st.integers(0, 100))
def test_in_exclusive_sets_the_highest_score_is_judged(
    made: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    scores, _ = made
    classes = np.random.default_rng(seed).integers(0, scores.shape[1], len(scores))
    targets = np.eye(scores.shape[1])[classes]
    right = [int(row.argmax()) == one for row, one in zip(scores, classes, strict=True)]
    found = EXCLUSIVE_ECE.value(targets, scores)
    assert found == pytest.approx(error_of(scores.max(axis=1).tolist(), right))
    by_hand = [
        sum((p - (k == one)) ** 2 for k, p in enumerate(row))
        for row, one in zip(scores, classes, strict=True)
    ]
    assert EXCLUSIVE_BRIER.value(targets, scores) == pytest.approx(np.mean(by_hand))


def test_by_hand() -> None:
    # Four scores of 0.7, half of them right, and one of 0.05, which is wrong: 4/5 * 0.2 + 1/5 * 0.05.
    scores = np.array([[0.7], [0.7], [0.7], [0.7], [0.05]])
    targets = np.array([[1.0], [1.0], [0.0], [0.0], [0.0]])
    assert ECE.value(targets, scores) == pytest.approx(0.17)
    bins = reliability_bins(targets, scores, exclusive=False)
    assert [one.count for one in bins] == [1, 4]
    assert [one.score for one in bins] == pytest.approx([0.05, 0.7])
    assert [one.share for one in bins] == [0.0, 0.5]
    assert all(one.low <= one.score <= one.high for one in bins)


def test_scores_that_are_probabilities_have_almost_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((40_000, 3))
    targets = (rng.random(scores.shape) < scores).astype(float)
    assert ECE.value(targets, scores) < 0.012
    assert ECE.value(targets, scores**3) > 0.2


def test_chance_is_the_cost_of_always_answering_the_prevalence() -> None:
    rng = np.random.default_rng(1)
    multi = (rng.random((200, 4)) < [0.1, 0.3, 0.5, 0.0]).astype(float)
    always = np.broadcast_to(multi.mean(axis=0), multi.shape)
    assert BRIER.chance(multi) == pytest.approx(BRIER.value(multi, always))
    assert ECE.value(multi, always) == pytest.approx(ECE.chance(multi), abs=1e-12)
    one = np.eye(4)[rng.integers(0, 4, 200)]
    always = np.broadcast_to(one.mean(axis=0), one.shape)
    assert EXCLUSIVE_BRIER.chance(one) == pytest.approx(EXCLUSIVE_BRIER.value(one, always))


def test_scores_outside_of_0_to_1_or_not_finite_are_refused() -> None:
    targets = np.array([[1.0], [0.0]])
    for item in (ECE, BRIER, EXCLUSIVE_ECE, EXCLUSIVE_BRIER):
        with pytest.raises(DataError, match="outside of 0 to 1"):
            item.value(np.ones((2, 1)), np.array([[1.5], [0.0]]))
        with pytest.raises(DataError, match="not finite"):
            item.value(targets, np.array([[np.nan], [0.0]]))
