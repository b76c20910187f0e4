"""Metrics: one number for how well scores agree with what annotators saw, and its chance level.

Goes in: arrays of one row a sample. Comes out: a float; `METRICS` names them all, `chance` says what
somebody who sees neither picture nor text can reach on the same targets.
Knows nothing about: models, files, intervals (see `bootstrap`).

Average precision is scikit-learn's, which is not that of the EMOTIC authors' MATLAB code: it takes the
precision where a positive is found, without smoothing, and ties in the scores count as one step. Targets
count as positive from 0.5. A label that no sample has is left out of every average over labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mien.errors import ConfigError, DataError, unknown_name
from mien.evaluate.dimensions import mean_r2, vad_mae
from mien.labels import BOLD, LabelSet
from mien.types import DIMENSIONS

__all__ = [
    "METRICS",
    "POSITIVE",
    "Metric",
    "MetricFunction",
    "MetricName",
    "PrimaryMetric",
    "accuracy",
    "average_precisions",
    "chance",
    "default_metrics",
    "emotion_recognition_score",
    "macro_f1",
    "macro_f1_at_half",
    "mean_average_precision",
    "mean_roc_auc",
    "metric",
    "positives",
    "primary_metric",
]

POSITIVE: Final = 0.5  # soft targets from here on count as positive, as BoLD's authors do

Labels = Float[np.ndarray, "sample label"]
MetricFunction = Callable[[np.ndarray, np.ndarray], float]
MetricName = Literal["mAP", "mRA", "mR2", "ERS", "accuracy", "macro_f1", "vad_mae"]


# --- The metrics -------------------------------------------------------------------------------------


def positives(targets: Labels) -> Bool[np.ndarray, "sample label"]:
    """Which labels hold for which sample."""
    found: np.ndarray = np.asarray(targets) >= POSITIVE
    return found


def average_precisions(scores: Labels, targets: Labels) -> Float[np.ndarray, " label"]:
    """Average precision of each label, in 0..1; NaN for a label that no sample has."""
    from sklearn.metrics import average_precision_score

    check(scores, targets)
    truth = positives(targets)
    values = np.full(truth.shape[1], np.nan)
    for label in np.flatnonzero(truth.any(axis=0)):
        values[label] = average_precision_score(truth[:, label], scores[:, label])
    return values


def mean_average_precision(scores: Labels, targets: Labels) -> float:
    """mAP: the mean of `average_precisions` over the labels that some sample has; DataError if none."""
    values = average_precisions(scores, targets)
    if np.isnan(values).all():
        raise DataError(
            "mAP is not defined: no label has a positive sample", hint="evaluate on a split with labels"
        )
    return float(np.nanmean(values))


def accuracy(scores: Labels, targets: Labels) -> float:
    """Share of samples whose highest score is at their label; of equal scores the first counts."""
    check(scores, targets)
    return float(np.mean(np.argmax(scores, axis=1) == true_classes(targets)))


def macro_f1(scores: Labels, targets: Labels) -> float:
    """Mean F1 over the labels that are true or predicted somewhere; the highest score is the prediction."""
    check(scores, targets)
    labels = np.arange(scores.shape[1])
    return _mean_f1(np.argmax(scores, axis=1)[:, None] == labels, true_classes(targets)[:, None] == labels)


def macro_f1_at_half(scores: Labels, targets: Labels) -> float:
    """`macro_f1` where any number of labels may hold: those that score 0.5 or more are predicted."""
    check(scores, targets)
    return _mean_f1(np.asarray(scores) >= POSITIVE, positives(targets))


def mean_roc_auc(scores: Labels, targets: Labels) -> float:
    """mRA: the area under the ROC curve, averaged over the labels that some sample has and some has not."""
    from sklearn.metrics import roc_auc_score

    check(scores, targets)
    truth = positives(targets)
    rated = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
    if not len(rated):
        raise DataError(
            "mRA is not defined: no label has both positive and negative samples",
            hint="evaluate on a split with more samples",
        )
    return float(np.mean([roc_auc_score(truth[:, label], scores[:, label]) for label in rated]))


def emotion_recognition_score(values: np.ndarray, targets: np.ndarray) -> float:
    """ERS of the BoLD challenge: (mR2 + (mAP + mRA) / 2) / 2. The last columns are the dimensions."""
    labels, dimensions = slice(None, -len(DIMENSIONS)), slice(-len(DIMENSIONS), None)
    ranked = mean_average_precision(values[:, labels], targets[:, labels])
    area = mean_roc_auc(values[:, labels], targets[:, labels])
    return (mean_r2(values[:, dimensions], targets[:, dimensions]) + (ranked + area) / 2) / 2


def _mean_f1(predicted: Bool[np.ndarray, "sample label"], truth: Bool[np.ndarray, "sample label"]) -> float:
    both = (predicted & truth).sum(axis=0)
    either = predicted.sum(axis=0) + truth.sum(axis=0)
    return float(np.mean(2 * both[either > 0] / either[either > 0])) if either.any() else 0.0


# --- Chance ------------------------------------------------------------------------------------------


def chance(name: str, targets: np.ndarray) -> float:
    """What is reached on these targets without looking; the same rule whatever the model.

    mAP: the mean prevalence (any order of the samples gives it on average). accuracy: the share of the
    most frequent label. macro_f1: labels guessed as often as they occur, whose F1 is their prevalence.
    vad_mae: the error of always answering each dimension's median, the best constant. mRA: a half, whatever
    the labels. mR2: 0, that of always answering the mean. ERS: what follows from these.
    """
    if name == "vad_mae":
        return vad_mae(np.broadcast_to(np.nanmedian(targets, axis=0), targets.shape), targets)
    if name == "mRA":
        return 0.5
    if name == "mR2":
        return 0.0
    if name == "ERS":
        labels = targets[:, : -len(DIMENSIONS)]
        return (chance("mR2", targets) + (chance("mAP", labels) + chance("mRA", labels)) / 2) / 2
    if name == "accuracy":
        return float(np.bincount(true_classes(targets)).max() / len(targets))
    if name in ("mAP", "macro_f1"):
        prevalence = positives(targets).mean(axis=0)
        return float(prevalence[prevalence > 0].mean())
    raise unknown_name("metric", name, METRICS)


# --- By name -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric by name: its function of (scores, targets), what pages call it, which way is better."""

    name: MetricName
    title: str
    function: MetricFunction
    higher_is_better: bool = True
    of_labels: bool = True
    of_dimensions: bool = False  # compares valence, arousal, dominance; beside labels, in the last columns
    lowest: float = 0.0


class PrimaryMetric(NamedTuple):
    """The one number by which training stops; higher is better."""

    name: MetricName
    function: MetricFunction


METRICS: Final[Mapping[str, Metric]] = {
    item.name: item
    for item in (
        Metric(name="mAP", title="mean average precision", function=mean_average_precision),
        Metric(name="accuracy", title="accuracy", function=accuracy),
        Metric(name="macro_f1", title="macro-averaged F1", function=macro_f1),
        Metric(
            name="vad_mae",
            title="mean absolute error of valence, arousal, dominance (0 to 1)",
            function=vad_mae,
            higher_is_better=False,
            of_labels=False,
            of_dimensions=True,
        ),
        Metric(name="mRA", title="mean area under the ROC curve", function=mean_roc_auc),
        Metric(
            name="mR2",
            title="mean R2 of valence, arousal, dominance",
            function=mean_r2,
            of_labels=False,
            of_dimensions=True,
            lowest=-np.inf,
        ),
        Metric(
            name="ERS",
            title="emotion recognition score: (mR2 + (mAP + mRA) / 2) / 2",
            function=emotion_recognition_score,
            of_dimensions=True,
            lowest=-np.inf,
        ),
    )
}

_MACRO_F1_MULTI: Final = Metric(
    name="macro_f1", title="macro-averaged F1 at scores of 0.5", function=macro_f1_at_half
)


def metric(name: str, label_set: LabelSet) -> Metric:
    """The metric of this name as it is computed for this label set."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    found = METRICS[name]
    if label_set.exclusive:
        return found
    if found.name == "accuracy":
        raise ConfigError(
            f"accuracy is not defined for label set {label_set.name!r}, where several labels may hold",
            hint="use mAP or macro_f1",
        )
    return _MACRO_F1_MULTI if found.name == "macro_f1" else found


def default_metrics(label_set: LabelSet, *, dimensions: bool) -> tuple[MetricName, ...]:
    """What [evaluate] metrics = "auto" stands for; the first is the primary one."""
    if label_set == BOLD:
        return ("mAP", "mRA", "mR2", "ERS") if dimensions else ("mAP", "mRA")
    labels: tuple[MetricName, ...] = ("accuracy", "macro_f1") if label_set.exclusive else ("mAP",)
    return (*labels, "vad_mae") if dimensions else labels


def primary_metric(label_set: LabelSet) -> PrimaryMetric:
    """mAP where several labels may hold, accuracy where exactly one does."""
    found = METRICS["accuracy" if label_set.exclusive else "mAP"]
    return PrimaryMetric(found.name, found.function)


# --- Checks ------------------------------------------------------------------------------------------


def check(scores: np.ndarray, targets: np.ndarray) -> None:
    """DataError unless both are finite, of one shape, and of at least one sample."""
    if scores.shape != targets.shape or scores.ndim != 2:
        raise DataError(
            f"scores of shape {scores.shape} against targets of shape {targets.shape}",
            hint="give one row a sample and one column a label",
        )
    if not len(scores):
        raise DataError("no samples to evaluate", hint="name a split that has annotated samples")
    for name, values in (("scores", scores), ("targets", targets)):
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise DataError(
                f"{name} of sample {row} are not finite",
                hint="the model or its data hold NaN; look at the loss in events.jsonl",
            )


def true_classes(targets: Labels) -> np.ndarray:
    """The index of each sample's one label; DataError for a sample without any."""
    unlabelled = np.flatnonzero(np.max(targets, axis=1) <= 0)
    if len(unlabelled):
        raise DataError(
            f"sample {int(unlabelled[0])} has no label, in a set where exactly one holds",
            hint="give every sample its label, or leave it out of the split",
        )
    found: np.ndarray = np.argmax(targets, axis=1)
    return found
