"""Metrics: one number for how well scores agree with what annotators saw, and its chance level.

Goes in: arrays of one row a sample. Comes out: a float; `METRICS` names them all, `chance` says what
somebody who sees neither picture nor text can reach on the same targets.
Knows nothing about: models, files, intervals (see `bootstrap`).

`mAP` is scikit-learn's average precision, `mAP_emotic` the EMOTIC authors' interpolated one: `precision` has
both formulas, and says what `mAP_tail` is. Targets count as positive from 0.5. A label that no sample has is
left out of every average over labels but that of `ECE` and `Brier`, where its scores have a truth to be held
against: 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool

from mien.errors import ConfigError, DataError, unknown_name
from mien.evaluate.calibration.reliability import (
    brier,
    brier_exclusive,
    classwise_calibration_error,
    top_label_calibration_error,
)
from mien.evaluate.metrics.average_precision import (
    average_precisions,
    mean_average_precision,
    mean_interpolated_precision,
    mean_tail_precision,
    random_interpolated_precisions,
    random_precisions,
    tail_labels,
)
from mien.evaluate.metrics.by_label import f1_scores, predicted_labels, roc_areas, true_labels
from mien.evaluate.metrics.dimensions import mean_r2, vad_mae
from mien.evaluate.metrics.truth import POSITIVE, Labels, check, positives, true_classes
from mien.labels import BOLD, LabelSet
from mien.types import DIMENSIONS

__all__ = [
    "METRICS",
    "POSITIVE",
    "Metric",
    "MetricFunction",
    "MetricName",
    "accuracy",
    "average_precisions",
    "chance",
    "check",
    "default_metrics",
    "emotion_recognition_score",
    "macro_f1",
    "macro_f1_at_half",
    "mean_average_precision",
    "mean_interpolated_precision",
    "mean_roc_auc",
    "mean_tail_precision",
    "metric",
    "positives",
    "primary_metric",
    "true_classes",
]

MetricFunction = Callable[[np.ndarray, np.ndarray], float]
MetricName = Literal[
    "mAP", "mAP_emotic", "mAP_tail", "mRA", "mR2", "ERS", "accuracy", "macro_f1", "vad_mae", "ECE", "Brier"
]


# --- The metrics -------------------------------------------------------------------------------------


def accuracy(scores: Labels, targets: Labels) -> float:
    """Share of samples whose highest score is at their label; of equal scores the first counts."""
    check(scores, targets)
    return float(np.mean(np.argmax(scores, axis=1) == true_classes(targets)))


def macro_f1(scores: Labels, targets: Labels) -> float:
    """Mean F1 over the labels that are true or predicted somewhere; the highest score is the prediction."""
    check(scores, targets)
    return _mean_f1(predicted_labels(scores, exclusive=True), true_labels(targets, exclusive=True))


def macro_f1_at_half(scores: Labels, targets: Labels) -> float:
    """`macro_f1` where any number of labels may hold: those that score 0.5 or more are predicted."""
    check(scores, targets)
    return _mean_f1(predicted_labels(scores, exclusive=False), positives(targets))


def mean_roc_auc(scores: Labels, targets: Labels) -> float:
    """mRA: the area under the ROC curve, averaged over the labels that some sample has and some has not."""
    values = roc_areas(scores, targets)
    if np.isnan(values).all():
        raise DataError(
            "mRA is not defined: no label has both positive and negative samples",
            hint="evaluate on a split with more samples",
        )
    return float(np.mean(values[~np.isnan(values)]))


def emotion_recognition_score(values: np.ndarray, targets: np.ndarray) -> float:
    """ERS of the BoLD challenge: (mR2 + (mAP + mRA) / 2) / 2. The last columns are the dimensions."""
    labels, dimensions = slice(None, -len(DIMENSIONS)), slice(-len(DIMENSIONS), None)
    ranked = mean_average_precision(values[:, labels], targets[:, labels])
    area = mean_roc_auc(values[:, labels], targets[:, labels])
    return (mean_r2(values[:, dimensions], targets[:, dimensions]) + (ranked + area) / 2) / 2


def _mean_f1(predicted: Bool[np.ndarray, "sample label"], truth: Bool[np.ndarray, "sample label"]) -> float:
    values = f1_scores(predicted, truth)
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if len(known) else 0.0


# --- Chance ------------------------------------------------------------------------------------------


def chance(name: str, targets: np.ndarray, *, exclusive: bool = False) -> float:
    """What is reached on these targets without looking; the same rule whatever the model.

    mAP, mAP_tail, mAP_emotic: the mean over random orders. Equal scores for all reach the mean prevalence,
    and no more; a random order has more, by luck that counts where samples or positives are few. accuracy:
    the share of the most frequent label. macro_f1: labels guessed as often as they occur, whose F1 is their
    prevalence. vad_mae: the error of always answering each dimension's median, the best constant. mRA: a
    half, whatever the labels. mR2: 0, that of always answering the mean. ERS: what follows from these. ECE:
    0, for whoever always answers the prevalence is well calibrated and of no use. Brier: what that costs.
    """
    if name not in _CHANCE:
        raise unknown_name("metric", name, METRICS)
    return float(_CHANCE[name](targets, exclusive))


def _ers_chance(targets: np.ndarray) -> float:
    labels = targets[:, : -len(DIMENSIONS)]
    return (chance("mR2", targets) + (chance("mAP", labels) + chance("mRA", labels)) / 2) / 2


def _mean_prevalence(targets: Labels) -> float:
    prevalence = positives(targets).mean(axis=0)
    return float(prevalence[prevalence > 0].mean())


def _brier_chance(targets: Labels, *, exclusive: bool) -> float:
    share = (
        np.bincount(true_classes(targets), minlength=targets.shape[1]) / len(targets)
        if exclusive
        else positives(targets).mean(axis=0)
    )
    spread = share * (1 - share)
    return float(spread.sum() if exclusive else spread.mean())


_CHANCE: Final[Mapping[str, Callable[[np.ndarray, bool], float]]] = {
    "mAP": lambda targets, _: np.nanmean(random_precisions(targets)),
    "mAP_tail": lambda targets, _: np.nanmean(random_precisions(targets[:, tail_labels(targets)])),
    "mAP_emotic": lambda targets, _: np.nanmean(random_interpolated_precisions(targets)),
    "mRA": lambda targets, _: 0.5,
    "mR2": lambda targets, _: 0.0,
    "ERS": lambda targets, _: _ers_chance(targets),
    "accuracy": lambda targets, _: np.bincount(true_classes(targets)).max() / len(targets),
    "macro_f1": lambda targets, _: _mean_prevalence(targets),
    "vad_mae": lambda targets, _: vad_mae(
        np.broadcast_to(np.nanmedian(targets, axis=0), targets.shape), targets
    ),
    "ECE": lambda targets, _: 0.0,
    "Brier": lambda targets, exclusive: _brier_chance(targets, exclusive=exclusive),
}


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
    highest: float = 1.0
    bias_cancels: bool = True  # what resampling adds to it is the same for two models

    def fits(self, *, labels: bool, dimensions: bool) -> bool:
        """Whether it can be taken of a model that estimates these."""
        return (labels or not self.of_labels) and (dimensions or not self.of_dimensions)


METRICS: Final[Mapping[str, Metric]] = {
    item.name: item
    for item in (
        Metric(name="mAP", title="mean average precision, scikit-learn's", function=mean_average_precision),
        Metric(
            name="mAP_emotic",
            title="mean average precision, interpolated as the EMOTIC authors do",
            function=mean_interpolated_precision,
        ),
        Metric(
            name="mAP_tail",
            title="mean average precision over the rarest third of the labels",
            function=mean_tail_precision,
        ),
        Metric(name="accuracy", title="accuracy", function=accuracy),
        Metric(name="macro_f1", title="macro-averaged F1", function=macro_f1),
        Metric(
            name="vad_mae",
            title="mean absolute error of valence, arousal, dominance (0 to 1)",
            function=vad_mae,
            higher_is_better=False,
            of_labels=False,
            of_dimensions=True,
            highest=np.inf,  # an estimate may leave 0..1
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
        Metric(
            name="ECE",
            title="expected calibration error of the highest score, 15 bins of equal width",
            function=top_label_calibration_error,
            higher_is_better=False,
            bias_cancels=False,
        ),
        Metric(
            name="Brier",
            title="Brier score, summed over classes",
            function=brier_exclusive,
            higher_is_better=False,
            highest=2.0,
        ),
    )
}

# The same by name where any number of labels may hold.
_MULTI: Final[Mapping[str, Metric]] = {
    item.name: item
    for item in (
        Metric(name="macro_f1", title="macro-averaged F1 at scores of 0.5", function=macro_f1_at_half),
        Metric(
            name="ECE",
            title="expected calibration error, mean over labels, 15 bins of equal width",
            function=classwise_calibration_error,
            higher_is_better=False,
            bias_cancels=False,
        ),
        Metric(name="Brier", title="Brier score, mean over labels", function=brier, higher_is_better=False),
    )
}


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
    return _MULTI.get(found.name, found)


def default_metrics(label_set: LabelSet, *, dimensions: bool, labels: bool = True) -> tuple[MetricName, ...]:
    """What [evaluate] metrics = "auto" stands for, by what a model estimates, the primary one first."""
    if not labels:
        return ("vad_mae", "mR2")
    if label_set == BOLD:
        return ("mAP", "mRA", "mR2", "ERS") if dimensions else ("mAP", "mRA")
    names: tuple[MetricName, ...] = ("accuracy", "macro_f1") if label_set.exclusive else ("mAP",)
    return (*names, "vad_mae") if dimensions else names


def primary_metric(label_set: LabelSet) -> Metric:
    """mAP where several labels may hold, accuracy where exactly one does."""
    return METRICS["accuracy" if label_set.exclusive else "mAP"]
