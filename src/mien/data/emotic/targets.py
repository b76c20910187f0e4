"""From what EMOTIC's annotators said of a person to a target.

In: each annotator's vote, as the table keeps it. Out: `Target`s, dimensions on the scale of 0 to 1.
Knows nothing about files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from mien.labels import EMOTIC
from mien.types import Target

__all__ = ["Vote", "opinion", "unite", "votes_of"]

# Labels as bits (bit i: label i of EMOTIC), and dimensions on the scale of 1 to 10 where they were given.
Vote = tuple[int, tuple[float, ...] | None]


def votes_of(row: Mapping[str, Any]) -> list[Vote]:
    """The votes in a row of the table, one an annotator."""
    felt = row["felt"]
    triples = (tuple(felt[start : start + 3]) for start in range(0, len(felt), 3))
    steps = (None if math.isnan(triple[0]) else triple for triple in triples)
    return list(zip(row["ticked"], steps, strict=True))


def opinion(bits: int, steps: tuple[float, ...] | None) -> Target:
    """One vote as a target."""
    if steps is None:
        return Target(labels=_labels(bits))
    valence, arousal, dominance = steps
    dimensions = {"valence": valence / 10, "arousal": arousal / 10, "dominance": dominance / 10}
    return Target(labels=_labels(bits), dimensions=dimensions)


# Bounded, so that memory does not grow with the data set.
@lru_cache(maxsize=16384)
def _labels(bits: int) -> dict[str, float]:
    return {label: 1.0 for index, label in enumerate(EMOTIC.labels) if bits >> index & 1}


def unite(votes: Sequence[Vote], *, majority: bool) -> Target:
    """The union of the labels, or those of the majority; the mean of the dimensions of those who gave any.

    `majority`: what more than half of the annotators ticked; where there is no such label, the most ticked
    ones, so that nobody is left without. With two annotators who disagree that is all they ticked.
    """
    if len(votes) == 1:
        return opinion(*votes[0])
    given = [steps for _, steps in votes if steps is not None]
    means = tuple(sum(steps) / len(given) for steps in zip(*given, strict=True)) if given else None
    return opinion(_majority(votes) if majority else _union(votes), means)


def _union(votes: Sequence[Vote]) -> int:
    bits = 0
    for own, _ in votes:
        bits |= own
    return bits


def _majority(votes: Sequence[Vote]) -> int:
    counts = [sum(bits >> index & 1 for bits, _ in votes) for index in range(len(EMOTIC))]
    # Above half of all, or as high as the highest where none is.
    least = min(len(votes) // 2 + 1, max(counts))
    return sum(1 << index for index, count in enumerate(counts) if count >= least)
