"""Deletion and insertion of parts whose effect is known."""

from __future__ import annotations

import numpy as np
import pytest

from mien.predict.explain.curves import RandomOrders, measure_faithfulness


class Additive:
    """The score of a label is the sum of the weights of the parts that are shown."""

    def __init__(self, weights: list[list[float]]) -> None:
        self.weights = np.array(weights)  # (label, part)
        self.num_parts = self.weights.shape[1]
        self.num_scored = 0

    def scores(self, hidden: np.ndarray) -> np.ndarray:
        self.num_scored += len(hidden)
        scores: np.ndarray = (~hidden) @ self.weights.T
        return scores


@pytest.mark.parametrize("num_parts", [1, 2, 3, 8, 9, 40])
def test_curves_are_those_of_the_sum_of_the_weights(num_parts: int) -> None:
    weights = np.linspace(0.0, 1.0, num_parts) if num_parts > 1 else np.ones(1)
    parts = Additive([list(weights / weights.sum())])
    random = RandomOrders.draw(parts, pairs=4, steps=8, seed=0)
    (found,) = measure_faithfulness(parts, {"truth": parts.weights[0]}, 0, random)
    descending = np.sort(parts.weights[0])[::-1].cumsum()
    for share, deleted, inserted in zip(
        found.deletion.shares, found.deletion.scores, found.insertion.scores, strict=True
    ):
        shown = descending[round(share * num_parts) - 1] if share else 0.0
        assert inserted == pytest.approx(shown)
        assert deleted == pytest.approx(1 - shown)
    assert [1 - share for share in reversed(found.deletion.shares)] == pytest.approx(found.deletion.shares)


def test_the_true_importance_is_faithful_and_its_opposite_is_not() -> None:
    rng = np.random.default_rng(1)
    parts = Additive([list(rng.random(30) ** 4), list(rng.random(30))])
    random = RandomOrders.draw(parts, pairs=8, steps=8, seed=0)
    for label in (0, 1):
        importance = {"truth": parts.weights[label], "opposite": -parts.weights[label]}
        truth, opposite = measure_faithfulness(parts, importance, label, random)
        assert truth.is_faithful
        assert truth.deletion.area < truth.random_deletion.area
        assert truth.insertion.area > truth.random_insertion.area
        assert not opposite.is_faithful
        assert opposite.gain == pytest.approx(-truth.gain)


def test_few_random_orders_pass_for_faithful() -> None:
    """The limit has its nominal level, though it is estimated from eight pairs."""
    rng = np.random.default_rng(2)
    parts = Additive([list(rng.random(24) ** 3)])
    passed = 0
    for seed in range(200):
        random = RandomOrders.draw(parts, pairs=8, steps=8, seed=seed)
        (found,) = measure_faithfulness(parts, {"random": rng.random(24)}, 0, random)
        passed += found.is_faithful
    assert 0.01 < passed / 200 < 0.11


def test_a_random_order_counts_in_both_directions() -> None:
    parts = Additive([[0.1, 0.2, 0.3, 0.4]])
    random = RandomOrders.draw(parts, pairs=3, steps=4, seed=0)
    assert random.deletion.shape == random.insertion.shape == (6, 5, 1)
    np.testing.assert_allclose(random.insertion.mean(axis=0), random.deletion.mean(axis=0)[::-1])
    gains = (random.insertion - random.deletion).sum(axis=1)[:, 0]
    np.testing.assert_allclose(gains[::2], -gains[1::2], atol=1e-12)
    assert parts.num_scored == 2 + 3 * 2 * 3  # the ends are scored once
