"""A data set that a test writes down record by record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mien.data.dataset import Dataset, DatasetCard, Record
from mien.labels import LabelSet
from mien.recipe import DataOptions
from mien.types import Box, Problem, Sample, Subject, Target

MOODS = LabelSet(name="moods", labels=("calm", "glad", "sour"), exclusive=False)


class MadeUp(Dataset):
    """These records, under these splits."""

    card = DatasetCard(name="made_up", title="a made-up set", license="none", homepage="", task="tests")

    def __init__(
        self,
        cache: Path,
        records: Mapping[str, Sequence[Record]],
        *,
        label_set: LabelSet = MOODS,
        problems: Sequence[Problem] = (),
        unusable: Sequence[Problem] = (),
    ) -> None:
        super().__init__(DataOptions(name="made_up"), cache)
        self._made = records
        self._labels = label_set
        self._found = problems
        self._unusable = unusable

    @property
    def label_set(self) -> LabelSet:
        return self._labels

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._made)

    def _records(self, split: str) -> Iterator[Record]:
        return iter(self._made[split])

    def problems(self) -> Sequence[Problem]:
        return self._found

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        return self._unusable


def person(
    name: str,
    path: Path,
    *labels: str,
    split: str = "train",
    box: tuple[float, float, float, float] | None = (0, 0, 10, 10),
    dimensions: Mapping[str, float] | None = None,
    labelled: bool = True,
    annotations: Sequence[Target] = (),
    attributes: Mapping[str, str] | None = None,
) -> Record:
    """Somebody in a photo; with a target unless `labelled` is False."""
    subject = Subject.still(name, path, None if box is None else Box.from_tuple(box))
    target = Target(labels=dict.fromkeys(labels, 1.0), dimensions=dimensions) if labelled else None
    return Record(
        sample=Sample(subject=subject, target=target, split=split),
        annotations=tuple(annotations),
        attributes=attributes or {},
    )
