"""What every data set offers, and the one place that opens one by name.

In: `[data]` of a recipe. Out: a `Dataset`.
Knows nothing about any data set's files: a new one is a module of its own and a line in `mien.registry`.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

from mien.errors import DataError, MienError, nearest_hint
from mien.images import open_image
from mien.labels import LabelSet
from mien.recipe import DataOptions
from mien.registry import resolve
from mien.types import Problem, Sample

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What somebody must know of a data set before using it."""

    name: str
    title: str
    licence: str
    homepage: str
    task: str


class Dataset(ABC):
    """Samples by split, always in the same order; iterating holds one sample in memory, not the set.

    A subclass takes `(options: DataOptions, cache: Path)`; `cache` is a folder for what can be made again.
    """

    card: ClassVar[Card]

    @property
    @abstractmethod
    def label_set(self) -> LabelSet:
        """The labels that the targets speak of."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that are there."""

    @abstractmethod
    def _samples(self, split: str) -> Iterator[Sample]:
        """The samples of a split that exists."""

    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of one split; DataError at once, not at the first sample, if there is no such split."""
        if split not in self.splits:
            raise DataError(
                f"{self.card.name} has no split {split!r}",
                hint=nearest_hint(split, self.splits).replace("names", "splits"),
            )
        return self._samples(split)

    def verify(self) -> list[Problem]:
        """Everything wrong with the files: pictures that do not open, boxes outside of them, ids that
        repeat."""
        problems: list[Problem] = []
        seen: dict[str, str] = {}
        for split in self.splits:
            for sample in self.samples(split):
                problems += _problems_of(sample)
                if sample.subject.id in seen:
                    where = f"in {seen[sample.subject.id]} and {split}"
                    problems.append(
                        Problem(kind="repeated_id", file=sample.subject.id, message=f"the id occurs {where}")
                    )
                seen[sample.subject.id] = split
        return problems


def _problems_of(sample: Sample) -> list[Problem]:
    problems = []
    for ref, box in zip(sample.subject.images, sample.subject.boxes, strict=True):
        try:
            image = open_image(ref.path)
            if box is not None:
                box.clip(*image.size)
        except MienError as error:
            kind = type(error).__name__.removesuffix("Error").lower()
            problems.append(Problem(kind=kind, file=str(ref.path), message=f"{sample.subject.id}: {error}"))
    return problems


def open_dataset(options: DataOptions, *, cache: Path) -> Dataset:
    """The data set that `[data]` names. `cache`: a folder for what can be made again."""
    made = cast("type[Dataset]", resolve("dataset", options.name))(options, cache)  # type: ignore[call-arg]
    log.debug("opened data set %s with splits %s", made.card.name, made.splits)
    return made
