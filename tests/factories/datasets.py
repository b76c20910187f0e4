"""Datasets and records that a test builds in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mien.data.audit.verify import Verification
from mien.data.dataset import Dataset, DatasetCard, Record
from mien.labels import EMOTIC, LabelSet
from mien.recipe import DataOptions
from mien.types import Box, ImageRef, Problem, Sample, Subject, Target

MOODS = LabelSet(name="moods", labels=("calm", "glad", "sour"), exclusive=False)
BOX = (5.0, 5.0, 40.0, 60.0)

Edges = tuple[float, float, float, float]


class InMemoryDataset(Dataset):
    """The given records by split, and the given problems."""

    card = DatasetCard(name="in_memory", title="a test dataset", license="none", homepage="", task="tests")

    def __init__(
        self,
        records: Mapping[str, Sequence[Record]],
        *,
        label_set: LabelSet = MOODS,
        problems: Sequence[Problem] = (),
        unusable_rows: Sequence[Problem] = (),
        sidecar_problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(DataOptions(name="in_memory"), Path())
        self._records_by_split = records
        self._label_set = label_set
        self._problems = problems
        self._unusable_rows = unusable_rows
        self._sidecar_problems = sidecar_problems

    @property
    def label_set(self) -> LabelSet:
        return self._label_set

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._records_by_split)

    def _records(self, split: str) -> Iterator[Record]:
        return iter(self._records_by_split[split])

    def problems(self) -> Sequence[Problem]:
        return self._problems

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        return self._unusable_rows

    def sidecar_problems(self) -> Iterator[Problem]:
        return iter(self._sidecar_problems)


def dataset_of(
    *records: Record, problems: Sequence[Problem] = (), sidecar_problems: Sequence[Problem] = ()
) -> InMemoryDataset:
    """A dataset of these records, each in its own split."""
    by_split = {
        split: [record for record in records if record.sample.split == split]
        for split in ("train", "val", "test")
    }
    return InMemoryDataset(
        {split: rows for split, rows in by_split.items() if rows},
        label_set=EMOTIC,
        problems=problems,
        sidecar_problems=sidecar_problems,
    )


def image_record(
    name: str,
    path: Path,
    *labels: str,
    split: str = "train",
    box: Edges | None = (0, 0, 10, 10),
    dimensions: Mapping[str, float] | None = None,
    is_labeled: bool = True,
    annotations: Sequence[Target] = (),
    attributes: Mapping[str, str] | None = None,
) -> Record:
    """A person in an image, with a target if `is_labeled`."""
    subject = Subject.still(name, path, None if box is None else Box.from_tuple(box))
    target = Target(labels=dict.fromkeys(labels, 1.0), dimensions=dimensions) if is_labeled else None
    return Record(
        sample=Sample(subject=subject, target=target, split=split),
        annotations=tuple(annotations),
        attributes=attributes or {},
    )


def unlabeled_record(
    name: str,
    path: Path,
    box: Edges | None = BOX,
    *,
    split: str = "train",
    size: tuple[int, int] | None = None,
) -> Record:
    """A person in an image, without a target. `size` is what the annotation file states."""
    subject = Subject.still(name, path, None if box is None else Box.from_tuple(box))
    return Record(sample=Sample(subject=subject, target=None, split=split), size=size)


def clip_record(name: str, path: Path, *boxes: tuple[int, Box | None], split: str = "train") -> Record:
    """A person in frames of a clip, given as (frame, box), without a target."""
    subject = Subject(
        id=name,
        images=tuple(ImageRef(path=path, frame=frame) for frame, _ in boxes),
        boxes=tuple(box for _, box in boxes),
    )
    return Record(sample=Sample(subject=subject, target=None, split=split))


def problem_kinds(verified: Verification) -> list[tuple[str, str]]:
    """(kind, file name) of each problem."""
    return [(problem.kind, Path(problem.file).name) for problem in verified.problems]
