"""The section on errors of labels: a confusion matrix, or labels with errors of the same people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from mien.evaluate.analysis.label_errors import ErrorKind, ErrorPair, confusion_matrix, error_pairs
from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.metrics.classification import true_labels
from mien.evaluate.results.results import MIN_POSITIVES
from mien.evaluate.scores import SplitScores
from mien.report.formatting import format_count, format_number
from mien.report.predictions import predict_labels

__all__ = [
    "ConfusionCell",
    "ConfusionMatrix",
    "LabelErrorSection",
    "PairLine",
    "PairTable",
    "label_error_section",
]

_MAX_MATRIX: Final = 16  # labels; a larger matrix is only in the files
_NUM_PAIRS: Final = 8  # of each kind on the page
_SHADES: Final = 5
_CAPTIONS: Final[dict[ErrorKind, tuple[str, str, str]]] = {
    "given instead": ("Given instead", "Missed label", "Falsely given label"),
    "missed together": ("Missed together", "Missed label", "Other missed label"),
    "given together": ("Falsely given together", "Given label", "Other given label"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLine:
    """A pair of labels, and how many people have both errors."""

    first: str
    second: str
    count: str
    expected: str
    ratio: str
    people: str
    is_clear: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTable:
    """The strongest pairs of one kind; `more` is how many further pairs exceed what is expected."""

    caption: str
    header: tuple[str, str]
    lines: tuple[PairLine, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionCell:
    """How many people with a label have their highest score at another, and a shade from 0 to 5."""

    count: str
    share: str
    shade: int
    is_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionMatrix:
    """A line per annotated label, with its people, and a cell per predicted label."""

    labels: tuple[str, ...]
    lines: tuple[tuple[str, str, tuple[ConfusionCell, ...]], ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelErrorSection:
    """Errors of labels on a split.

    Attributes:
        split: The split.
        people: How many people it has.
        fitted_on: The split on which the thresholds were fitted; "" for 0.5.
        missed: How many labels of people are missed, as text.
        given: How many are falsely given.
        tables: The strongest pairs; none where exactly one label holds.
        matrix: The confusion matrix; None where several labels may hold, or of too many labels.
        min_people: Pairs of fewer people are left out.
        pairs: All pairs, for files.
        counts: The whole confusion matrix, for files; empty where several labels may hold.
        labels: The labels, in its order.
    """

    split: str
    people: str
    fitted_on: str
    missed: str
    given: str
    tables: tuple[PairTable, ...]
    matrix: ConfusionMatrix | None
    min_people: int
    pairs: tuple[ErrorPair, ...]
    counts: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]


def label_error_section(scores: SplitScores, calibration: Calibration | None) -> LabelErrorSection | None:
    """The section for a split; None for a model that predicts no labels.

    Args:
        scores: The model's scores.
        calibration: What was fitted on another split, for its thresholds; without it labels hold from 0.5 on.
    """
    if not scores.has_labels:
        return None
    labels, exclusive = scores.label_set.labels, scores.label_set.exclusive
    truth = true_labels(scores.targets, exclusive=exclusive)
    found = predict_labels(scores, calibration)
    predicted = found.predicted
    pairs = () if exclusive else error_pairs(truth, predicted, labels)
    counts = confusion_matrix(scores.targets, found.scores) if exclusive else np.empty((0, 0), dtype=np.int64)
    return LabelErrorSection(
        split=scores.split,
        people=format_count(len(scores)),
        fitted_on=found.fitted_on,
        missed=f"{format_count(int((truth & ~predicted).sum()))} of {format_count(int(truth.sum()))}",
        given=format_count(int((~truth & predicted).sum())),
        tables=tuple(_pair_table(kind, pairs) for kind in _CAPTIONS) if pairs else (),
        matrix=_matrix(labels, counts) if exclusive and len(labels) <= _MAX_MATRIX else None,
        min_people=MIN_POSITIVES,
        pairs=pairs,
        counts=tuple(tuple(row) for row in counts.tolist()),
        labels=labels,
    )


def _pair_table(kind: ErrorKind, pairs: tuple[ErrorPair, ...]) -> PairTable:
    own = [pair for pair in pairs if pair.kind == kind]
    caption, *header = _CAPTIONS[kind]
    return PairTable(
        caption=caption,
        header=(header[0], header[1]),
        lines=tuple(
            PairLine(
                first=pair.first,
                second=pair.second,
                count=format_count(pair.count),
                expected=format_number(pair.expected, 1),
                ratio=format_number(pair.count / max(pair.expected, 0.05), 1),
                people=format_count(pair.n),
                is_clear=pair.is_clear,
            )
            for pair in own[:_NUM_PAIRS]
        ),
        more=max(0, len(own) - _NUM_PAIRS),
    )


def _matrix(labels: tuple[str, ...], counts: np.ndarray) -> ConfusionMatrix:
    totals = counts.sum(axis=1)
    lines = []
    for index, label in enumerate(labels):
        cells = tuple(
            _cell(int(count), int(totals[index]), is_right=column == index)
            for column, count in enumerate(counts[index].tolist())
        )
        lines.append((label, format_count(int(totals[index])), cells))
    text = "; ".join(
        f"{label}: {counts[index, index]} of {totals[index]} right" for index, label in enumerate(labels)
    )
    return ConfusionMatrix(labels=labels, lines=tuple(lines), text=text)


def _cell(count: int, total: int, *, is_right: bool) -> ConfusionCell:
    share = count / total if total else 0.0
    return ConfusionCell(
        count=format_count(count),
        share=f"{share:.0%}" if total else "",
        shade=int(np.ceil(_SHADES * share)),
        is_right=is_right,
    )
