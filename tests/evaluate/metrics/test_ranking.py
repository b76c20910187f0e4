"""Both average precisions and the ROC area against scikit-learn, plain Python and answers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from tests.factories.metric_cases import multi_label_case

from mien.errors import DataError
from mien.evaluate.metrics.metric import unit_weight
from mien.evaluate.metrics.ranking import (
    MAP,
    MAP_EMOTIC,
    MAP_TAIL,
    MEAN_ROC_AUC,
    RankingValues,
    ranking_values,
    share_rankings,
    tail_labels,
)


def values_of(targets: np.ndarray, scores: np.ndarray) -> RankingValues:
    return ranking_values(targets, scores, unit_weight(len(targets)))


def arrays(values: RankingValues) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return values.average_precision, values.interpolated_precision, values.roc_auc


@st.composite
def ranked(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and soft targets; some labels may have no positive."""
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
    """The formula of the docstring, term by term."""
    total, before = 0.0, 0.0
    curve = steps(scores, holds)
    for at, (recall, _) in enumerate(curve):
        total += (recall - before) * max(precision for _, precision in curve[at:])
        before = recall
    return total


def as_matlab(scores: list[float], holds: list[bool]) -> float:
    """As in the MATLAB code: padded curves, smoothed from the end, summed where recall changes."""
    curve = steps(scores, holds)
    recall = [0.0, *(one for one, _ in curve), 1.0]
    precision = [0.0, *(one for _, one in curve), 0.0]
    for at in range(len(precision) - 2, -1, -1):
        precision[at] = max(precision[at], precision[at + 1])
    moves = [at for at in range(1, len(recall)) if recall[at] != recall[at - 1]]
    return sum((recall[at] - recall[at - 1]) * precision[at] for at in moves)


@settings(max_examples=60, deadline=None)
@given(ranked())
def test_every_label_equals_scikit_learn_and_the_formulas(made: tuple[np.ndarray, np.ndarray]) -> None:
    scores, targets = made
    plain, smooth, areas = (values[:, 0] for values in arrays(values_of(targets, scores)))
    for label in range(scores.shape[1]):
        column, holds = scores[:, label].tolist(), (targets[:, label] >= 0.5).tolist()
        if not any(holds):
            assert np.isnan([plain[label], smooth[label], areas[label]]).all()
            continue
        assert plain[label] == pytest.approx(average_precision_score(holds, column))
        assert smooth[label] == pytest.approx(interpolated(column, holds))
        assert smooth[label] == pytest.approx(as_matlab(column, holds))
        assert smooth[label] >= plain[label] - 1e-12
        if all(holds):
            assert np.isnan(areas[label])
        else:
            assert areas[label] == pytest.approx(roc_auc_score(holds, column), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(ranked(), st.integers(0, 100))
def test_resamples_equal_repeated_samples(made: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    scores, targets = made
    counts = np.random.default_rng(seed).integers(0, 3, (len(scores), 4))
    found = arrays(ranking_values(targets, scores, counts.astype(np.float32)))
    for column, times in enumerate(counts.T):
        rows = np.repeat(np.arange(len(scores)), times)
        if not len(rows):
            assert all(np.isnan(values[:, column]).all() for values in found)
            continue
        repeated = arrays(values_of(targets[rows], scores[rows]))
        for values, expected in zip(found, repeated, strict=True):
            np.testing.assert_allclose(values[:, column], expected[:, 0], atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(ranked(), st.integers(0, 100))
def test_no_value_depends_on_the_order_of_samples(made: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    scores, targets = made
    order = np.random.default_rng(seed).permutation(len(scores))
    ordered = arrays(values_of(targets[order], scores[order]))
    for values, expected in zip(arrays(values_of(targets, scores)), ordered, strict=True):
        np.testing.assert_allclose(values, expected)


def test_interpolated_precision_by_hand() -> None:
    # Ranked: miss, hit, hit, miss, hit. Precision at the hits: 1/2, 2/3, 3/5; the best from there on: 2/3,
    # 2/3, 3/5.
    scores = np.array([[0.9], [0.8], [0.7], [0.6], [0.5]])
    targets = np.array([[0.0], [1.0], [1.0], [0.0], [1.0]])
    assert MAP_EMOTIC.value(targets, scores) == pytest.approx((2 / 3 + 2 / 3 + 3 / 5) / 3)
    assert MAP.value(targets, scores) == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)


def test_invalid_scores_are_refused() -> None:
    scores, targets = np.array([[0.1], [np.nan]]), np.array([[1.0], [0.0]])
    for metric in (MAP, MAP_EMOTIC, MEAN_ROC_AUC):
        with pytest.raises(DataError, match="scores of sample 1 are not finite"):
            metric.value(targets, scores)
    with pytest.raises(DataError, match="no label has a positive"):
        MAP_EMOTIC.value(np.zeros((3, 2)), np.zeros((3, 2)))


# --- Means over labels ---


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_map_is_the_mean_of_scikit_learns_average_precisions(seed: int, ties: bool) -> None:
    targets, scores = multi_label_case(seed, ties=ties)
    expected = [average_precision_score(targets[:, k], scores[:, k]) for k in range(targets.shape[1])]
    np.testing.assert_allclose(values_of(targets, scores).average_precision[:, 0], expected, rtol=1e-12)
    assert MAP.value(targets, scores) == pytest.approx(np.mean(expected))


def test_average_precision_by_hand() -> None:
    # Ranked: hit, miss, hit, miss: (1/1 + 2/3) / 2.
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    targets = np.array([[1.0], [0.0], [1.0], [0.0]])
    assert MAP.value(targets, scores) == pytest.approx((1 + 2 / 3) / 2)


def test_equal_scores_count_as_one_step_in_any_order() -> None:
    # Three samples share the highest score; one of them is a hit: precision 1/3 for that hit.
    scores = np.array([[0.9], [0.9], [0.9], [0.1]])
    for hit in range(3):
        targets = np.zeros((4, 1))
        targets[hit] = 1.0
        assert MAP.value(targets, scores) == pytest.approx(1 / 3)


def test_a_label_without_positives_is_left_out_of_the_mean() -> None:
    targets, scores = multi_label_case(3)
    alone = MAP.value(targets[:, :3], scores[:, :3])
    targets[:, 3:] = 0.0
    assert np.isnan(values_of(targets, scores).average_precision[3:]).all()
    assert MAP.value(targets, scores) == pytest.approx(alone)


def test_map_without_any_positive_is_an_error() -> None:
    with pytest.raises(DataError, match="no label has a positive"):
        MAP.value(np.zeros((3, 2)), np.zeros((3, 2)))


def test_soft_targets_are_positive_from_a_half() -> None:
    scores = np.array([[0.9], [0.5], [0.1]])
    soft = MAP.value(np.array([[0.5], [0.49], [0.1]]), scores)
    hard = MAP.value(np.array([[1.0], [0.0], [0.0]]), scores)
    assert soft == hard == 1.0


@pytest.mark.parametrize("ties", [False, True])
def test_mra_is_the_mean_of_scikit_learns_areas(ties: bool) -> None:
    targets, scores = multi_label_case(4, ties=ties)
    targets[:, 0] = 0.0  # no sample has it: no area
    targets[:, 1] = 0.7  # every sample has it: none either
    expected = [roc_auc_score(targets[:, k], scores[:, k]) for k in range(2, targets.shape[1])]
    assert MEAN_ROC_AUC.value(targets, scores) == pytest.approx(np.mean(expected))


def test_mra_needs_a_label_with_positives_and_negatives() -> None:
    with pytest.raises(DataError, match="mRA is not defined"):
        MEAN_ROC_AUC.value(np.ones((3, 2)), np.ones((3, 2)))


def _with_counts(counts: list[int], rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and targets of which so many samples have each label."""
    rng = np.random.default_rng(10)
    targets = np.zeros((rows, len(counts)), dtype=np.float32)
    for label, count in enumerate(counts):
        targets[rng.permutation(rows)[:count], label] = 1.0
    return rng.random(targets.shape).astype(np.float32), targets


@pytest.mark.parametrize(
    ("counts", "tail"),
    [
        ([9, 3, 0, 5, 7, 30, 4], [1, 6]),  # six labels are held by some sample
        ([9, 3, 2, 5, 7, 30, 4], [1, 2, 6]),  # seven: a third is rounded up
        ([5, 4, 4, 4], [1, 2]),  # equally rare: the first ones
        ([0, 8, 0], [1]),
    ],
)
def test_map_of_the_tail_is_the_mean_over_the_rarest_third(counts: list[int], tail: list[int]) -> None:
    scores, targets = _with_counts(counts)
    assert tail_labels(targets).tolist() == tail
    expected = np.mean([average_precision_score(targets[:, k], scores[:, k]) for k in tail])
    assert MAP_TAIL.value(targets, scores) == pytest.approx(expected)
    assert MAP_TAIL.chance(targets) == pytest.approx(MAP.chance(targets[:, tail]))


def test_soft_targets_are_in_the_tail_by_their_positives() -> None:
    scores, targets = _with_counts([4, 6, 8])
    soft = np.where(targets > 0, 0.6, 0.4).astype(np.float32)
    assert tail_labels(soft).tolist() == [0]
    assert MAP_TAIL.value(soft, scores) == MAP_TAIL.value(targets, scores)


def test_there_is_no_tail_without_labels() -> None:
    with pytest.raises(DataError, match="no label has a positive"):
        MAP_TAIL.value(np.zeros((3, 2)), np.zeros((3, 2)))


def test_metrics_of_the_same_scores_share_one_ranking() -> None:
    targets, scores = multi_label_case(1)
    weight = unit_weight(len(targets))
    with share_rankings():
        first = ranking_values(targets, scores, weight)
        assert ranking_values(targets.copy(), scores.copy(), weight) is first
        assert ranking_values(targets, scores, weight.copy()) is not first  # other weights
        assert ranking_values(targets, scores[:, ::-1], weight) is not first
    assert ranking_values(targets, scores, weight) is not first
