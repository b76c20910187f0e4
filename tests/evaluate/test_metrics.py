"""The metrics against scikit-learn and against answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, r2_score, roc_auc_score

from mien.errors import ConfigError, DataError, UnknownNameError
from mien.evaluate.metrics import table as metrics
from mien.evaluate.metrics.average_precision import tail_labels
from mien.evaluate.metrics.dimensions import mean_r2, vad_mae
from mien.labels import BOLD, CAERS, EMOTIC


def _multi(
    seed: int, *, ties: bool = False, rows: int = 200, labels: int = 6
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = (rng.random((rows, labels)) < rng.uniform(0.05, 0.5, labels)).astype(np.float32)
    targets[0] = 1.0
    scores = np.clip(rng.random((rows, labels)) * 0.8 + 0.2 * targets, 0, 1).astype(np.float32)
    return (np.round(scores, 1) if ties else scores), targets


def _one_hot(classes: list[int], count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[classes]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_map_is_the_mean_of_scikit_learns_average_precisions(seed: int, ties: bool) -> None:
    scores, targets = _multi(seed, ties=ties)
    expected = [average_precision_score(targets[:, k], scores[:, k]) for k in range(targets.shape[1])]
    np.testing.assert_allclose(metrics.average_precisions(scores, targets), expected)
    assert metrics.mean_average_precision(scores, targets) == pytest.approx(np.mean(expected))


def test_average_precision_by_hand() -> None:
    # Ranked: hit, miss, hit, miss: (1/1 + 2/3) / 2.
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    targets = np.array([[1.0], [0.0], [1.0], [0.0]])
    assert metrics.mean_average_precision(scores, targets) == pytest.approx((1 + 2 / 3) / 2)


def test_equal_scores_count_as_one_step_whatever_their_order() -> None:
    # Three samples share the highest score; one of them is a hit: precision 1/3 for that hit.
    scores = np.array([[0.9], [0.9], [0.9], [0.1]])
    for hit in range(3):
        targets = np.zeros((4, 1))
        targets[hit] = 1.0
        assert metrics.mean_average_precision(scores, targets) == pytest.approx(1 / 3)


def test_a_label_without_positives_is_left_out_of_the_mean() -> None:
    scores, targets = _multi(3)
    alone = metrics.mean_average_precision(scores[:, :3], targets[:, :3])
    targets[:, 3:] = 0.0
    assert np.isnan(metrics.average_precisions(scores, targets)[3:]).all()
    assert metrics.mean_average_precision(scores, targets) == pytest.approx(alone)


def test_map_without_any_positive_is_an_error() -> None:
    with pytest.raises(DataError, match="no label has a positive"):
        metrics.mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2)))


def test_soft_targets_are_positive_from_a_half() -> None:
    scores = np.array([[0.9], [0.5], [0.1]])
    soft = metrics.mean_average_precision(scores, np.array([[0.5], [0.49], [0.1]]))
    hard = metrics.mean_average_precision(scores, np.array([[1.0], [0.0], [0.0]]))
    assert soft == hard == 1.0


def test_accuracy_and_macro_f1_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    truth, scores = rng.integers(0, 7, 300), rng.random((300, 7))
    scores[np.arange(300), truth] += 0.3
    targets, predicted = np.eye(7)[truth], scores.argmax(axis=1)
    assert metrics.accuracy(scores, targets) == pytest.approx(accuracy_score(truth, predicted))
    assert metrics.macro_f1(scores, targets) == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_macro_f1_leaves_out_labels_that_are_neither_true_nor_predicted() -> None:
    # Classes 0 and 1 occur, 2 does not. F1 of class 0: 2/3, of class 1: 2/3.
    targets = _one_hot([0, 0, 1], 3)
    scores = _one_hot([0, 1, 1], 3)
    assert metrics.macro_f1(scores, targets) == pytest.approx(2 / 3)


def test_macro_f1_at_half_agrees_with_scikit_learn() -> None:
    scores, targets = _multi(5)
    expected = f1_score(targets >= 0.5, scores >= 0.5, average="macro", zero_division=0)
    assert metrics.macro_f1_at_half(scores, targets) == pytest.approx(expected)


def test_accuracy_takes_the_first_of_equal_scores() -> None:
    scores = np.full((2, 3), 0.2)
    assert metrics.accuracy(scores, _one_hot([0, 2], 3)) == 0.5


def test_accuracy_refuses_a_sample_without_a_label() -> None:
    with pytest.raises(DataError, match="sample 1 has no label"):
        metrics.accuracy(np.ones((2, 2)), np.array([[1.0, 0.0], [0.0, 0.0]]))


def test_vad_mae_leaves_out_what_nobody_annotated() -> None:
    values = np.array([[0.5, 0.5, 0.5], [0.2, 0.4, 0.6]])
    targets = np.array([[0.6, np.nan, 0.3], [np.nan, np.nan, np.nan]])
    assert vad_mae(values, targets) == pytest.approx((0.1 + 0.2) / 2)
    with pytest.raises(DataError, match="no sample has them"):
        vad_mae(values, np.full((2, 3), np.nan))
    with pytest.raises(DataError, match="not finite"):
        vad_mae(np.full((2, 3), np.nan), targets)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    scores, targets = _multi(6)
    scores[7, 2] = bad
    with pytest.raises(DataError, match="scores of sample 7 are not finite"):
        metrics.mean_average_precision(scores, targets)
    with pytest.raises(DataError, match="targets of sample 7"):
        metrics.check(targets, scores)


def test_shapes_and_empty_splits_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(2, 3\) against targets of shape \(2, 2\)"):
        metrics.check(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(DataError, match="no samples"):
        metrics.check(np.zeros((0, 3)), np.zeros((0, 3)))


def test_chance_is_what_needs_no_look() -> None:
    targets = _one_hot([0, 0, 0, 1], 3)
    assert metrics.chance("accuracy", targets) == 0.75
    assert metrics.chance("macro_f1", targets) == pytest.approx(0.5)  # of the two labels that occur
    # Of three samples in four: over the four places of the other one. Of one in four: over its places.
    three = np.mean(
        [
            np.mean([1, 1, 1]),
            np.mean([1, 1, 3 / 4]),
            np.mean([1, 2 / 3, 3 / 4]),
            np.mean([1 / 2, 2 / 3, 3 / 4]),
        ]
    )
    one = np.mean([1, 1 / 2, 1 / 3, 1 / 4])
    assert metrics.chance("mAP", targets) == pytest.approx((three + one) / 2)
    dimensions = np.array([[0.2], [0.4], [0.9], [np.nan]])
    assert metrics.chance("vad_mae", dimensions) == pytest.approx((0.2 + 0.0 + 0.5) / 3)
    with pytest.raises(UnknownNameError, match="map_of_the_world"):
        metrics.chance("map_of_the_world", targets)


def test_random_scores_reach_chance_and_no_more() -> None:
    rng = np.random.default_rng(8)
    targets = (rng.random((4000, 5)) < 0.2).astype(np.float64)
    reached = np.mean([metrics.mean_average_precision(rng.random((4000, 5)), targets) for _ in range(5)])
    assert reached == pytest.approx(metrics.chance("mAP", targets), abs=0.01)


def test_metrics_by_name() -> None:
    assert metrics.primary_metric(EMOTIC) is metrics.METRICS["mAP"]
    assert metrics.primary_metric(CAERS) is metrics.METRICS["accuracy"]
    assert metrics.metric("macro_f1", CAERS).function is metrics.macro_f1
    assert metrics.metric("macro_f1", EMOTIC).function is metrics.macro_f1_at_half
    assert not metrics.metric("vad_mae", EMOTIC).higher_is_better
    with pytest.raises(UnknownNameError) as caught:
        metrics.metric("map", EMOTIC)
    assert "did you mean 'mAP'" in caught.value.hint
    with pytest.raises(ConfigError, match="several labels may hold"):
        metrics.metric("accuracy", EMOTIC)


def test_metrics_that_auto_stands_for() -> None:
    assert metrics.default_metrics(EMOTIC, dimensions=True) == ("mAP", "vad_mae")
    assert metrics.default_metrics(CAERS, dimensions=False) == ("accuracy", "macro_f1")


# --- The family that BoLD's papers report ---


@pytest.mark.parametrize("ties", [False, True])
def test_mra_is_the_mean_of_scikit_learns_areas(ties: bool) -> None:
    scores, targets = _multi(4, ties=ties)
    targets[:, 0] = 0.0  # nobody has it: no area
    targets[:, 1] = 0.7  # everybody has it: none either
    expected = [roc_auc_score(targets[:, k], scores[:, k]) for k in range(2, targets.shape[1])]
    assert metrics.mean_roc_auc(scores, targets) == pytest.approx(np.mean(expected))


def test_mra_needs_a_label_that_some_have_and_some_have_not() -> None:
    with pytest.raises(DataError, match="mRA is not defined"):
        metrics.mean_roc_auc(np.ones((3, 2)), np.ones((3, 2)))


def test_mr2_is_the_mean_of_scikit_learns_over_what_was_annotated() -> None:
    rng = np.random.default_rng(5)
    values, targets = rng.random((50, 3)), rng.random((50, 3))
    targets[:10, 1] = np.nan
    expected = [r2_score(targets[:, 0], values[:, 0]), r2_score(targets[10:, 1], values[10:, 1])]
    targets[:, 2] = 0.4  # all agree: no spread to explain
    assert mean_r2(values, targets) == pytest.approx(np.mean(expected))
    assert mean_r2(np.full((50, 3), np.nanmean(targets, axis=0)), targets) == pytest.approx(0.0)


def test_mr2_without_any_spread_is_an_error() -> None:
    with pytest.raises(DataError, match="R2 is not defined"):
        mean_r2(np.zeros((4, 3)), np.full((4, 3), 0.3))


def test_ers_is_put_together_as_the_challenge_does() -> None:
    scores, targets = _multi(6)
    rng = np.random.default_rng(7)
    values, dimensions = rng.random((len(scores), 3)), rng.random((len(scores), 3))
    found = metrics.emotion_recognition_score(np.hstack((scores, values)), np.hstack((targets, dimensions)))
    ranked = (metrics.mean_average_precision(scores, targets) + metrics.mean_roc_auc(scores, targets)) / 2
    assert found == pytest.approx((mean_r2(values, dimensions) + ranked) / 2)


def test_bold_is_judged_by_its_own_family() -> None:
    assert metrics.default_metrics(BOLD, dimensions=True) == ("mAP", "mRA", "mR2", "ERS")
    assert metrics.default_metrics(BOLD, dimensions=False) == ("mAP", "mRA")


def test_chance_of_the_family_is_what_blind_answers_reach() -> None:
    scores, targets = _multi(8, rows=400)
    dimensions = np.random.default_rng(9).random((400, 3))
    both = np.hstack((targets, dimensions))
    assert metrics.chance("mRA", targets) == metrics.mean_roc_auc(np.ones_like(scores), targets) == 0.5
    assert metrics.chance("mR2", dimensions) == 0.0
    expected = (metrics.chance("mAP", targets) + 0.5) / 4
    assert metrics.chance("ERS", both) == pytest.approx(expected)


# --- The long tail ---


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
    assert metrics.mean_tail_precision(scores, targets) == pytest.approx(expected)
    assert metrics.metric("mAP_tail", EMOTIC).function is metrics.mean_tail_precision
    assert metrics.metric("mAP_tail", CAERS).function is metrics.mean_tail_precision
    assert metrics.chance("mAP_tail", targets) == pytest.approx(metrics.chance("mAP", targets[:, tail]))


def test_soft_targets_are_in_the_tail_by_their_positives() -> None:
    scores, targets = _with_counts([4, 6, 8])
    soft = np.where(targets > 0, 0.6, 0.4).astype(np.float32)
    assert tail_labels(soft).tolist() == [0]
    assert metrics.mean_tail_precision(scores, soft) == metrics.mean_tail_precision(scores, targets)


def test_there_is_no_tail_where_nobody_has_a_label() -> None:
    with pytest.raises(DataError, match="no label has a positive"):
        metrics.mean_tail_precision(np.zeros((3, 2)), np.zeros((3, 2)))
