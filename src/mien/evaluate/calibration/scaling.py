"""Probabilities from scores: a slope and an offset for the logits of each label, fitted to a split.

"temperature" has one slope for all labels and no offsets, "platt" a slope and an offset per label. Both
minimize the negative log-likelihood, and are skipped where they do not lower it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import expit, logit, logsumexp, softmax

from mien.errors import ConfigError
from mien.evaluate.metrics.classification import true_labels
from mien.evaluate.metrics.targets import Labels
from mien.labels import LabelSet

__all__ = ["CalibrationMethod", "Lines", "Logits", "fit_lines", "label_names", "probabilities", "to_logits"]

CalibrationMethod = Literal["temperature", "platt", "none"]

_MIN_SAMPLES: Final = 5  # a label with fewer positives or negatives has no slope of its own

# Where scores separate a label without an error, the likelihood has its maximum at infinity.
_SLOPE_BOUNDS: Final = (0.05, 20.0)
_OFFSET_BOUNDS: Final = (-20.0, 20.0)
_LOWEST_SCORE, _HIGHEST_SCORE = 1e-30, 1 - 2.0**-25  # a float32 sigmoid returns 0 and 1

Logits = Float64[np.ndarray, "sample label"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lines:
    """The slope and the offset of each label, and which labels share the slope of all."""

    slopes: Float64[np.ndarray, " label"]
    offsets: Float64[np.ndarray, " label"]
    shared: Bool[np.ndarray, " label"]


def fit_lines(targets: Labels, scores: Labels, label_set: LabelSet, method: CalibrationMethod) -> Lines:
    """Fits slopes and offsets; ConfigError for "platt" where exactly one label holds."""
    count = len(label_set)
    lines = Lines(slopes=np.ones(count), offsets=np.zeros(count), shared=np.zeros(count, dtype=np.bool_))
    if method == "none":
        return lines
    if method == "platt" and label_set.exclusive:
        raise ConfigError(
            f"evaluate.calibration 'platt' calibrates each label alone, and in set {label_set.name!r} "
            "exactly one holds",
            hint="use 'temperature'",
        )
    logits = to_logits(scores, exclusive=label_set.exclusive)
    truth = true_labels(targets, exclusive=label_set.exclusive).astype(np.float64)
    slope = _fit_slope(logits, truth, exclusive=label_set.exclusive)
    slopes, offsets = np.full(count, slope), np.zeros(count)
    if method == "temperature":
        return Lines(slopes=slopes, offsets=offsets, shared=lines.shared)
    shared = np.minimum(truth.sum(axis=0), (1 - truth).sum(axis=0)) < _MIN_SAMPLES
    for label in np.flatnonzero(~shared):
        slopes[label], offsets[label] = _fit_line(logits[:, label], truth[:, label], start=slope)
    return Lines(slopes=slopes, offsets=offsets, shared=shared)


def to_logits(scores: Labels, *, exclusive: bool) -> Logits:
    """The logits that a sigmoid, or up to a constant a softmax, turns into these scores."""
    values = np.maximum(np.asarray(scores, dtype=np.float64), _LOWEST_SCORE)
    logits: Logits = np.log(values) if exclusive else logit(np.minimum(values, _HIGHEST_SCORE))
    return logits


def probabilities(logits: Logits, *, exclusive: bool) -> Float64[np.ndarray, "sample label"]:
    """The inverse of `to_logits`."""
    found: np.ndarray = softmax(logits, axis=1) if exclusive else expit(logits)
    return found


def label_names(label_set: LabelSet, chosen: Bool[np.ndarray, " label"]) -> tuple[str, ...]:
    """The names of the chosen labels."""
    return tuple(label for label, one in zip(label_set.labels, chosen, strict=True) if one)


def _fit_slope(logits: Logits, truth: Logits, *, exclusive: bool) -> float:
    """The slope of least loss, the inverse of a temperature; 1 if none is better."""

    def derivative(slope: float) -> float:
        error = probabilities(slope * logits, exclusive=exclusive) - truth
        return float((error * logits).sum())

    low, high = _SLOPE_BOUNDS
    # The loss is convex in the slope: it has its minimum where the derivative is 0, or at a bound.
    if derivative(low) >= 0:
        slope = low
    elif derivative(high) <= 0:
        slope = high
    else:
        from scipy.optimize import brentq  # late: reading a calibration does not need it

        slope = float(brentq(derivative, low, high, xtol=1e-14))
    before = _loss(logits, truth, exclusive=exclusive)
    return slope if _loss(slope * logits, truth, exclusive=exclusive) <= before else 1.0


def _fit_line(
    logits: Float64[np.ndarray, " sample"], truth: Float64[np.ndarray, " sample"], *, start: float
) -> tuple[float, float]:
    """Slope (above 0) and offset of least loss for one label; (1, 0) if no other is better."""
    from scipy.optimize import minimize

    def loss_and_gradient(line: np.ndarray) -> tuple[float, np.ndarray]:
        moved = line[0] * logits + line[1]
        error = expit(moved) - truth
        gradient = np.array([(error * logits).mean(), error.mean()])
        return float((np.logaddexp(0, moved) - moved * truth).mean()), gradient

    # Not scikit-learn's LogisticRegression: it has no bounds, so it diverges where a label is separable and
    # reverses the ranking where scores are worse than chance.
    bounds = (_SLOPE_BOUNDS, _OFFSET_BOUNDS)
    found = minimize(loss_and_gradient, (start, 0.0), jac=True, method="L-BFGS-B", bounds=bounds)
    unchanged, _ = loss_and_gradient(np.array([1.0, 0.0]))
    return (float(found.x[0]), float(found.x[1])) if found.fun <= unchanged else (1.0, 0.0)


def _loss(logits: Logits, truth: Logits, *, exclusive: bool) -> float:
    """Negative log-likelihood, mean over samples; where any number of labels may hold, over labels too."""
    if exclusive:
        return float((logsumexp(logits, axis=1) - (logits * truth).sum(axis=1)).mean())
    return float((np.logaddexp(0, logits) - logits * truth).mean())
