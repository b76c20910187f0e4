"""Counts that grow by one record at a time, and hold no record.

In: records of one split. Out: sums, extremes and histograms. Knows nothing about splits or files.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from mien.data.dataset import Record
from mien.labels import LabelSet
from mien.types import DIMENSIONS, Box, Target

__all__ = ["POSITIVE", "SIDES", "BoxSizes", "Spread", "Tally"]

POSITIVE: Final = 0.5  # a score from which a label holds; the same for the metrics

# A box is as large as a square of this side, in pixels: the lower edges of the bins.
SIDES: Final = (0, 16, 32, 64, 128, 256, 512)
_TENTHS: Final = 11  # 0.0, 0.1 ... 1.0: what an annotator's scale of ten becomes
_MAX_VALUES: Final = 60  # of an attribute; what comes later is counted together
_OTHER: Final = "(other)"


@dataclass(slots=True, kw_only=True)
class Spread:
    """How values from 0 to 1 are spread; `histogram`: how many are nearest to 0.0, 0.1 ... 1.0."""

    count: int = 0
    total: float = 0.0
    low: float = 1.0
    high: float = 0.0
    histogram: list[int] = field(default_factory=lambda: [0] * _TENTHS)

    @property
    def mean(self) -> float:
        """NaN where there is no value."""
        return self.total / self.count if self.count else float("nan")

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.low, self.high = min(self.low, value), max(self.high, value)
        self.histogram[int(value * 10 + 0.5 + 1e-9)] += 1

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "min": self.low,
            "max": self.high,
            "histogram": list(self.histogram),
        }


@dataclass(slots=True, kw_only=True)
class BoxSizes:
    """How large boxes are, by the side of a square as large; `histogram` has a bin for each of `SIDES`."""

    count: int = 0
    low: float = float("inf")
    high: float = 0.0
    histogram: list[int] = field(default_factory=lambda: [0] * len(SIDES))

    def add(self, box: Box) -> None:
        side = (box.width * box.height) ** 0.5
        self.count += 1
        self.low, self.high = min(self.low, side), max(self.high, side)
        self.histogram[sum(side >= edge for edge in SIDES[1:])] += 1

    @property
    def names(self) -> tuple[str, ...]:
        """What each bin holds, in words."""
        return (*(f"{low} to {high}" for low, high in pairwise(SIDES)), f"{SIDES[-1]} and more")

    def to_json(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "min_side": self.low if self.count else None,
            "max_side": self.high if self.count else None,
            "sides": dict(zip(self.names, self.histogram, strict=True)),
        }


class Tally:
    """Counts the records of one split."""

    def __init__(self, label_set: LabelSet) -> None:
        size = len(label_set)
        self._index = {label: place for place, label in enumerate(label_set.labels)}
        self._seen: set[int] = set()
        self._together = [array("q", bytes(8 * size)) for _ in range(size)]
        self._attributes: dict[str, Counter[str]] = {}
        self.subjects = self.unlabelled = self.with_dimensions = self.boxless = self.clips = 0
        self.positives = [0] * size
        self.dimensions = {name: Spread() for name in DIMENSIONS}
        self.annotators: Counter[int] = Counter()
        self.boxes = BoxSizes()

    @property
    def images(self) -> int:
        """Distinct files."""
        return len(self._seen)

    @property
    def together(self) -> tuple[tuple[int, ...], ...]:
        """Subjects that have both labels, by row and column."""
        return tuple(tuple(row) for row in self._together)

    @property
    def attributes(self) -> Mapping[str, Mapping[str, int]]:
        """Subjects by attribute and value, the most frequent first."""
        return {name: dict(values.most_common()) for name, values in sorted(self._attributes.items())}

    def see(self, path: Path) -> bool:
        """Whether this file comes for the first time; remembers 8 bytes of it."""
        key = int.from_bytes(blake2b(str(path).encode("utf-8", "surrogatepass"), digest_size=8).digest())
        new = key not in self._seen
        self._seen.add(key)
        return new

    def add(self, record: Record) -> None:
        subject = record.sample.subject
        self.subjects += 1
        self.clips += subject.images[0].frame is not None
        self.boxless += not any(subject.boxes)
        for box in subject.boxes:
            if box is not None:
                self.boxes.add(box)
        self.annotators[len(record.annotations)] += 1
        self._note(record.attributes)
        if record.sample.target is None:
            self.unlabelled += 1
        else:
            self._add_target(record.sample.target)

    def _add_target(self, target: Target) -> None:
        held = [self._index[name] for name, score in target.labels.items() if score >= POSITIVE]
        for row in held:
            self.positives[row] += 1
            self._count_beside(row, held)
        if target.dimensions is not None:
            self.with_dimensions += 1
            for name, value in target.dimensions.items():
                self.dimensions[name].add(value)

    def _count_beside(self, row: int, held: Sequence[int]) -> None:
        counts = self._together[row]
        for column in held:
            counts[column] += 1

    def _note(self, attributes: Mapping[str, str]) -> None:
        for name, value in attributes.items():
            values = self._attributes.setdefault(name, Counter())
            values[value if value in values or len(values) < _MAX_VALUES else _OTHER] += 1
