"""What every data set offers, and the one place that opens one by name.

In: `[data]` of a recipe. Out: a `Dataset`.
Knows nothing about any data set's files: a new one is a module of its own and a line in `mien.registry`.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from mien.errors import ConfigError, DataError, nearest_hint
from mien.labels import LabelSet
from mien.recipe.recipe import DataOptions
from mien.registry import resolve
from mien.types import Problem, Sample, Target

__all__ = ["Card", "Dataset", "Part", "Record", "dataset_class", "open_dataset"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a data set on disk: what it is, and where it lies below the root (one of these globs)."""

    what: str
    any_of: tuple[str, ...]
    needed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What somebody must know of a data set before using it.

    `access`: how to get it. `people`: subjects by split in a whole copy, where that is known.
    """

    name: str
    title: str
    licence: str
    homepage: str
    task: str
    access: str = ""
    parts: tuple[Part, ...] = ()
    people: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A sample with all that is noted of it, for audits. Models are given the sample alone.

    `opinions`: what each annotator said, where that is known. `attributes`: such as gender and age, as the
    file has them. `size`: the picture's (width, height) as the annotation file claims it.
    """

    sample: Sample
    opinions: tuple[Target, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int, int] | None = None


class Dataset(ABC):
    """Samples by split, always in the same order; iterating holds one sample in memory, not the set.

    A subclass takes `(options: DataOptions, cache: Path)`; `cache` is a folder for what can be made again.
    """

    card: ClassVar[Card]

    def __init__(self, options: DataOptions, cache: Path) -> None:
        self.cache = cache
        self._skip_broken = options.skip_broken

    @property
    @abstractmethod
    def label_set(self) -> LabelSet:
        """The labels that the targets speak of."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that are there."""

    @abstractmethod
    def _records(self, split: str) -> Iterator[Record]:
        """The usable records of a split that exists."""

    def problems(self) -> Sequence[Problem]:
        """What reading the annotation files found wrong, `unusable` rows included. Opens no picture."""
        return ()

    def unusable(self, split: str) -> Sequence[Problem]:
        """Those problems for which a row of this split is no record."""
        return ()

    def deep_problems(self) -> Iterator[Problem]:
        """What is wrong with further files beside pictures, such as joints; reads them all."""
        return iter(())

    def records(self, split: str) -> Iterator[Record]:
        """The records of one split, without its unusable rows; DataError if there is no such split."""
        self._require(split)
        return self._records(split)

    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of one split; DataError at once, not at the first sample, if there is no such split.

        Also where rows of it are unusable, unless `data.skip_broken` allows to leave them out.
        """
        self._require(split)
        broken = self.unusable(split)
        if broken and not self._skip_broken:
            first = broken[0]
            raise DataError(
                f"{len(broken)} rows of split {split!r} of {self.card.name} cannot be used; the first: "
                f"{first.file}: {first.message}",
                hint="mien data verify shows all; mend them, or leave them out with data.skip_broken = true",
            )
        return self._samples(split)

    def _samples(self, split: str) -> Iterator[Sample]:
        """The usable samples; for a data set to override where the rest of a record costs time."""
        return (record.sample for record in self._records(split))

    def verify(self) -> list[Problem]:
        """Everything wrong with the data set; opens every picture and clip. See `mien.data.audit.verify`."""
        from mien.data.audit.verify import verify

        return list(verify(self).problems)

    def _require(self, split: str) -> None:
        if split not in self.splits:
            raise DataError(
                f"{self.card.name} has no split {split!r}",
                hint=nearest_hint(split, self.splits).replace("names", "splits"),
            )


def dataset_class(name: str) -> type[Dataset]:
    """The class of a data set by name; ConfigError for a part that is none."""
    part = resolve("dataset", name)
    if not (isinstance(part, type) and issubclass(part, Dataset)):
        raise ConfigError(
            f"data set {name!r} is not a data set", hint="name a subclass of mien.data.dataset.Dataset"
        )
    return part


def open_dataset(options: DataOptions, *, cache: Path) -> Dataset:
    """The data set that `[data]` names. `cache`: a folder for what can be made again."""
    made = dataset_class(options.name)(options, cache)
    if options.split_file is not None:
        from mien.data.splits import Resplit

        made = Resplit(made, options.split_file)
    log.debug("opened data set %s with splits %s", made.card.name, made.splits)
    return made
