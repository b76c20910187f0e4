"""What the error browser says about each person: which labels were found, missed or false alarms.

A label is predicted if its score reaches its threshold. Where exactly one label holds, the best one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool

from mien.evaluate.metrics.targets import positives
from mien.evaluate.results.examples import Example
from mien.evaluate.results.votes import Votes
from mien.evaluate.scores import SplitScores
from mien.report.formatting import format_number
from mien.report.predictions import Predictions

__all__ = [
    "AGREEMENTS",
    "KINDS",
    "PersonEntry",
    "ShownLabel",
    "person_entry",
]

_HALF: Final = 0.5  # of the annotators
# By the letter that marks a label in the classes of a person.
KINDS: Final = {"t": "chosen by annotators", "h": "found", "m": "missed", "f": "false alarm"}
AGREEMENTS: Final = {
    "g3": "all chose the same labels",
    "g2": "mostly agree (mean share above 50%)",
    "g1": "mostly disagree (50% or less)",
    "g0": "one annotator, or not known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLabel:
    """A label of a person: its kind ("h", "m", "f", or "o" for none of them), its score, and its votes."""

    label: str
    kind: str
    score: str
    votes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonEntry:
    """One person.

    Attributes:
        classes: By which the person is filtered.
        labels: Those that are predicted or chosen, or else the best, the highest score first.
        is_right: Whether annotators chose the best label; None if they chose none.
    """

    id: str
    rating: str
    classes: str
    labels: tuple[ShownLabel, ...]
    best: str
    is_right: bool | None
    description: str | None

    @property
    def num_bytes(self) -> int:
        """About how long the entry is on the page."""
        words = len((self.description or "").encode("utf-8", "replace"))
        labels = sum(60 + len(item.label.encode("utf-8", "replace")) for item in self.labels)
        return 400 + len(self.id.encode("utf-8", "replace")) + len(self.classes) + words + labels


def person_entry(
    row: int, scores: SplitScores, found: Predictions, example: Example, rating: float
) -> PersonEntry:
    """The entry of the person in this row."""
    truth, predicted = positives(scores.targets[row : row + 1])[0], found.predicted[row]
    order = np.argsort(-found.scores[row], kind="stable")
    best = int(order[0])
    shown = [int(index) for index in order if truth[index] or predicted[index]] or [best]
    names, votes = scores.label_set.labels, example.votes
    return PersonEntry(
        id=example.id,
        rating="" if np.isnan(rating) else format_number(rating, 2),
        classes=" ".join(_classes(truth, predicted, best, votes)),
        labels=tuple(
            ShownLabel(
                label=names[index],
                kind=_kind(bool(truth[index]), bool(predicted[index])),
                score=format_number(float(found.scores[row, index]), 2),
                votes=_votes(votes, names[index]),
            )
            for index in shown
        ),
        best=names[best],
        is_right=bool(truth[best]) if truth.any() else None,
        description=example.description,
    )


def _kind(is_true: bool, is_predicted: bool) -> str:
    return {(True, True): "h", (True, False): "m", (False, True): "f"}.get((is_true, is_predicted), "o")


def _classes(
    truth: Bool[np.ndarray, " label"], predicted: Bool[np.ndarray, " label"], best: int, votes: Votes | None
) -> list[str]:
    """A kind with the number of its label ("m3"), a kind of any label ("am"), right or wrong, agreement."""
    of_kind: Mapping[str, Bool[np.ndarray, " label"]] = {
        "t": truth,
        "h": truth & predicted,
        "m": truth & ~predicted,
        "f": ~truth & predicted,
    }
    classes = [
        f"{kind}{index}" for kind, chosen in of_kind.items() for index in np.flatnonzero(chosen).tolist()
    ]
    classes += [f"a{kind}" for kind, chosen in of_kind.items() if chosen.any()]
    if truth.any():
        classes.append("right" if truth[best] else "wrong")
    return [*classes, _agreement(votes)]


def _agreement(votes: Votes | None) -> str:
    agreement = None if votes is None else votes.agreement
    if agreement is None:
        return "g0"
    if agreement > 1 - 1e-9:
        return "g3"
    return "g2" if agreement > _HALF else "g1"


def _votes(votes: Votes | None, label: str) -> str:
    return "" if votes is None else f"{votes.chosen.get(label, 0)}/{votes.annotators}"
