"""How far annotators agree, beyond what chance would give.

In: the opinions in a data set's records, as a stream. Out: a kappa for each label, and for valence,
arousal and dominance how far two annotators lie apart. Knows nothing about the combined target.

Each label is a question of yes or no. Kappa is Fleiss's (1971, "Measuring nominal scale agreement among many
raters"), in Gwet's form for a number of annotators that varies (2014, "Handbook of inter-rater reliability",
chapter 2), which is the same where it does not. Alpha is Krippendorff's, for intervals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from mien.data.audit.tally import POSITIVE
from mien.data.dataset import Dataset
from mien.labels import LabelSet
from mien.types import DIMENSIONS, Target

__all__ = ["Agreement", "DimensionAgreement", "measure_agreement", "split_agreement"]

_LEAST: Final = 1e-12  # a disagreement that rounding alone can make


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionAgreement:
    """`difference`: mean absolute difference of two annotators of one subject, on 0..1.

    `alpha`: 1 if they always agree, about 0 if at random; None where all values are the same.
    """

    subjects: int
    difference: float
    alpha: float | None

    def to_json(self) -> dict[str, Any]:
        return {"subjects": self.subjects, "mean_difference": self.difference, "alpha": self.alpha}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of one split. `subjects`: those with two opinions or more, which alone count.

    `kappa` by label: 1 if all agree on every subject, about 0 if at random; None where it is not defined,
    because the answers are all yes or all no. `dimensions` has those that two annotators gave somewhere.
    """

    split: str
    subjects: int
    kappa: Mapping[str, float | None]
    dimensions: Mapping[str, DimensionAgreement]

    @property
    def mean_kappa(self) -> float | None:
        """The mean over the labels for which kappa is defined; None if for none."""
        known = [value for value in self.kappa.values() if value is not None]
        return sum(known) / len(known) if known else None

    def to_json(self) -> dict[str, Any]:
        return {
            "subjects": self.subjects,
            "mean_kappa": self.mean_kappa,
            "kappa": dict(self.kappa),
            "dimensions": {name: found.to_json() for name, found in self.dimensions.items()},
        }


def measure_agreement(dataset: Dataset) -> tuple[Agreement, ...]:
    """The agreement in every split in which some subject has two opinions or more."""
    found = (
        split_agreement(split, (record.annotations for record in dataset.records(split)), dataset.label_set)
        for split in dataset.splits
    )
    return tuple(item for item in found if item.subjects)


def split_agreement(split: str, subjects: Iterator[Sequence[Target]], label_set: LabelSet) -> Agreement:
    """The agreement of the annotators of these subjects, each given by its opinions."""
    questions = {label: _Question() for label in label_set.labels}
    scales = {name: _Scale() for name in DIMENSIONS}
    count = 0
    for opinions in subjects:
        if len(opinions) < 2:
            continue
        count += 1
        for label, yes in _ticks(opinions).items():
            questions[label].add(yes, len(opinions))
        given = [opinion.dimensions for opinion in opinions if opinion.dimensions is not None]
        if len(given) > 1:
            for name, scale in scales.items():
                scale.add([values[name] for values in given])
    return Agreement(
        split=split,
        subjects=count,
        kappa={label: question.kappa(count) for label, question in questions.items()},
        dimensions={name: scale.result() for name, scale in scales.items() if scale.subjects},
    )


def _ticks(opinions: Sequence[Target]) -> Counter[str]:
    """How many annotators said yes, by label; those to which all said no are not named."""
    return Counter(
        label for opinion in opinions for label, score in opinion.labels.items() if score >= POSITIVE
    )


class _Question:
    """Sums for one label over the subjects for which somebody said yes to it; about the others all agree."""

    def __init__(self) -> None:
        self._disagreed = 0.0
        self._yes = 0.0

    def add(self, yes: int, annotators: int) -> None:
        # The share of the pairs of annotators of whom one said yes and one no.
        self._disagreed += 2 * yes * (annotators - yes) / (annotators * (annotators - 1))
        self._yes += yes / annotators

    def kappa(self, subjects: int) -> float | None:
        """1 - observed / expected disagreement, which is (observed - expected) / (1 - expected) agreement."""
        share = self._yes / max(1, subjects)
        by_chance = 2 * share * (1 - share)
        return None if by_chance < _LEAST else 1 - self._disagreed / subjects / by_chance


class _Scale:
    """Sums over subjects for one dimension, of which annotators gave two values or more."""

    def __init__(self) -> None:
        self.subjects = 0
        self._differences = 0.0
        self._observed = 0.0
        self._values = 0
        self._sum = 0.0
        self._squares = 0.0

    def add(self, values: Sequence[float]) -> None:
        apart = [abs(a - b) for a, b in combinations(values, 2)]
        self.subjects += 1
        self._differences += sum(apart) / len(apart)
        # Each pair counts in both directions.
        self._observed += 2 * sum(difference**2 for difference in apart) / (len(values) - 1)
        self._values += len(values)
        self._sum += sum(values)
        self._squares += sum(value**2 for value in values)

    def result(self) -> DimensionAgreement:
        # The squared differences of all ordered pairs of values, whoever they speak of.
        expected = 2 * (self._values * self._squares - self._sum**2) / (self._values * (self._values - 1))
        observed = self._observed / self._values
        return DimensionAgreement(
            subjects=self.subjects,
            difference=self._differences / self.subjects,
            alpha=None if expected < _LEAST else 1 - observed / expected,
        )
