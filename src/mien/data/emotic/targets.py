"""From the annotations of one person in EMOTIC to a target, with dimensions on a scale of 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from mien.data.annotators import Combination, combine_labels
from mien.labels import EMOTIC
from mien.types import Target

__all__ = ["EncodedAnnotation", "annotation_target", "combine_annotations", "decode_annotations"]

# One annotator's labels as bits (bit i is label i of EMOTIC), and dimensions in 1..10 where given.
EncodedAnnotation = tuple[int, tuple[float, ...] | None]


def decode_annotations(row: Mapping[str, Any]) -> list[EncodedAnnotation]:
    """The annotations in a row of the person table, one per annotator."""
    ratings = row["dimensions"]
    triples = (tuple(ratings[start : start + 3]) for start in range(0, len(ratings), 3))
    dimensions = (None if math.isnan(triple[0]) else triple for triple in triples)
    return list(zip(row["label_bits"], dimensions, strict=True))


def annotation_target(label_bits: int, dimensions: tuple[float, ...] | None) -> Target:
    """One annotation as a target."""
    labels = _labels(label_bits)
    if dimensions is None:
        return Target(labels=labels)
    valence, arousal, dominance = dimensions
    scaled = {"valence": valence / 10, "arousal": arousal / 10, "dominance": dominance / 10}
    return Target(labels=labels, dimensions=scaled)


# Bounded, so that memory does not grow with the dataset.
@lru_cache(maxsize=16384)
def _labels(bits: int) -> dict[str, float]:
    return {label: 1.0 for index, label in enumerate(EMOTIC.labels) if bits >> index & 1}


def combine_annotations(annotations: Sequence[EncodedAnnotation], how: Combination = "combined") -> Target:
    """The labels combined by `mien.data.annotators.combine_labels`, and the mean of the dimensions given."""
    if len(annotations) == 1:
        return annotation_target(*annotations[0])
    given = [dimensions for _, dimensions in annotations if dimensions is not None]
    means = tuple(sum(ratings) / len(given) for ratings in zip(*given, strict=True)) if given else None
    if how == "combined":  # without a list of names, because most people are read this way
        return annotation_target(_union(annotations), means)
    shares = combine_labels([_labels(bits) for bits, _ in annotations], how)
    return Target(
        labels={label: shares[label] for label in EMOTIC.labels if label in shares},
        dimensions=annotation_target(0, means).dimensions,
    )


def _union(annotations: Sequence[EncodedAnnotation]) -> int:
    union = 0
    for bits, _ in annotations:
        union |= bits
    return union
