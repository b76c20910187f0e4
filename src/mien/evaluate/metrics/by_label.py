"""Values of each label by itself: area under the ROC curve, F1, and what is predicted.

Goes in: scores and targets. Comes out: one value a label; NaN where it is not defined.
Knows nothing about: averages over labels (see `metrics`), intervals.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from mien.evaluate.metrics.truth import POSITIVE, Labels, check, positives, rate_labels, true_classes

__all__ = ["f1_scores", "predicted_labels", "roc_areas", "true_labels"]

Holds = Bool[np.ndarray, "sample label"]


def roc_areas(scores: Labels, targets: Labels) -> Float[np.ndarray, " label"]:
    """Area under the ROC curve; NaN for a label that no sample has, or that every sample has."""
    from sklearn.metrics import roc_auc_score

    check(scores, targets)
    truth = positives(targets)
    return rate_labels(roc_auc_score, truth, scores, rated=truth.any(axis=0) & ~truth.all(axis=0))


def predicted_labels(scores: Labels, *, exclusive: bool) -> Holds:
    """The highest score, of equal ones the first, where exactly one label holds; else all from 0.5 on."""
    if exclusive:
        first: Holds = np.argmax(scores, axis=1)[:, None] == np.arange(scores.shape[1])
        return first
    found: Holds = np.asarray(scores) >= POSITIVE
    return found


def true_labels(targets: Labels, *, exclusive: bool) -> Holds:
    """The labels that hold, in the form of `predicted_labels`."""
    if exclusive:
        found: Holds = true_classes(targets)[:, None] == np.arange(targets.shape[1])
        return found
    return positives(targets)


def f1_scores(predicted: Holds, truth: Holds) -> Float[np.ndarray, " label"]:
    """F1; NaN for a label that is neither true nor predicted anywhere."""
    both = (predicted & truth).sum(axis=0)
    either = predicted.sum(axis=0) + truth.sum(axis=0)
    values: Float[np.ndarray, " label"] = np.full(len(either), np.nan)
    np.divide(2 * both, either, out=values, where=either > 0)
    return values
