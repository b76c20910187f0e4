"""When a model should say "not sure": how often its best label is right, by how many people get an answer.

The confidence in an answer is the score of the highest label, and the answer is right if that label is one
that annotators chose. People are left without an answer from the least confident one on (selective
classification; Geifman and El-Yaniv 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from mien.evaluate.metrics.classification import true_labels
from mien.evaluate.metrics.metric import SampleWeight
from mien.evaluate.metrics.targets import Labels

__all__ = ["answered_accuracy", "are_right", "confidences", "fit_min_confidence"]


def confidences(scores: Labels) -> Float64[np.ndarray, " sample"]:
    """The highest score of each sample."""
    highest: np.ndarray = np.max(scores, axis=1).astype(np.float64)
    return highest


def are_right(targets: Labels, scores: Labels, *, exclusive: bool) -> Bool[np.ndarray, " sample"]:
    """Whether the highest score of each sample is at a true label; of equal scores the first counts."""
    truth = true_labels(targets, exclusive=exclusive)
    right: np.ndarray = truth[np.arange(len(truth)), np.argmax(scores, axis=1)]
    return right


def fit_min_confidence(scores: Labels, *, answered: float) -> float:
    """The confidence from which on so many people get an answer.

    Args:
        scores: Calibrated scores of a split that no weights were learned from.
        answered: The share of people who are to get an answer, above 0 and up to 1.

    Returns:
        A confidence halfway to the next lower one, so that rounding elsewhere moves no one across; 0 if
        everyone gets an answer.
    """
    ranked = -np.sort(-confidences(scores))
    count = math.ceil(answered * len(ranked) - 1e-9)
    if count >= len(ranked):
        return 0.0
    last, following = float(ranked[count - 1]), float(ranked[count])
    middle = (last + following) / 2
    return middle if middle > following else last


def answered_accuracy(
    right: Bool[np.ndarray, " sample"],
    confidence: Float64[np.ndarray, " sample"],
    answered: Sequence[float],
    sample_weight: SampleWeight,
) -> Float64[np.ndarray, "share resample"]:
    """The share of right answers among the most confident people.

    Args:
        right: Whether each sample's answer is right.
        confidence: How confident the model is in it; of equal ones the first is taken.
        answered: The shares of people who get an answer, each above 0 and up to 1.
        sample_weight: How often each sample occurs in each resample. Who gets an answer depends on it.
    """
    order = np.argsort(-confidence, kind="stable")
    counts = sample_weight[order].astype(np.float64)
    people = np.cumsum(counts, axis=0)
    hits = np.cumsum(counts * right[order, None], axis=0)
    columns = np.arange(people.shape[1])
    found = np.empty((len(answered), people.shape[1]))
    for row, share in enumerate(answered):
        count = np.ceil(share * people[-1] - 1e-9)
        last = (people < count).sum(axis=0)  # who gets an answer, at least for some of their repeats
        beyond = right[order[last]] * (people[last, columns] - count)
        found[row] = (hits[last, columns] - beyond) / count
    return found
