"""A data set of records that a test makes, and what verifying it found in short."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mien.data.audit.verify import Verification
from mien.data.dataset import Dataset, DatasetCard, Record
from mien.labels import EMOTIC, LabelSet
from mien.recipe import DataOptions
from mien.types import Box, ImageRef, Problem, Sample, Subject

BOX = (5.0, 5.0, 40.0, 60.0)


class Made(Dataset):
    """A data set of records that a test makes."""

    card = DatasetCard(name="made", title="made", license="none", homepage="", task="none")
    reading: tuple[Problem, ...] = ()
    deep: tuple[Problem, ...] = ()

    def __init__(self, *records: Record) -> None:
        super().__init__(DataOptions(), Path())
        self._all = records

    @property
    def label_set(self) -> LabelSet:
        return EMOTIC

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in ("train", "val", "test") if any(self._records(split)))

    def _records(self, split: str) -> Iterator[Record]:
        return (record for record in self._all if record.sample.split == split)

    def problems(self) -> Sequence[Problem]:
        return self.reading

    def sidecar_problems(self) -> Iterator[Problem]:
        return iter(self.deep)


def still(
    name: str,
    path: Path,
    box: tuple[float, float, float, float] | None = BOX,
    *,
    split: str = "train",
    size: tuple[int, int] | None = None,
) -> Record:
    subject = Subject.still(name, path, None if box is None else Box.from_tuple(box))
    return Record(sample=Sample(subject=subject, target=None, split=split), size=size)


def in_clip(name: str, path: Path, *boxes: tuple[int, Box | None], split: str = "train") -> Record:
    subject = Subject(
        id=name,
        images=tuple(ImageRef(path=path, frame=frame) for frame, _ in boxes),
        boxes=tuple(box for _, box in boxes),
    )
    return Record(sample=Sample(subject=subject, target=None, split=split))


def told(verified: Verification) -> list[tuple[str, str]]:
    return [(problem.kind, Path(problem.file).name) for problem in verified.problems]
