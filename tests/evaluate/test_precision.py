"""Both average precisions and the ROC area against scikit-learn, plain Python and answers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from mien.errors import DataError
from mien.evaluate.metrics.average_precision import (
    average_precisions,
    interpolated_precisions,
    mean_average_precision,
    mean_interpolated_precision,
)
from mien.evaluate.metrics.by_label import f1_scores, predicted_labels, roc_areas, true_labels
from mien.evaluate.metrics.rank_kernel import Rankings


@st.composite
def ranked(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores full of ties and soft targets, a label of them perhaps without any positive."""
    rows, labels = draw(st.integers(1, 14)), draw(st.integers(1, 3))
    level = st.integers(0, 5)
    scores = draw(st.lists(level, min_size=rows * labels, max_size=rows * labels))
    targets = draw(
        st.lists(st.sampled_from([0.0, 0.2, 0.49, 0.5, 0.9, 1.0]), min_size=len(scores), max_size=len(scores))
    )
    shape = (rows, labels)
    return np.array(scores).reshape(shape) / 5, np.array(targets).reshape(shape)


def steps(scores: list[float], holds: list[bool]) -> list[tuple[float, float]]:
    """(recall, precision) after each distinct score, highest first, in plain Python."""
    found = []
    for threshold in sorted(set(scores), reverse=True):
        above = [hold for score, hold in zip(scores, holds, strict=True) if score >= threshold]
        found.append((sum(above) / sum(holds), sum(above) / len(above)))
    return found


def interpolated(scores: list[float], holds: list[bool]) -> float:
    """The formula of the docstring, word by word."""
    total, before = 0.0, 0.0
    curve = steps(scores, holds)
    for at, (recall, _) in enumerate(curve):
        total += (recall - before) * max(precision for _, precision in curve[at:])
        before = recall
    return total


def as_matlab(scores: list[float], holds: list[bool]) -> float:
    """As MATLAB code has it: padded curves, smoothed from behind, summed where recall moves."""
    curve = steps(scores, holds)
    recall = [0.0, *(one for one, _ in curve), 1.0]
    precision = [0.0, *(one for _, one in curve), 0.0]
    for at in range(len(precision) - 2, -1, -1):
        precision[at] = max(precision[at], precision[at + 1])
    moves = [at for at in range(1, len(recall)) if recall[at] != recall[at - 1]]
    return sum((recall[at] - recall[at - 1]) * precision[at] for at in moves)


@settings(max_examples=60, deadline=None)
@given(ranked())
def test_every_label_equals_its_oracles(made: tuple[np.ndarray, np.ndarray]) -> None:
    scores, targets = made
    plain, smooth, areas = (
        function(scores, targets) for function in (average_precisions, interpolated_precisions, roc_areas)
    )
    for label in range(scores.shape[1]):
        column, holds = scores[:, label].tolist(), (targets[:, label] >= 0.5).tolist()
        if not any(holds):
            assert np.isnan([plain[label], smooth[label], areas[label]]).all()
            continue
        assert plain[label] == pytest.approx(average_precision_score(holds, column))
        assert smooth[label] == pytest.approx(interpolated(column, holds))
        assert smooth[label] == pytest.approx(as_matlab(column, holds))
        assert smooth[label] >= plain[label] - 1e-12
        assert np.isnan(areas[label]) if all(holds) else areas[label] == roc_auc_score(holds, column)


@settings(max_examples=30, deadline=None)
@given(ranked(), st.integers(0, 100))
def test_resamples_equal_repeated_samples(made: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    scores, targets = made
    counts = np.random.default_rng(seed).integers(0, 3, (len(scores), 4))
    found = Rankings().values(scores, targets, counts.astype(np.float32))
    for column, times in enumerate(counts.T):
        rows = np.repeat(np.arange(len(scores)), times)
        if not len(rows):
            assert np.isnan(found.average_precision[:, column]).all()
            continue
        repeated = scores[rows], targets[rows]
        for values, function in (
            (found.average_precision, average_precisions),
            (found.interpolated_precision, interpolated_precisions),
            (found.roc_area, roc_areas),
        ):
            np.testing.assert_allclose(values[:, column], function(*repeated), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(ranked(), st.integers(0, 100))
def test_no_value_depends_on_the_order_of_samples(made: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    scores, targets = made
    order = np.random.default_rng(seed).permutation(len(scores))
    for function in (average_precisions, interpolated_precisions, roc_areas):
        np.testing.assert_allclose(function(scores, targets), function(scores[order], targets[order]))


def test_interpolated_precision_by_hand() -> None:
    # Ranked: miss, hit, hit, miss, hit. Precision at the hits: 1/2, 2/3, 3/5; the best from there on: 2/3,
    # 2/3, 3/5.
    scores = np.array([[0.9], [0.8], [0.7], [0.6], [0.5]])
    targets = np.array([[0.0], [1.0], [1.0], [0.0], [1.0]])
    assert mean_interpolated_precision(scores, targets) == pytest.approx((2 / 3 + 2 / 3 + 3 / 5) / 3)
    assert mean_average_precision(scores, targets) == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)


def test_what_is_not_finite_or_not_there_is_refused() -> None:
    scores, targets = np.array([[0.1], [np.nan]]), np.array([[1.0], [0.0]])
    for function in (average_precisions, interpolated_precisions, roc_areas):
        with pytest.raises(DataError, match="scores of sample 1 are not finite"):
            function(scores, targets)
    with pytest.raises(DataError, match="no label has a positive"):
        mean_interpolated_precision(np.zeros((3, 2)), np.zeros((3, 2)))


def test_f1_of_each_label_by_hand() -> None:
    scores = np.array([[0.9, 0.2, 0.1], [0.6, 0.5, 0.1], [0.4, 0.9, 0.1]])
    targets = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    multi = f1_scores(predicted_labels(scores, exclusive=False), true_labels(targets, exclusive=False))
    np.testing.assert_allclose(multi, [0.5, 1.0, np.nan])
    one = f1_scores(predicted_labels(scores, exclusive=True), true_labels(np.eye(3), exclusive=True))
    np.testing.assert_allclose(one, [2 / 3, 0.0, 0.0])
