"""Statistics of a dataset, counted in one pass per split: people, images, labels, boxes, and problems.

No image is opened; files are only looked up in the listings of their folders. People are streamed: memory
grows by one hash per image and by the names in those listings.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, TypedDict

from mien.data.audit.directory_listing import DirectoryListing
from mien.data.chance import random_average_precision
from mien.data.dataset import Dataset, Record
from mien.labels import LabelSet
from mien.types import DIMENSIONS, Box, Target

__all__ = [
    "BOX_SIDES",
    "POSITIVE",
    "BoxSizeHistogram",
    "DimensionStatistics",
    "SplitSummary",
    "Summary",
    "SummaryDict",
    "summarize",
]

_SCHEMA: Final = 1

POSITIVE: Final = 0.5  # a label holds from this score on; the same as in the metrics

# Lower edges of the bins, in pixels. A box has the side of the square with its area.
BOX_SIDES: Final = (0, 16, 32, 64, 128, 256, 512)
_NUM_TENTHS: Final = 11  # 0.0, 0.1 ... 1.0: the values of an annotator's scale of ten
_MAX_ATTRIBUTE_VALUES: Final = 60  # further values are counted together
_OTHER: Final = "(other)"


# --- Results -----------------------------------------------------------------------------------------


class DimensionStatisticsDict(TypedDict):
    """`DimensionStatistics` as plain values.

    Attributes:
        mean: The mean value.
        min: The lowest value.
        max: The highest value.
        histogram: How many values are nearest to 0.0, 0.1 ... 1.0.
    """

    mean: float
    min: float
    max: float
    histogram: list[int]


class BoxSizesDict(TypedDict):
    """Sizes of boxes, as the side of the square with the same area.

    Attributes:
        count: How many boxes there are.
        min_side: The side of the smallest box, in pixels; None without boxes.
        max_side: The side of the largest box, in pixels; None without boxes.
        sides: How many boxes have a side in each range of pixels.
        subjects_without: How many people have no box.
    """

    count: int
    min_side: float | None
    max_side: float | None
    sides: dict[str, int]
    subjects_without: int


class SplitSummaryDict(TypedDict):
    """The most important counts of a split.

    Attributes:
        images: How many different files there are.
        subjects: How many people there are.
        labels_per_subject: The mean number of labels of the labeled people; None if no one is labeled.
        chance_map: The mAP that a random order is expected to have; None if no one has a label.
        with_dimensions: How many people have valence, arousal and dominance.
    """

    images: int
    subjects: int
    labels_per_subject: float | None
    chance_map: float | None
    with_dimensions: int


class SplitDetailsDict(TypedDict):
    """Further statistics of a split.

    Attributes:
        unlabeled: How many people have no annotation.
        clips: How many people are in clips.
        prevalence: The share of the labeled people who have a label, by label.
        annotators: How many people have a number of annotators, by that number.
        dimensions: The distribution of each dimension that has values.
        boxes: The sizes of boxes.
        attributes: How many people have a value, by attribute; for audits only.
        cooccurrence: How many people have both labels, a row and a column per label.
    """

    unlabeled: int
    clips: int
    prevalence: dict[str, float]
    annotators: dict[str, int]
    dimensions: dict[str, DimensionStatisticsDict]
    boxes: BoxSizesDict
    attributes: dict[str, dict[str, int]]
    cooccurrence: list[list[int]]


class SummaryDict(TypedDict):
    """Statistics of a dataset, from its annotations alone.

    Attributes:
        dataset: The name of the dataset.
        splits: The most important counts, by split.
        problems: The number of problems by kind, the most frequent first.
        label_set: The name of the label set.
        labels: The labels, in the order of the label set.
        details: Further statistics, by split.
    """

    schema: Literal[1]
    dataset: str
    splits: dict[str, SplitSummaryDict]
    problems: dict[str, int]
    label_set: str
    labels: list[str]
    details: dict[str, SplitDetailsDict]


@dataclass(slots=True, kw_only=True)
class DimensionStatistics:
    """The distribution of values from 0 to 1; `histogram` counts the values nearest to 0.0, 0.1 ... 1.0."""

    count: int = 0
    total: float = 0.0
    low: float = 1.0
    high: float = 0.0
    histogram: list[int] = field(default_factory=lambda: [0] * _NUM_TENTHS)

    @property
    def mean(self) -> float:
        """NaN if there are no values."""
        return self.total / self.count if self.count else float("nan")

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        self.histogram[int(value * 10 + 0.5 + 1e-9)] += 1

    def to_json(self) -> DimensionStatisticsDict:
        return {
            "mean": self.mean,
            "min": self.low,
            "max": self.high,
            "histogram": list(self.histogram),
        }


@dataclass(slots=True, kw_only=True)
class BoxSizeHistogram:
    """Sizes of boxes, as the side of the square with the same area; one bin for each of `BOX_SIDES`."""

    count: int = 0
    low: float = float("inf")
    high: float = 0.0
    histogram: list[int] = field(default_factory=lambda: [0] * len(BOX_SIDES))

    def add(self, box: Box) -> None:
        side = ((box.right - box.left) * (box.bottom - box.top)) ** 0.5
        self.count += 1
        self.low = min(self.low, side)
        self.high = max(self.high, side)
        self.histogram[bisect_right(BOX_SIDES, side) - 1] += 1

    @property
    def bin_names(self) -> tuple[str, ...]:
        """The range of each bin, as text."""
        return (*(f"{low} to {high}" for low, high in pairwise(BOX_SIDES)), f"{BOX_SIDES[-1]} and more")

    def to_json(self, *, num_without: int) -> BoxSizesDict:
        return {
            "count": self.count,
            "min_side": self.low if self.count else None,
            "max_side": self.high if self.count else None,
            "sides": dict(zip(self.bin_names, self.histogram, strict=True)),
            "subjects_without": num_without,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """Statistics of one split. Shares, prevalence and means of labels are over the labeled subjects.

    Attributes:
        num_images: Distinct files.
        num_labels: Labels of all subjects together.
        positives: Subjects by label, in the label set's order.
        cooccurrence: `cooccurrence[i][j]` subjects have both label i and label j.
        dimensions: The dimensions that have values.
        annotators: Subjects by their number of annotators.
        attributes: Subjects by attribute and value, most frequent first; for audits only.
    """

    split: str
    num_images: int
    num_subjects: int
    num_unlabeled: int
    num_labels: int
    num_with_dimensions: int
    num_without_box: int
    num_clips: int
    positives: Mapping[str, int]
    cooccurrence: tuple[tuple[int, ...], ...]
    dimensions: Mapping[str, DimensionStatistics]
    annotators: Mapping[int, int]
    boxes: BoxSizeHistogram
    attributes: Mapping[str, Mapping[str, int]]

    @property
    def num_labeled(self) -> int:
        """Annotated subjects, including those annotated with no label."""
        return self.num_subjects - self.num_unlabeled

    @property
    def prevalence(self) -> dict[str, float]:
        """The share of the labeled subjects that have a label; empty if there are none."""
        if not self.num_labeled:
            return {}
        return {label: count / self.num_labeled for label, count in self.positives.items()}

    @property
    def labels_per_subject(self) -> float | None:
        """The mean number of labels with a score of 0.5 or more; None if no subject is labeled."""
        return self.num_labels / self.num_labeled if self.num_labeled else None

    @property
    def chance_map(self) -> float | None:
        """The expected mAP of a random order, over the labels with a positive; None if there are none."""
        chance = [
            random_average_precision(count, self.num_labeled) for count in self.positives.values() if count
        ]
        return sum(chance) / len(chance) if chance else None

    @property
    def most_frequent(self) -> tuple[str, float] | None:
        """The most frequent label and its share, which is the accuracy of always predicting it."""
        shares = self.prevalence
        label = max(shares, key=lambda name: shares[name], default=None)
        return None if label is None or not shares[label] else (label, shares[label])

    def to_json(self) -> SplitSummaryDict:
        """The five numbers that callers can rely on."""
        return {
            "images": self.num_images,
            "subjects": self.num_subjects,
            "labels_per_subject": self.labels_per_subject,
            "chance_map": self.chance_map,
            "with_dimensions": self.num_with_dimensions,
        }

    def details(self) -> SplitDetailsDict:
        """All further statistics."""
        return {
            "unlabeled": self.num_unlabeled,
            "clips": self.num_clips,
            "prevalence": self.prevalence,
            "annotators": {str(number): count for number, count in self.annotators.items()},
            "dimensions": {name: statistics.to_json() for name, statistics in self.dimensions.items()},
            "boxes": self.boxes.to_json(num_without=self.num_without_box),
            "attributes": {name: dict(values) for name, values in self.attributes.items()},
            "cooccurrence": [list(row) for row in self.cooccurrence],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Statistics of a dataset.

    Attributes:
        splits: In the dataset's order.
        problems: The number of problems by kind, most frequent first.
        missing: Missing files that the annotation reader did not report; they count in `problems`.
    """

    dataset: str
    label_set: str
    labels: tuple[str, ...]
    exclusive: bool
    splits: tuple[SplitSummary, ...]
    problems: Mapping[str, int]
    missing: tuple[str, ...] = ()

    def to_json(self) -> SummaryDict:
        """The document of `mien data summary --json`."""
        return {
            "schema": _SCHEMA,
            "dataset": self.dataset,
            "splits": {split.split: split.to_json() for split in self.splits},
            "problems": dict(self.problems),
            "label_set": self.label_set,
            "labels": list(self.labels),
            "details": {split.split: split.details() for split in self.splits},
        }


# --- Counting ----------------------------------------------------------------------------------------


def summarize(dataset: Dataset) -> Summary:
    """Counts the records of a dataset. Unusable rows count only as problems."""
    listing = DirectoryListing()
    counters = {split: _SplitCounter(dataset.label_set, listing) for split in dataset.splits}
    for split, record in dataset.all_records():
        counters[split].add(record)
    splits = tuple(counter.result(split) for split, counter in counters.items())
    problems = dataset.problems()
    reported = {problem.file for problem in problems if problem.kind == "missing"}
    not_found = dict.fromkeys(path for counter in counters.values() for path in counter.missing)
    # Listed again: Playhouse draws an image when its record is read.
    listing = DirectoryListing()
    missing = tuple(path for path in not_found if path not in reported and not listing.has_file(Path(path)))
    kinds = Counter(problem.kind for problem in problems)
    kinds["missing"] += len(missing)
    label_set = dataset.label_set
    return Summary(
        dataset=dataset.card.name,
        label_set=label_set.name,
        labels=label_set.labels,
        exclusive=label_set.exclusive,
        splits=splits,
        problems={kind: count for kind, count in kinds.most_common() if count},
        missing=missing,
    )


class _SplitCounter:
    """Counts the records of one split without keeping any. `missing` are the files that do not exist."""

    def __init__(self, label_set: LabelSet, listing: DirectoryListing) -> None:
        num_labels = len(label_set)
        self.missing: list[str] = []
        self._listing = listing
        self._last_path: Path | None = None
        self._index = {label: index for index, label in enumerate(label_set.labels)}
        self._file_hashes: set[int] = set()
        self._cooccurrence = [array("q", bytes(8 * num_labels)) for _ in range(num_labels)]
        self._attributes: dict[str, Counter[str]] = {}
        self._num_subjects = self._num_unlabeled = self._num_with_dimensions = 0
        self._num_without_box = self._num_clips = 0
        self._positives = [0] * num_labels
        self._dimensions = {name: DimensionStatistics() for name in DIMENSIONS}
        self._annotators: Counter[int] = Counter()
        self._boxes = BoxSizeHistogram()

    def _add_file(self, path: Path) -> None:
        """Looks for a new file. Keeps only its hash, of 64 bits."""
        if path is self._last_path:
            return
        self._last_path = path
        key = hash(str(path))
        if key not in self._file_hashes:
            self._file_hashes.add(key)
            if not self._listing.has_file(path):
                self.missing.append(str(path))

    def add(self, record: Record) -> None:
        subject = record.sample.subject
        self._num_subjects += 1
        for image in subject.images:
            self._add_file(image.path)
        self._num_clips += subject.images[0].frame is not None
        self._num_without_box += not any(subject.boxes)
        for box in subject.boxes:
            if box is not None:
                self._boxes.add(box)
        self._annotators[len(record.annotations)] += 1
        self._add_attributes(record.attributes)
        if record.sample.target is None:
            self._num_unlabeled += 1
        else:
            self._add_target(record.sample.target)

    def _add_target(self, target: Target) -> None:
        positive = [self._index[name] for name, score in target.labels.items() if score >= POSITIVE]
        for row in positive:
            self._positives[row] += 1
            counts = self._cooccurrence[row]
            for column in positive:
                counts[column] += 1
        if target.dimensions is not None:
            self._num_with_dimensions += 1
            for name, value in target.dimensions.items():
                self._dimensions[name].add(value)

    def _add_attributes(self, attributes: Mapping[str, str]) -> None:
        for name, value in attributes.items():
            values = self._attributes.setdefault(name, Counter())
            is_counted = value in values or len(values) < _MAX_ATTRIBUTE_VALUES
            values[value if is_counted else _OTHER] += 1

    def result(self, split: str) -> SplitSummary:
        return SplitSummary(
            split=split,
            num_images=len(self._file_hashes),
            num_subjects=self._num_subjects,
            num_unlabeled=self._num_unlabeled,
            num_labels=sum(self._positives),
            num_with_dimensions=self._num_with_dimensions,
            num_without_box=self._num_without_box,
            num_clips=self._num_clips,
            positives=dict(zip(self._index, self._positives, strict=True)),
            cooccurrence=tuple(tuple(row) for row in self._cooccurrence),
            dimensions={name: found for name, found in self._dimensions.items() if found.count},
            annotators=dict(sorted(self._annotators.items())),
            boxes=self._boxes,
            attributes={
                name: dict(values.most_common()) for name, values in sorted(self._attributes.items())
            },
        )
