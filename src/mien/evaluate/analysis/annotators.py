"""Rates one model against the union and against the majority of the annotators, each with its chance level.

A model that is trained on one of them is rated on both, because they are different questions: which labels
does anyone see, and which do most see. A score on one does not compare with a score on the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from mien.data.annotators import Combination, combine_labels
from mien.evaluate.bootstrap import RESAMPLES
from mien.evaluate.metrics.metric_inputs import select_metrics
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.metrics.targets import POSITIVE
from mien.evaluate.results.breakdown_rows import AnnotatorRow
from mien.evaluate.results.build import build_score_rows
from mien.evaluate.scores import SplitScores
from mien.types import Target

__all__ = ["build_annotator_rows", "with_truth"]

Annotations = Mapping[str, Sequence[Target]]

_TRUTHS: Final[Mapping[str, Combination]] = {"union": "combined", "majority": "majority"}


def with_truth(scores: SplitScores, annotations: Annotations, how: Combination) -> SplitScores:
    """The same scores with the answers of annotators, combined in this way, as targets.

    Args:
        scores: The scores of people who all have annotators.
        annotations: The answer of each annotator, by subject id.
        how: As `mien.data.annotators.combine_labels`.
    """
    rows = []
    for id in scores.ids:
        chosen = [
            [label for label, score in answer.labels.items() if score >= POSITIVE]
            for answer in annotations[id]
        ]
        rows.append(scores.label_set.encode(combine_labels(chosen, how)))
    return replace(scores, targets=np.array(rows, dtype=np.float32))


def build_annotator_rows(
    scores: SplitScores,
    annotations: Annotations,
    *,
    name: str,
    metrics: Literal["auto"] | Sequence[str] = "auto",
    resamples: int = RESAMPLES,
) -> tuple[AnnotatorRow, ...]:
    """One row per truth and metric; nothing unless someone has several annotators, and everyone has one.

    Args:
        scores: Of one split.
        annotations: As in `with_truth`.
        name: The model's name in the results.
        metrics: The metrics of the run; those that read valence, arousal and dominance are passed over.
        resamples: For the intervals.
    """
    counts = [len(annotations.get(id, ())) for id in scores.ids]
    if not scores.has_labels or min(counts) < 1 or max(counts) < 2:
        return ()
    names = [
        metric
        for metric in select_metrics(metrics, [scores])
        if not resolve_metric(metric, scores.label_set).reads_dimensions
    ]
    return tuple(
        AnnotatorRow(
            name=row.name,
            metric=row.metric,
            split=row.split,
            truth=truth,
            value=row.value,
            low=row.low,
            high=row.high,
            chance=row.chance,
            n=row.n,
            labels=row.labels,
            annotators=float(np.mean(counts)),
        )
        for truth, how in (_TRUTHS.items() if names else ())
        for row in build_score_rows(
            name,
            [with_truth(scores, annotations, how)],
            seeds=(),
            metrics=names,
            resamples=resamples,
        )
    )
