"""What counts as true: from targets to labels and classes, and which targets and scores are valid."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from mien.errors import DataError
from mien.types import DIMENSIONS

__all__ = [
    "POSITIVE",
    "Columns",
    "Labels",
    "check_dimensions",
    "check_labels",
    "dimension_columns",
    "label_columns",
    "labels_with_positives",
    "positives",
    "true_classes",
]

POSITIVE: Final = 0.5  # soft targets from here on count as positive, as in BoLD's own evaluation

Labels = Float[np.ndarray, "sample label"]
Columns = Float[np.ndarray, "sample column"]


def positives(targets: Labels) -> Bool[np.ndarray, "sample label"]:
    """Which labels hold for which sample."""
    holds: np.ndarray = np.asarray(targets) >= POSITIVE
    return holds


def true_classes(targets: Labels) -> Int[np.ndarray, " sample"]:
    """The index of each sample's one label; DataError for a sample without any."""
    unlabeled = np.flatnonzero(np.max(targets, axis=1) <= 0)
    if len(unlabeled):
        raise DataError(
            f"sample {int(unlabeled[0])} has no label, in a set where exactly one holds",
            hint="give every sample its label, or remove it from the split",
        )
    classes: np.ndarray = np.argmax(targets, axis=1)
    return classes


def labels_with_positives(targets: Labels) -> Int[np.ndarray, " label"]:
    """Indices of the labels that at least one sample has."""
    return np.flatnonzero(positives(targets).any(axis=0))


def label_columns(columns: Columns) -> Labels:
    """The labels in an array of labels followed by valence, arousal and dominance."""
    return columns[:, : -len(DIMENSIONS)]


def dimension_columns(columns: Columns) -> Float[np.ndarray, "sample dimension"]:
    """Valence, arousal and dominance in an array of labels followed by these three."""
    return columns[:, -len(DIMENSIONS) :]


def check_labels(targets: np.ndarray, scores: np.ndarray) -> None:
    """DataError unless both are finite, of one shape, and of at least one sample."""
    if scores.shape != targets.shape or scores.ndim != 2:
        raise DataError(
            f"scores of shape {scores.shape} against targets of shape {targets.shape}",
            hint="give one row per sample and one column per label",
        )
    if not len(scores):
        raise DataError("no samples to evaluate", hint="name a split that has annotated samples")
    for name, values in (("scores", scores), ("targets", targets)):
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise DataError(
                f"{name} of sample {row} are not finite",
                hint="the model or its data contain NaN; check the loss in events.jsonl",
            )


def check_dimensions(targets: np.ndarray, values: np.ndarray) -> None:
    """DataError unless estimates are finite and of the targets' shape, and some target is annotated."""
    if values.shape != targets.shape or not np.isfinite(values).all():
        raise DataError(
            f"dimensions of shape {values.shape} against {targets.shape}, or not finite",
            hint='train a model with [train] heads = "both", and check that its loss stays finite',
        )
    if not np.isfinite(targets).any():
        raise DataError(
            "no sample has values of valence, arousal and dominance",
            hint="remove vad_mae, mR2 and ERS from [evaluate] metrics",
        )
