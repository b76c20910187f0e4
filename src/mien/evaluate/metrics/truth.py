"""What counts as true: from targets to positives and classes, and what scores and targets must be.

Goes in: arrays of one row a sample and one column a label. Comes out: the same, checked or turned to truth.
Knows nothing about: metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from mien.errors import DataError

__all__ = ["POSITIVE", "Labels", "check", "positives", "rate_labels", "true_classes"]

POSITIVE: Final = 0.5  # soft targets from here on count as positive, as BoLD's authors do

Labels = Float[np.ndarray, "sample label"]


def positives(targets: Labels) -> Bool[np.ndarray, "sample label"]:
    """Which labels hold for which sample."""
    found: np.ndarray = np.asarray(targets) >= POSITIVE
    return found


def rate_labels(
    rate: Callable[[np.ndarray, np.ndarray], float],
    truth: Bool[np.ndarray, "sample label"],
    scores: Labels,
    *,
    rated: np.ndarray | np.bool,
) -> Float[np.ndarray, " label"]:
    """`rate` of (truth, scores) of each label that is to be rated; NaN for the others."""
    values = np.full(truth.shape[1], np.nan)
    for label in np.flatnonzero(rated):
        values[label] = rate(truth[:, label], scores[:, label])
    return values


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
