"""The dataset contract: what every dataset offers to training, evaluation and audits.

To add a dataset, see the checklist in CONTRIBUTING.md. `mien.data.open` opens one by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mien.errors import DataError, nearest_hint
from mien.labels import LabelSet
from mien.recipe import DataOptions
from mien.recipe.split_names import resolve_split
from mien.types import Problem, Sample, Target

__all__ = ["Component", "Dataset", "DatasetCard", "Record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of a dataset on disk, such as its images or its annotations.

    Attributes:
        name: What it is, in a few words.
        globs: Where it may be, relative to the root; the component is present if any of these matches.
        required: Whether the dataset can be opened only with it.
    """

    name: str
    globs: tuple[str, ...]
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard:
    """What you must know about a dataset before you use it.

    Attributes:
        access: How to obtain it.
        components: What a complete copy consists of.
        num_subjects: Published number of subjects by split, where known.
        attributes: Attributes of its records by which scores can be audited, such as gender and age.
    """

    name: str
    title: str
    license: str
    homepage: str
    task: str
    access: str = ""
    components: tuple[Component, ...] = ()
    num_subjects: Mapping[str, int] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A sample with everything the annotation files say about it, for audits. Models only get the sample.

    Attributes:
        annotations: One target per annotator, where known.
        attributes: Such as gender and age, spelled as in the annotation file.
        size: (width, height) of the image as the annotation file states it.
    """

    sample: Sample
    annotations: tuple[Target, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        subject = self.sample.subject
        if self.size is not None and subject.stated_size is None:
            # Where the image is opened, only the subject is known.
            subject = replace(subject, stated_size=self.size)
            object.__setattr__(self, "sample", replace(self.sample, subject=subject))


class Dataset(ABC):
    """Samples by split, always in the same order. Iteration keeps one sample in memory, not the dataset.

    Set `card` on the class. A wrapper sets it on the instance.

    Args:
        options: The `[data]` section of a recipe.
        cache: A directory for files that can be regenerated.
    """

    card: DatasetCard

    def __init__(self, options: DataOptions, cache: Path) -> None:
        self.options = options
        self.cache = cache

    @property
    @abstractmethod
    def label_set(self) -> LabelSet:
        """The labels that targets use."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that are present."""

    @property
    def has_annotators(self) -> bool:
        """Whether records keep the answers of several annotators, where there are several."""
        return False

    @abstractmethod
    def _records(self, split: str) -> Iterator[Record]:
        """The usable records of a split that exists."""

    def problems(self) -> Sequence[Problem]:
        """Problems in the annotation files, including those of unusable rows. Opens no image."""
        return ()

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        """The subset of `problems` that makes a row of this split unusable."""
        return ()

    def sidecar_problems(self) -> Iterator[Problem]:
        """Problems in further files, such as joints. Reads all of them."""
        return iter(())

    def records(self, split: str) -> Iterator[Record]:
        """The records of one split, without unusable rows.

        Raises:
            DataError: The dataset has no such split.
        """
        return self._records(self.resolve_split(split))

    def all_records(self) -> Iterator[tuple[str, Record]]:
        """The split and record of everyone; those of one split are in its order.

        Override where the splits are in one file that is slow to read.
        """
        for split in self.splits:
            for record in self._records(split):
                yield split, record

    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of one split.

        Raises:
            DataError: The dataset lacks the split, or it has unusable rows and `data.skip_broken` is false.
                Raised immediately, not at the first sample.
        """
        split = self.resolve_split(split)
        unusable = self.unusable_rows(split)
        if unusable and not self.options.skip_broken:
            first = unusable[0]
            raise DataError(
                f"{len(unusable)} rows of split {split!r} of {self.card.name} are unusable; the first: "
                f"{first.file}: {first.message}",
                hint="list them with mien data verify; fix them, or skip them with data.skip_broken = true",
            )
        return self._samples(split)

    def _samples(self, split: str) -> Iterator[Sample]:
        """The usable samples. Override where the rest of a record is slow to build."""
        return (record.sample for record in self._records(split))

    def _require_root(self, title: str) -> Path:
        """`data.root`; DataError with how to get a copy of the dataset if it is not set."""
        if self.options.root is None:
            raise DataError(
                f"data.root is not set for {self.card.name}",
                hint=f"set it to a copy of {title}, or {self.card.access}",
            )
        return self.options.root

    def resolve_split(self, name: str) -> str:
        """The split that a user means: another spelling, such as "validation" for "val", is understood.

        Raises:
            DataError: The dataset has no such split.
        """
        split = resolve_split(name, self.splits)
        if split is None:
            self._check_split(name)
        return split or name

    def _check_split(self, split: str) -> None:
        if split not in self.splits:
            raise DataError(
                f"{self.card.name} has no split {split!r}",
                hint=nearest_hint(split, self.splits, kind="splits"),
            )
