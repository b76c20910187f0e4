"""Which errors of labels come together: pairs of labels where any number may hold, else a confusion matrix.

The count of a pair is compared with what is expected if the errors of both labels were independent of each
other, given what annotators chose: the model misses a label in some share of the people who have it, and
gives it falsely to some share of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.stats import poisson

from mien.evaluate.metrics.classification import predicted_labels, true_labels
from mien.evaluate.metrics.metric import safe_divide
from mien.evaluate.metrics.targets import Labels
from mien.evaluate.results.results import MIN_POSITIVES

__all__ = ["ErrorKind", "ErrorPair", "confusion_matrix", "error_pairs"]

ErrorKind = Literal["missed together", "given together", "given instead"]
_LEVEL: Final = 0.05

Holds = Bool[np.ndarray, "sample label"]
Counts = Float64[np.ndarray, "label label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPair:
    """Two labels with errors of the same people.

    Attributes:
        kind: "missed together" if annotators chose both labels and the model neither, "given together" if
            the model chose both and annotators neither, "given instead" if annotators chose only the first
            and the model only the second.
        first: A label.
        second: Another label.
        count: How many people have both errors.
        expected: How many would have them if both errors were independent, given what annotators chose.
        n: How many people can have both errors.
        is_clear: Whether so many are unlikely (Poisson, 5 % over all pairs of the kind together). People
            count as independent. Those of one image share errors, so images with many people make it too
            easily true.
    """

    kind: ErrorKind
    first: str
    second: str
    count: int
    expected: float
    n: int
    is_clear: bool


def error_pairs(truth: Holds, predicted: Holds, labels: Sequence[str]) -> tuple[ErrorPair, ...]:
    """The pairs with more errors than expected, of each kind the most surprising first.

    Pairs of fewer than `MIN_POSITIVES` people are left out.
    """
    miss, false = (truth & ~predicted).astype(np.float64), (~truth & predicted).astype(np.float64)
    holds, other = truth.astype(np.float64), (~truth).astype(np.float64)
    missed = safe_divide(miss.sum(axis=0), holds.sum(axis=0), otherwise=0.0)
    given = safe_divide(false.sum(axis=0), other.sum(axis=0), otherwise=0.0)
    return (
        *_strongest("missed together", miss.T @ miss, holds.T @ holds, np.outer(missed, missed), labels),
        *_strongest("given together", false.T @ false, other.T @ other, np.outer(given, given), labels),
        *_strongest("given instead", miss.T @ false, holds.T @ other, np.outer(missed, given), labels),
    )


def confusion_matrix(targets: Labels, scores: Labels) -> Int[np.ndarray, "label label"]:
    """How many people have a label (row) and their highest score at a label (column)."""
    truth = true_labels(targets, exclusive=True).astype(np.int64)
    counts: np.ndarray = truth.T @ predicted_labels(scores, exclusive=True).astype(np.int64)
    return counts


def _strongest(
    kind: ErrorKind, counts: Counts, people: Counts, rates: Counts, labels: Sequence[str]
) -> Iterator[ErrorPair]:
    expected = people * rates
    if kind == "given instead":
        pairs = ~np.eye(len(labels), dtype=np.bool_)
    else:  # the other half says the same
        pairs = np.triu(np.ones_like(counts, dtype=np.bool_), k=1)
    # That a Poisson variable of this mean is at least as large.
    chances = np.where(counts > 0, poisson.sf(counts - 1, np.maximum(expected, 1e-12)), 1.0)
    surprise = (counts - expected) / np.sqrt(np.maximum(expected, 1.0))
    shown = np.argwhere(pairs & (counts >= MIN_POSITIVES) & (counts > expected))
    for row, column in sorted(shown.tolist(), key=lambda pair: -surprise[pair[0], pair[1]]):
        yield ErrorPair(
            kind=kind,
            first=labels[row],
            second=labels[column],
            count=int(counts[row, column]),
            expected=float(expected[row, column]),
            n=int(people[row, column]),
            is_clear=bool(chances[row, column] < _LEVEL / pairs.sum()),
        )
