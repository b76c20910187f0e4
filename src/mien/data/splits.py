"""A data set with other splits than its own, as a split file says.

In: a data set, and a JSONL file of `{"id", "split"}`, one line a subject. Out: the same records, in the
data set's order, in the splits of the file. Knows nothing about how the file came to be (see `dedup`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mien.data.dataset import Card, Dataset, Record
from mien.errors import DataError
from mien.labels import LabelSet
from mien.types import Problem

__all__ = ["Resplit", "read_splits", "write_splits"]

_HINT = "write it anew with mien data dedup"


class Resplit(Dataset):
    """Every subject of a data set in the split that a file names for it; a split of null leaves it out."""

    def __init__(self, dataset: Dataset, path: Path) -> None:
        self._inner = dataset
        self._path = path
        self._split_of = read_splits(path)
        self._order = tuple(dict.fromkeys(split for split in self._split_of.values() if split is not None))
        # What a data set says of itself is the class's; this one speaks for another.
        self.card: Card = dataset.card  # type: ignore[misc]
        self.cache = dataset.cache
        self._skip_broken = dataset._skip_broken

    @property
    def label_set(self) -> LabelSet:
        return self._inner.label_set

    @property
    def splits(self) -> tuple[str, ...]:
        return self._order

    def problems(self) -> Sequence[Problem]:
        return self._inner.problems()

    def deep_problems(self) -> Iterator[Problem]:
        return self._inner.deep_problems()

    def unusable(self, split: str) -> Sequence[Problem]:
        """Any row of any split may have belonged here."""
        return [problem for own in self._inner.splits for problem in self._inner.unusable(own)]

    def _require(self, split: str) -> None:
        if split not in self._order:
            raise DataError(
                f"{self._path} puts nobody into split {split!r}; it names {', '.join(self._order) or 'none'}",
                hint="it was made with other options; write it anew: mien data dedup RECIPE --out FILE",
            )

    def _records(self, split: str) -> Iterator[Record]:
        for own in self._inner.splits:
            for record in self._inner.records(own):
                if self._split(record) == split:
                    yield replace(record, sample=replace(record.sample, split=split))

    def _split(self, record: Record) -> str | None:
        subject_id = record.sample.subject.id
        if subject_id not in self._split_of:
            raise DataError(f"{self._path} does not name subject {subject_id!r}", hint=_HINT)
        return self._split_of[subject_id]


def write_splits(path: Path, splits: Mapping[str, str | None]) -> None:
    """Writes one line a subject."""
    from mien.runs import atomic_write_text

    lines = (json.dumps({"id": name, "split": split}) for name, split in splits.items())
    atomic_write_text(path, "".join(f"{line}\n" for line in lines))


def read_splits(path: Path) -> dict[str, str | None]:
    """The split of each subject; DataError, with the line, where the file is not as `write_splits` writes."""
    found: dict[str, str | None] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                name, split = _line(path, number, line)
                if name in found:
                    raise DataError(f"{path}, line {number}: {name!r} stands there twice", hint=_HINT)
                found[name] = split
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint=_HINT) from error
    return found


def _line(path: Path, number: int, line: str) -> tuple[str, str | None]:
    try:
        row = json.loads(line)
        name, split = row["id"], row["split"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}, line {number}: {error!r}", hint=_HINT) from error
    if not isinstance(name, str) or not (split is None or (isinstance(split, str) and split)):
        raise DataError(f"{path}, line {number}: not an id and a split", hint=_HINT)
    return name, split
