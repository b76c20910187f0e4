"""Lines through logits that make the truth most likely.

Goes in: logits and truth. Comes out: a slope for all labels, or slope and offset of one.
Knows nothing about: label sets, splits, files.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float, Float64

__all__ = ["best_slope", "line_of_label", "log_odds", "loss", "sigmoid"]

Odds = Float64[np.ndarray, "sample label"]

_SLOPES: Final = (0.05, 20.0)  # where labels are told apart without an error, likelihood asks for infinity
_OFFSETS: Final = (-20.0, 20.0)
_HALVINGS: Final = 60
_TINY, _NEARLY_ONE = 1e-30, 1 - 2.0**-25  # a float32 sigmoid gives 0 and 1


def log_odds(scores: Float[np.ndarray, "sample label"], *, exclusive: bool) -> Odds:
    """The logits that a sigmoid, or but for a constant a softmax, turned into these scores."""
    values = np.maximum(np.asarray(scores, dtype=np.float64), _TINY)
    if exclusive:
        return np.log(values)
    values = np.minimum(values, _NEARLY_ONE)
    found: Odds = np.log(values) - np.log1p(-values)
    return found


def loss(odds: Odds, truth: Odds, *, exclusive: bool) -> float:
    """Negative log-likelihood, mean over samples; where any number of labels may hold, over labels too."""
    if exclusive:
        return float((_log_sum(odds) - (odds * truth).sum(axis=1)).mean())
    return float((np.logaddexp(0, odds) - odds * truth).mean())


def best_slope(odds: Odds, truth: Odds, *, exclusive: bool) -> float:
    """The slope of least loss, the inverse of a temperature. The loss is convex in it: halving finds it."""
    low, high = _SLOPES
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _loss_rises(middle, odds, truth, exclusive=exclusive):
            high = middle
        else:
            low = middle
    slope = (low + high) / 2
    here = loss(slope * odds, truth, exclusive=exclusive)
    return slope if here <= loss(odds, truth, exclusive=exclusive) else 1.0


def line_of_label(
    odds: Float64[np.ndarray, " sample"], truth: Float64[np.ndarray, " sample"], *, start: float
) -> tuple[float, float]:
    """Slope (above 0) and offset of least loss for one label; the slope 1 where none is better."""
    from scipy.optimize import minimize

    def measure(line: np.ndarray) -> tuple[float, np.ndarray]:
        moved = line[0] * odds + line[1]
        error = sigmoid(moved) - truth
        slope = np.array([(error * odds).mean(), error.mean()])
        return float((np.logaddexp(0, moved) - moved * truth).mean()), slope

    found = minimize(measure, (start, 0.0), jac=True, method="L-BFGS-B", bounds=(_SLOPES, _OFFSETS))
    unchanged, _ = measure(np.array([1.0, 0.0]))
    return (float(found.x[0]), float(found.x[1])) if found.fun <= unchanged else (1.0, 0.0)


def _loss_rises(slope: float, odds: Odds, truth: Odds, *, exclusive: bool) -> bool:
    moved = slope * odds
    guess = np.exp(moved - _log_sum(moved)[:, None]) if exclusive else sigmoid(moved)
    return bool(((guess - truth) * odds).sum() > 0)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-values)), without an overflow."""
    found: np.ndarray = np.exp(-np.logaddexp(0, -values))
    return found


def _log_sum(odds: Odds) -> Float64[np.ndarray, " sample"]:
    top = odds.max(axis=1)
    found: np.ndarray = top + np.log(np.exp(odds - top[:, None]).sum(axis=1))
    return found
