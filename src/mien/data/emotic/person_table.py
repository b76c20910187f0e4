"""EMOTIC's people as one table per split. Every annotation format is parsed into it.

An annotator's labels are the bits of one integer (bit i is label i of EMOTIC), because a person in the test
split has about thirty of them. Dimensions stay on the annotators' scale of 1 to 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mien.data.table_cache import ParsedTables, RowProblem
from mien.labels import EMOTIC
from mien.media.boxes import box_problem
from mien.names import is_path_below
from mien.types import DIMENSIONS, Problem

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "NO_DIMENSIONS",
    "PERSON_TABLE_VERSION",
    "Annotation",
    "PersonTable",
    "Size",
    "collect_tables",
    "is_relative_image_path",
]

# Increase when the same files produce another table.
PERSON_TABLE_VERSION: Final = 3

NO_DIMENSIONS: Final = (math.nan, math.nan, math.nan)
_LOWEST, _HIGHEST = 1.0, 10.0
_BIT: Final = {label: 1 << index for index, label in enumerate(EMOTIC.labels)}
_COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    *(("folder", "text"), ("name", "text"), ("number", "int")),
    *(("left", "float"), ("top", "float"), ("right", "float"), ("bottom", "float")),
    *(("width", "int"), ("height", "int"), ("label_bits", "ints"), ("dimensions", "floats")),
    *(("gender", "text"), ("age", "text")),
)

Size = tuple[int, int]


class Annotation(NamedTuple):
    """One annotator's labels, spelled as in the file, and valence, arousal, dominance in 1..10 or NaN."""

    labels: Sequence[str]
    dimensions: Sequence[float]


@dataclass
class PersonTable:
    """The people of one split, one row per person, and the problems found.

    Attributes:
        image_root: The directory that image paths are relative to.
    """

    split: str
    image_root: Path
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name, _ in _COLUMNS})
    problems: list[RowProblem] = field(default_factory=list)

    def add_person(
        self,
        *,
        where: str,
        folder: str,
        name: str,
        number: int,
        edges: Sequence[float] | None,
        size: Size | None,
        annotations: Sequence[Annotation],
        gender: str = "",
        age: str = "",
    ) -> bool:
        """Adds a row if the person is usable, and reports all problems.

        Args:
            where: Position in the annotation file, for messages.
            number: Index of the person in the image, from 0.
            edges: The box as annotated, not clipped to the image; None if the format has no boxes.

        Returns:
            Whether a row was added.
        """
        is_usable = edges is None or self._check_box(folder, name, edges)
        is_usable = self._check_labels(where, annotations) and is_usable
        is_usable = self._check_dimensions(where, annotations) and is_usable
        if not is_usable:
            return False
        label_bits = [sum({_BIT[label] for label in annotation.labels}) for annotation in annotations]
        ratings = [rating for annotation in annotations for rating in annotation.dimensions]
        row = (folder, name, number, *(edges or (None,) * 4), *(size or (None, None)))
        values = (*row, label_bits, ratings, gender, age)
        for column, value in zip(self.columns.values(), values, strict=True):
            column.append(value)
        return True

    def report(self, kind: str, file: str, message: str, *, unusable: bool = True) -> None:
        """Records a problem. `unusable`: it is the reason for a missing row."""
        problem = Problem(kind=kind, file=file, message=message)
        self.problems.append(RowProblem(self.split, problem, unusable))

    def to_arrow(self) -> pyarrow.Table:
        """All rows."""
        import pyarrow as pa

        kinds = {"text": pa.string(), "int": pa.int32(), "float": pa.float64()}
        kinds |= {"ints": pa.list_(pa.int32()), "floats": pa.list_(pa.float64())}
        return pa.table({name: pa.array(self.columns[name], type=kinds[kind]) for name, kind in _COLUMNS})

    def _check_box(self, folder: str, name: str, edges: Sequence[float]) -> bool:
        left, top, right, bottom = edges
        problem = box_problem((left, top, right, bottom))
        if problem is None:
            return True
        kind, what = problem
        self.report(kind, str(self.image_root / folder / name), f"{self.split}: box {list(edges)} {what}")
        return False

    def _check_labels(self, where: str, annotations: Sequence[Annotation]) -> bool:
        """At least one annotator chose a label, and all labels are EMOTIC's."""
        unknown = [label for annotation in annotations for label in annotation.labels if label not in _BIT]
        if unknown:
            names = ", ".join(map(repr, dict.fromkeys(unknown)))
            self.report("unknown_label", where, f"{names} is not an EMOTIC label")
        without = [number for number, annotation in enumerate(annotations) if not annotation.labels]
        has_labels = len(without) < len(annotations)
        if not has_labels:
            self.report("no_label", where, "no annotator chose a label")
        elif without:
            message = f"annotators {without} (counted from 0) chose no label"
            self.report("no_label", where, message, unusable=False)
        return has_labels and not unknown

    def _check_dimensions(self, where: str, annotations: Sequence[Annotation]) -> bool:
        """Every annotator gave all three dimensions in 1..10, or none."""
        wrong = [item.dimensions for item in annotations if not _is_on_scale(item.dimensions)]
        for dimensions in wrong[:1]:
            named = zip(DIMENSIONS, dimensions, strict=True)
            shown = ", ".join(f"{name} {rating:g}" for name, rating in named)
            self.report("dimension_range", where, f"{shown}: give all three from 1 to 10, or none")
        return not wrong


def _is_on_scale(dimensions: Sequence[float]) -> bool:
    if all(_LOWEST <= rating <= _HIGHEST for rating in dimensions):
        return True
    return all(map(math.isnan, dimensions))


def is_relative_image_path(folder: str, name: str) -> bool:
    """Whether `folder/name` is a file below the image root, without `..`."""
    return is_path_below(name) and (not folder or is_path_below(folder))


def collect_tables(people: Iterable[PersonTable]) -> ParsedTables:
    """The tables of all splits."""
    tables = list(people)
    return ParsedTables(
        {table.split: table.to_arrow() for table in tables},
        [problem for table in tables for problem in table.problems],
    )
