"""Inter-annotator agreement, corrected for chance: a kappa per label, an alpha per dimension.

Each label is a yes-or-no question. Kappa is Fleiss's (1971, "Measuring nominal scale agreement among many
raters"), in Gwet's form for a varying number of annotators (2014, "Handbook of inter-rater reliability",
chapter 2); the two are equal if the number is constant. Alpha is Krippendorff's, for interval data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, TypedDict

from mien.data.audit.summary import POSITIVE
from mien.data.dataset import Dataset
from mien.labels import LabelSet
from mien.types import DIMENSIONS, Target

__all__ = ["Agreement", "AgreementDict", "DimensionAgreement", "measure_agreement", "split_agreement"]

_MIN_DISAGREEMENT: Final = 1e-12  # less than this can be rounding error


class DimensionAgreementDict(TypedDict):
    """`DimensionAgreement` as plain values.

    Attributes:
        subjects: How many people have two values or more.
    """

    subjects: int
    mean_difference: float
    alpha: float | None


class AgreementDict(TypedDict):
    """`Agreement` as plain values.

    Attributes:
        subjects: How many people have two annotators or more.
    """

    subjects: int
    mean_kappa: float | None
    kappa: dict[str, float | None]
    dimensions: dict[str, DimensionAgreementDict]


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionAgreement:
    """Agreement on valence, arousal or dominance.

    Attributes:
        num_subjects: Number of subjects with two values or more.
        mean_difference: Mean absolute difference between two annotators of one subject, on 0..1.
        alpha: 1 for perfect agreement, about 0 at random; None if all values are equal.
    """

    num_subjects: int
    mean_difference: float
    alpha: float | None

    def to_json(self) -> DimensionAgreementDict:
        return {"subjects": self.num_subjects, "mean_difference": self.mean_difference, "alpha": self.alpha}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Agreement in one split. Only subjects with two annotators or more count.

    Attributes:
        num_subjects: The number of these subjects.
        kappa: The kappa of each label: 1 for perfect agreement, about 0 at random; None, undefined, if all
            answers are the same.
        dimensions: Agreement on each dimension that two annotators rated for at least one subject.
    """

    split: str
    num_subjects: int
    kappa: Mapping[str, float | None]
    dimensions: Mapping[str, DimensionAgreement]

    @property
    def mean_kappa(self) -> float | None:
        """The mean over the labels with a defined kappa; None if there are none."""
        known = [value for value in self.kappa.values() if value is not None]
        return sum(known) / len(known) if known else None

    def to_json(self) -> AgreementDict:
        return {
            "subjects": self.num_subjects,
            "mean_kappa": self.mean_kappa,
            "kappa": dict(self.kappa),
            "dimensions": {name: found.to_json() for name, found in self.dimensions.items()},
        }


def measure_agreement(dataset: Dataset) -> tuple[Agreement, ...]:
    """The agreement in every split that has a subject with two annotators or more."""
    sums = {split: _SplitSums(dataset.label_set) for split in dataset.splits}
    for split, record in dataset.all_records():
        sums[split].add(record.annotations)
    return tuple(item.result(split) for split, item in sums.items() if item.num_subjects)


def split_agreement(split: str, subjects: Iterator[Sequence[Target]], label_set: LabelSet) -> Agreement:
    """The agreement in one split; `subjects` yields the annotations of each subject."""
    sums = _SplitSums(label_set)
    for targets in subjects:
        sums.add(targets)
    return sums.result(split)


class _SplitSums:
    """Sums of one split over the subjects with two annotators or more."""

    def __init__(self, label_set: LabelSet) -> None:
        self.num_subjects = 0
        self._labels = {label: _LabelSums() for label in label_set.labels}
        self._dimensions = {name: _DimensionSums() for name in DIMENSIONS}

    def add(self, targets: Sequence[Target]) -> None:
        if len(targets) < 2:
            return
        self.num_subjects += 1
        for label, yes in _count_yes(targets).items():
            self._labels[label].add(yes, len(targets))
        rated = [target.dimensions for target in targets if target.dimensions is not None]
        if len(rated) > 1:
            for name, sums in self._dimensions.items():
                sums.add([values[name] for values in rated])

    def result(self, split: str) -> Agreement:
        return Agreement(
            split=split,
            num_subjects=self.num_subjects,
            kappa={label: sums.kappa(self.num_subjects) for label, sums in self._labels.items()},
            dimensions={name: sums.result() for name, sums in self._dimensions.items() if sums.num_subjects},
        )


def _count_yes(targets: Sequence[Target]) -> Counter[str]:
    """How many annotators chose each label; labels that no one chose are omitted."""
    return Counter(label for target in targets for label, score in target.labels.items() if score >= POSITIVE)


class _LabelSums:
    """Sums for one label over the subjects for whom an annotator chose it; on all others, they agree."""

    def __init__(self) -> None:
        self._disagreement = 0.0
        self._yes = 0.0

    def add(self, yes: int, annotators: int) -> None:
        # The share of pairs of annotators in which one says yes and the other no.
        self._disagreement += 2 * yes * (annotators - yes) / (annotators * (annotators - 1))
        self._yes += yes / annotators

    def kappa(self, num_subjects: int) -> float | None:
        """1 - observed / expected disagreement: (observed - expected) / (1 - expected) in agreement."""
        share = self._yes / max(1, num_subjects)
        expected = 2 * share * (1 - share)
        return None if expected < _MIN_DISAGREEMENT else 1 - self._disagreement / num_subjects / expected


class _DimensionSums:
    """Sums for one dimension over the subjects with two values or more."""

    def __init__(self) -> None:
        self.num_subjects = 0
        self._differences = 0.0
        self._observed = 0.0
        self._num_values = 0
        self._sum = 0.0
        self._squares = 0.0

    def add(self, values: Sequence[float]) -> None:
        differences = [abs(a - b) for a, b in combinations(values, 2)]
        self.num_subjects += 1
        self._differences += sum(differences) / len(differences)
        # Each pair counts in both directions.
        self._observed += 2 * sum(difference**2 for difference in differences) / (len(values) - 1)
        self._num_values += len(values)
        self._sum += sum(values)
        self._squares += sum(value**2 for value in values)

    def result(self) -> DimensionAgreement:
        # The squared differences of all ordered pairs of values, across subjects.
        num_pairs = self._num_values * (self._num_values - 1)
        expected = 2 * (self._num_values * self._squares - self._sum**2) / num_pairs
        observed = self._observed / self._num_values
        return DimensionAgreement(
            num_subjects=self.num_subjects,
            mean_difference=self._differences / self.num_subjects,
            alpha=None if expected < _MIN_DISAGREEMENT else 1 - observed / expected,
        )
