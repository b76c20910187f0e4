"""What a data set holds, counted in one pass a split: people, pictures, labels, boxes, and what is wrong.

In: a `Dataset`. Out: a `Summary`, whose `to_json` is what `mien data summary --json` prints.
Knows nothing about pixels: no picture is opened, files are only looked for in the listings of their folders.
What grows with the data set is a hash a picture and the names in those listings; people pass by as a stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien.chance import random_precision
from mien.data.audit.directory_listing import Listing
from mien.data.audit.tally import POSITIVE, BoxSizes, Spread, Tally
from mien.data.dataset import Dataset, Record

__all__ = ["POSITIVE", "SplitSummary", "Summary", "summarize"]

_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """One split. Shares, prevalence and averages of labels are over the labelled subjects.

    `positives`: subjects by label, in the label set's order. `together[i][j]`: subjects that have both label
    i and label j. `annotators`: subjects by the number of their opinions. `attributes`: subjects by
    attribute and value, for audits only.
    """

    split: str
    images: int
    subjects: int
    unlabelled: int
    labels: int
    positives: Mapping[str, int]
    together: tuple[tuple[int, ...], ...]
    with_dimensions: int
    dimensions: Mapping[str, Spread]
    annotators: Mapping[int, int]
    boxes: BoxSizes
    boxless: int
    clips: int
    attributes: Mapping[str, Mapping[str, int]]

    @property
    def labelled(self) -> int:
        """Subjects that somebody has annotated, be it with no label at all."""
        return self.subjects - self.unlabelled

    @property
    def prevalence(self) -> dict[str, float]:
        """The share of the labelled subjects that have a label; empty where nobody is labelled."""
        if not self.labelled:
            return {}
        return {label: count / self.labelled for label, count in self.positives.items()}

    @property
    def labels_per_subject(self) -> float | None:
        """Mean number of labels that score 0.5 or more; None where nobody is labelled."""
        return self.labels / self.labelled if self.labelled else None

    @property
    def chance_map(self) -> float | None:
        """The mAP of guessing: of a random order, over the labels that some subject has; None if none has."""
        found = [random_precision(count, self.labelled) for count in self.positives.values() if count]
        return sum(found) / len(found) if found else None

    @property
    def most_frequent(self) -> tuple[str, float] | None:
        """The most frequent label and its share, which is the accuracy of always saying it."""
        shares = self.prevalence
        label = max(shares, key=lambda name: shares[name], default=None)
        return None if label is None or not shares[label] else (label, shares[label])

    def to_json(self) -> dict[str, Any]:
        """The five numbers that every caller may rely on."""
        return {
            "images": self.images,
            "subjects": self.subjects,
            "labels_per_subject": self.labels_per_subject,
            "chance_map": self.chance_map,
            "with_dimensions": self.with_dimensions,
        }

    def detail(self) -> dict[str, Any]:
        """All else, for those who look closer."""
        return {
            "unlabelled": self.unlabelled,
            "clips": self.clips,
            "prevalence": self.prevalence,
            "annotators": {str(number): count for number, count in self.annotators.items()},
            "dimensions": {name: spread.to_json() for name, spread in self.dimensions.items()},
            "boxes": self.boxes.to_json() | {"subjects_without": self.boxless},
            "attributes": {name: dict(values) for name, values in self.attributes.items()},
            "together": [list(row) for row in self.together],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All splits, in the data set's order, and the number of problems by kind, the most frequent first.

    `missing`: files that are not there and that reading did not report, of which `problems` counts each.
    """

    dataset: str
    label_set: str
    labels: tuple[str, ...]
    exclusive: bool
    splits: tuple[SplitSummary, ...]
    problems: Mapping[str, int]
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document of `mien data summary --json`."""
        return {
            "schema": _SCHEMA,
            "dataset": self.dataset,
            "splits": {part.split: part.to_json() for part in self.splits},
            "problems": dict(self.problems),
            "label_set": self.label_set,
            "labels": list(self.labels),
            "details": {part.split: part.detail() for part in self.splits},
        }


def summarize(dataset: Dataset) -> Summary:
    """Counts what is in a data set; rows that are no record are counted among the problems alone."""
    listing = Listing()
    splits = tuple(_summarise(dataset, split, listing) for split in dataset.splits)
    found = dataset.problems()
    told = {problem.file for problem in found if problem.kind == "missing"}
    missing = tuple(path for path in listing.missing if path not in told)
    kinds = Counter(problem.kind for problem in found)
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


def _summarise(dataset: Dataset, split: str, listing: Listing) -> SplitSummary:
    tally = Tally(dataset.label_set)
    for record in dataset.records(split):
        for path in _paths(record):
            if tally.see(path):
                listing.look_for(path)
        tally.add(record)
    return SplitSummary(
        split=split,
        images=tally.images,
        subjects=tally.subjects,
        unlabelled=tally.unlabelled,
        labels=sum(tally.positives),
        positives=dict(zip(dataset.label_set.labels, tally.positives, strict=True)),
        together=tally.together,
        with_dimensions=tally.with_dimensions,
        dimensions={name: found for name, found in tally.dimensions.items() if found.count},
        annotators=dict(sorted(tally.annotators.items())),
        boxes=tally.boxes,
        boxless=tally.boxless,
        clips=tally.clips,
        attributes=tally.attributes,
    )


def _paths(record: Record) -> set[Path]:
    """The files of a subject; all frames of a clip lie in one."""
    return {image.path for image in record.sample.subject.images}
