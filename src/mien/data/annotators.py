"""Combines what several annotators say of one person into one target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal

__all__ = ["Combination", "combine_labels"]

# How labels are combined. "combined": the union.
Combination = Literal["combined", "majority", "soft"]


def combine_labels(chosen: Sequence[Collection[str]], how: Combination = "combined") -> dict[str, float]:
    """The labels of a person, each with a score above 0, in the order in which annotators name them.

    Args:
        chosen: The labels that each annotator chose, without repetitions.
        how: "combined" is the union of the labels. "majority" is those that more than half of the annotators
            chose; if there are none, the most frequent ones, so that every person has a label. When two
            annotators disagree completely, this is the union. "soft" is the share of the annotators who chose
            each label, from 0 to 1.
    """
    counts = Counter(label for labels in chosen for label in labels)
    if how == "soft":
        return {label: count / len(chosen) for label, count in counts.items()}
    required = min(len(chosen) // 2 + 1, max(counts.values(), default=0)) if how == "majority" else 1
    return {label: 1.0 for label, count in counts.items() if count >= required}
