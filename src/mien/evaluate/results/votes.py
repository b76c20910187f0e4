"""How many annotators chose each label of a person, and how far they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mien.data.dataset import Record
from mien.evaluate.metrics.targets import POSITIVE

__all__ = ["Votes", "count_votes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """What the annotators of one person chose.

    Attributes:
        annotators: How many there were, at least two.
        chosen: How many chose each label; labels that no one chose are omitted.
    """

    annotators: int
    chosen: Mapping[str, int]

    @property
    def agreement(self) -> float | None:
        """Of the labels that anyone chose, the mean share of annotators who did: 1 if all chose the same.

        None if no one chose a label.
        """
        if not self.chosen:
            return None
        return sum(self.chosen.values()) / len(self.chosen) / self.annotators


def count_votes(records: Iterable[Record]) -> dict[str, Votes]:
    """The votes by subject id, of the people with two annotators or more."""
    return {
        record.sample.subject.id: Votes(
            annotators=len(record.annotations),
            chosen=Counter(
                label
                for target in record.annotations
                for label, score in target.labels.items()
                if score >= POSITIVE
            ),
        )
        for record in records
        if len(record.annotations) > 1
    }
