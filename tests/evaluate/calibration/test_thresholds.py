"""Thresholds against all possible cuts, in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import DataError, UnknownNameError
from mien.evaluate.calibration.thresholds import DEFAULT_THRESHOLD, ThresholdRule, decide, fit_thresholds

COST = 2.5


@st.composite
def one_label(draw: st.DrawFn) -> tuple[list[float], list[bool]]:
    scores = draw(st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.3001, 0.7, 0.9, 1.0]), min_size=1, max_size=12))
    holds = draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    return scores, holds


def counts(scores: list[float], holds: list[bool], threshold: float) -> tuple[int, int, int]:
    """True positives, false positives, false negatives."""
    pairs = [(score >= threshold, hold) for score, hold in zip(scores, holds, strict=True)]
    return (
        sum(said and hold for said, hold in pairs),
        sum(said and not hold for said, hold in pairs),
        sum(hold and not said for said, hold in pairs),
    )


def merit(rule: ThresholdRule, found: tuple[int, int, int]) -> float:
    right, wrong, missed = found
    if rule == "f1":
        return 2 * right / (2 * right + wrong + missed)
    if rule == "precision_recall":
        return -abs(wrong - missed)  # where they are equal, so are precision and recall
    return -(COST * missed + wrong)


@pytest.mark.parametrize("rule", ["f1", "precision_recall", "cost"])
@settings(max_examples=80, deadline=None)
@given(made=one_label())
def test_no_other_cut_is_better(rule: ThresholdRule, made: tuple[list[float], list[bool]]) -> None:
    scores, holds = made
    column, truth = np.array(scores)[:, None], np.array(holds, dtype=float)[:, None]
    (found,), (default,) = fit_thresholds(truth, column, rule=rule, cost=COST)
    assert default == (not any(holds))
    if default:
        assert found == DEFAULT_THRESHOLD
        return
    best = max(merit(rule, counts(scores, holds, cut)) for cut in (*scores, 2.0))
    assert merit(rule, counts(scores, holds, found)) == pytest.approx(best)
    # It lies between scores: rounding moves no sample across.
    assert counts(scores, holds, found - 1e-9) == counts(scores, holds, found) or found == 0


def test_each_label_is_cut_along_the_samples() -> None:
    # Two labels of opposite difficulty; cut along the other axis, both would get the same threshold.
    scores = np.array([[0.9, 0.2], [0.8, 0.15], [0.3, 0.05], [0.1, 0.01]])
    targets = np.array([[1, 1], [1, 1], [0, 0], [0, 0]], dtype=float)
    for rule in ("f1", "precision_recall", "cost"):
        found, _ = fit_thresholds(targets, scores, rule=rule)
        np.testing.assert_allclose(found, [0.55, 0.1])
        np.testing.assert_array_equal(decide(scores, found), targets)


def test_an_expensive_miss_lowers_the_threshold_and_a_cheap_one_raises_it() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 1)) < 0.3).astype(float)
    scores = 1 / (1 + np.exp(-(rng.normal(size=truth.shape) + truth)))
    cheap, fair, expensive = (
        fit_thresholds(truth, scores, rule="cost", cost=c)[0][0] for c in (0.1, 1.0, 10.0)
    )
    assert expensive < fair < cheap
    assert decide(scores, np.array([cheap])).sum() < decide(scores, np.array([expensive])).sum()


def test_thresholds_chosen_on_one_half_improve_the_other() -> None:
    """On a rare label the fitted threshold beats 0.5, on samples that it was not chosen on."""
    rng = np.random.default_rng(1)
    truth = (rng.random((4000, 1)) < 0.08).astype(float)
    scores = 1 / (1 + np.exp(-(rng.normal(size=truth.shape) + 1.8 * truth - 2.5)))
    found, _ = fit_thresholds(truth[:2000], scores[:2000])

    def f1(threshold: float) -> float:
        said, holds = scores[2000:, 0] >= threshold, truth[2000:, 0] > 0
        return 2 * float((said & holds).sum()) / float(said.sum() + holds.sum())

    assert f1(found[0]) > f1(0.5) + 0.1


def test_invalid_rules_and_scores_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="threshold rule 'f2'"):
        fit_thresholds(np.ones((2, 1)), np.zeros((2, 1)), rule="f2")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not finite"):
        fit_thresholds(np.ones((2, 1)), np.full((2, 1), np.nan))
