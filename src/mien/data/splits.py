"""Splits other than a dataset's own, read from a split file: JSON lines of {"id", "split"}, one per subject.

`mien data dedup` writes such files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from mien.data.dataset import Dataset, Record
from mien.data.json_text import parse_strict_json
from mien.data.text_files import read_lines
from mien.errors import DataError, nearest_hint
from mien.files import atomic_write_text
from mien.labels import LabelSet
from mien.names import plain_name
from mien.types import Problem

__all__ = ["ResplitDataset", "SplitLine", "read_splits", "write_splits"]

_HINT = "regenerate it: mien data dedup RECIPE --out FILE"


class ResplitDataset(Dataset):
    """Wraps a dataset: every subject is in the split that a file assigns; null leaves the subject out.

    Records keep the order of the wrapped dataset.
    """

    def __init__(self, dataset: Dataset, path: Path) -> None:
        super().__init__(dataset.options, dataset.cache)
        self.card = dataset.card
        self._inner = dataset
        self._path = path
        self._split_of = read_splits(path)
        self._splits = tuple(dict.fromkeys(split for split in self._split_of.values() if split is not None))

    @property
    def label_set(self) -> LabelSet:
        return self._inner.label_set

    @property
    def splits(self) -> tuple[str, ...]:
        return self._splits

    @property
    def has_annotators(self) -> bool:
        return self._inner.has_annotators

    def problems(self) -> Sequence[Problem]:
        return self._inner.problems()

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        """The unusable rows of all splits, because each of them could have been in this one."""
        return [problem for inner in self._inner.splits for problem in self._inner.unusable_rows(inner)]

    def sidecar_problems(self) -> Iterator[Problem]:
        return self._inner.sidecar_problems()

    def all_records(self) -> Iterator[tuple[str, Record]]:
        """In the order of the wrapped dataset, which is read once."""
        for _, record in self._inner.all_records():
            split = self._assigned_split(record)
            if split is not None:
                yield split, replace(record, sample=replace(record.sample, split=split))

    def _records(self, split: str) -> Iterator[Record]:
        for inner in self._inner.splits:
            for record in self._inner.records(inner):
                if self._assigned_split(record) == split:
                    yield replace(record, sample=replace(record.sample, split=split))

    def _assigned_split(self, record: Record) -> str | None:
        subject_id = record.sample.subject.id
        if subject_id not in self._split_of:
            raise DataError(f"{self._path} does not list subject {subject_id!r}", hint=_HINT)
        return self._split_of[subject_id]

    def _check_split(self, split: str) -> None:
        if split not in self._splits:
            raise DataError(
                f"{self.card.name} has no split {split!r}: {self._path} assigns no subjects to it",
                hint=f"{nearest_hint(split, self._splits, kind='splits')}; to change the file, {_HINT}",
            )


class SplitLine(TypedDict):
    """The split of a person.

    Attributes:
        id: The id of the person.
        split: The split; None for one who is left out.
    """

    id: str
    split: str | None


def write_splits(path: Path, splits: Mapping[str, str | None]) -> None:
    """Writes one line per subject."""
    rows: Iterator[SplitLine] = ({"id": name, "split": split} for name, split in splits.items())
    atomic_write_text(path, "".join(f"{json.dumps(row)}\n" for row in rows))


def read_splits(path: Path) -> dict[str, str | None]:
    """The split of each subject id.

    Raises:
        DataError: The file is not one that `write_splits` writes; the message names the line.
    """
    splits: dict[str, str | None] = {}
    try:
        for number, line in read_lines(path):
            if line is None:
                raise DataError(f"{path}, line {number} is too long")
            subject_id, split = _parse_line(line, f"{path}, line {number}")
            if subject_id in splits:
                raise DataError(f"{path}, line {number}: {subject_id!r} is listed twice", hint=_HINT)
            splits[subject_id] = split
    except DataError as error:
        raise DataError(str(error), hint=_HINT) from error
    return splits


def _parse_line(line: str, where: str) -> tuple[str, str | None]:
    try:
        row = parse_strict_json(line)
        subject_id, split = row["id"], row["split"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where}: {error!r}", hint=_HINT) from error
    if not isinstance(subject_id, str) or not (split is None or (isinstance(split, str) and split)):
        raise DataError(f"{where}: not an id and a split", hint=_HINT)
    if split is not None:
        plain_name(split, f"{where}: the split")
    return subject_id, split
