"""Metrics of decisions: accuracy and macro-averaged F1."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from mien.evaluate.metrics.metric import Metric, PerResample, SampleWeight, mean_over_rows, safe_divide
from mien.evaluate.metrics.targets import POSITIVE, Labels, positives, true_classes

__all__ = [
    "ACCURACY",
    "MACRO_F1",
    "accuracy",
    "f1_by_label",
    "macro_f1",
    "macro_f1_at_half",
    "predicted_labels",
    "true_labels",
]

Holds = Bool[np.ndarray, "sample label"]


def accuracy(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """Share of samples whose highest score is at their label; of equal scores the first counts."""
    correct = np.argmax(scores, axis=1) == true_classes(targets)
    counts = sample_weight.astype(np.float64)
    return safe_divide(correct @ counts, counts.sum(axis=0), otherwise=np.nan)


def macro_f1(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """Mean F1 over the labels that are true or predicted somewhere; the highest score is the prediction."""
    return _macro_f1(targets, scores, sample_weight, exclusive=True)


def macro_f1_at_half(targets: Labels, scores: Labels, sample_weight: SampleWeight) -> PerResample:
    """`macro_f1` where any number of labels may hold: those that score 0.5 or more are predicted."""
    return _macro_f1(targets, scores, sample_weight, exclusive=False)


def f1_by_label(
    truth: Holds, predicted: Holds, sample_weight: SampleWeight
) -> Float64[np.ndarray, "label resample"]:
    """F1 of each label; NaN for a label that is neither true nor predicted anywhere."""
    counts = sample_weight.astype(np.float64)
    both = (predicted & truth).T @ counts
    either = predicted.T @ counts + truth.T @ counts
    return safe_divide(2 * both, either, otherwise=np.nan)


def predicted_labels(scores: Labels, *, exclusive: bool) -> Holds:
    """The first of the highest scores where exactly one label holds, otherwise all scores from 0.5 on."""
    if exclusive:
        highest: Holds = np.argmax(scores, axis=1)[:, None] == np.arange(scores.shape[1])
        return highest
    predicted: Holds = np.asarray(scores) >= POSITIVE
    return predicted


def true_labels(targets: Labels, *, exclusive: bool) -> Holds:
    """The labels that hold, in the form of `predicted_labels`."""
    if exclusive:
        truth: Holds = true_classes(targets)[:, None] == np.arange(targets.shape[1])
        return truth
    return positives(targets)


def _macro_f1(
    targets: Labels, scores: Labels, sample_weight: SampleWeight, *, exclusive: bool
) -> PerResample:
    truth = true_labels(targets, exclusive=exclusive)
    predicted = predicted_labels(scores, exclusive=exclusive)
    return mean_over_rows(f1_by_label(truth, predicted, sample_weight), otherwise=0.0)


def _mean_prevalence(targets: Labels) -> float:
    """Labels guessed as often as they occur have an F1 of their prevalence."""
    prevalence = positives(targets).mean(axis=0)
    return float(prevalence[prevalence > 0].mean())


ACCURACY: Final = Metric(
    name="accuracy",
    title="accuracy",
    function=accuracy,
    chance=lambda targets: float(np.bincount(true_classes(targets)).max() / len(targets)),
    label_sets="exclusive",
)
MACRO_F1: Final = Metric(
    name="macro_f1",
    title="macro-averaged F1",
    function=macro_f1,
    chance=_mean_prevalence,
    multi_label=Metric(
        name="macro_f1",
        title="macro-averaged F1 at scores of 0.5",
        function=macro_f1_at_half,
        chance=_mean_prevalence,
    ),
)
