"""Precision-recall curves on a page: one small figure per label, most frequent label first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from mien.evaluate.metrics.targets import positives
from mien.evaluate.scores import SplitScores
from mien.report.charts import UNIT_SCALE, Scale
from mien.report.formatting import format_count, format_number

__all__ = ["PrecisionRecallCurve", "PrecisionRecallSection", "precision_recall_section"]

_POINTS: Final = 60  # of a curve, which is as wide as two or three pixels each


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRecallCurve:
    """The curve of one label, as an SVG path in percent, and the same in words.

    `share_top` is where a random order lies: at the share of people who have the label.
    """

    label: str
    people: str
    path: str
    share_top: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRecallSection:
    """The curves of a split."""

    split: str
    scale: Scale
    curves: tuple[PrecisionRecallCurve, ...]


def precision_recall_section(scores: SplitScores) -> PrecisionRecallSection | None:
    """The curves of the labels that someone has; None if the model predicts no labels."""
    truth = positives(scores.targets)
    counts = truth.sum(axis=0)
    order = np.argsort(-counts, kind="stable")
    curves = tuple(
        _curve(scores.label_set.labels[label], truth[:, label], scores.scores[:, label].astype(np.float64))
        for label in order.tolist()
        if counts[label]
    )
    if not scores.has_labels or not curves:
        return None
    return PrecisionRecallSection(split=scores.split, scale=UNIT_SCALE, curves=curves)


def _curve(
    label: str, truth: Bool[np.ndarray, " sample"], scores: Float64[np.ndarray, " sample"]
) -> PrecisionRecallCurve:
    precision, recall = _points(truth, scores)
    texts = []
    for least in (0.25, 0.5, 0.75):
        index = int(np.searchsorted(recall, least - 1e-9))
        texts.append(f"precision {format_number(float(precision[index]), 2)} at recall {least:.2f}")
    kept = np.unique(np.linspace(0, len(recall) - 1, _POINTS).round().astype(int))
    places = [f"{100 * recall[index]:.1f} {100 - 100 * precision[index]:.1f}" for index in kept]
    return PrecisionRecallCurve(
        label=label,
        people=format_count(int(truth.sum())),
        path=f"M{'L'.join(places)}",
        share_top=round(100 - 100 * float(truth.mean()), 2),
        text="; ".join(texts),
    )


def _points(
    truth: Bool[np.ndarray, " sample"], scores: Float64[np.ndarray, " sample"]
) -> tuple[Float64[np.ndarray, " point"], Float64[np.ndarray, " point"]]:
    """Precision and recall after each positive, in the order of the scores; equal scores are one step."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(truth[order])[ends]
    risen = np.flatnonzero(np.diff(hits, prepend=0))
    return hits[risen] / (ends[risen] + 1.0), hits[risen] / float(truth.sum())
