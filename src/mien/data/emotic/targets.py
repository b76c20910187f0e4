"""From the annotations of one person in EMOTIC to a target, with dimensions on a scale of 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

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


def combine_annotations(annotations: Sequence[EncodedAnnotation], *, majority: bool) -> Target:
    """The combined labels, and the mean dimensions of the annotators who gave any.

    Args:
        majority: Use the labels that more than half of the annotators chose instead of the union. If there is
            no such label, use the most frequent ones, so that every person has a label. When two annotators
            disagree completely, this is the union.
    """
    if len(annotations) == 1:
        return annotation_target(*annotations[0])
    given = [dimensions for _, dimensions in annotations if dimensions is not None]
    means = tuple(sum(ratings) / len(given) for ratings in zip(*given, strict=True)) if given else None
    return annotation_target(_majority(annotations) if majority else _union(annotations), means)


def _union(annotations: Sequence[EncodedAnnotation]) -> int:
    union = 0
    for bits, _ in annotations:
        union |= bits
    return union


def _majority(annotations: Sequence[EncodedAnnotation]) -> int:
    counts = [sum(bits >> index & 1 for bits, _ in annotations) for index in range(len(EMOTIC))]
    # More than half, or the highest count if no label reaches that.
    required = min(len(annotations) // 2 + 1, max(counts))
    return sum(1 << index for index, count in enumerate(counts) if count >= required)
