"""EMOTIC's people as a table: what every form of the data set is parsed into, and read back from.

In: what a parser found of one person after another. Out: a pyarrow table a split, with every annotator's
labels and dimensions, and the problems found on the way.
Knows nothing about MATLAB, CSV or arrays.

An annotator's labels are kept as the bits of one integer (bit i: label i of EMOTIC), because a test person
has some thirty of them; dimensions are kept on the annotators' scale of 1 to 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mien.labels import EMOTIC
from mien.types import DIMENSIONS, Problem

if TYPE_CHECKING:
    import pyarrow

__all__ = ["NOT_GIVEN", "PEOPLE_VERSION", "Opinion", "People", "Size", "is_inside", "merge"]

# Raised when the same files give another table.
PEOPLE_VERSION: Final = 1

NOT_GIVEN: Final = (math.nan, math.nan, math.nan)
_LOWEST, _HIGHEST = 1.0, 10.0
_BIT: Final = {label: 1 << index for index, label in enumerate(EMOTIC.labels)}
_COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    *(("folder", "text"), ("name", "text"), ("number", "int")),
    *(("left", "float"), ("top", "float"), ("right", "float"), ("bottom", "float")),
    *(("width", "int"), ("height", "int"), ("ticked", "ints"), ("felt", "floats")),
    *(("gender", "text"), ("age", "text")),
)

Size = tuple[int, int]


class Opinion(NamedTuple):
    """One annotator's labels as the file spells them, and valence, arousal, dominance of 1..10 or NaN."""

    labels: Sequence[str]
    dimensions: Sequence[float]


@dataclass
class People:
    """The people of one split, a row each, and what was wrong with them."""

    split: str
    images: Path
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name, _ in _COLUMNS})
    found: list[tuple[str, bool, Problem]] = field(default_factory=list)

    def add(
        self,
        *,
        where: str,
        folder: str,
        name: str,
        number: int,
        edges: Sequence[float] | None,
        size: Size | None,
        opinions: Sequence[Opinion],
        gender: str = "",
        age: str = "",
    ) -> bool:
        """One person: a row, if nothing is wrong that would make it none (then True); faults are reported.

        `where`: place in the annotation file. `number`: which person of the picture, from 0. `edges`: the
        box as the file has it; None where the form has no boxes.
        """
        sound = edges is None or self._box_is_sound(folder, name, edges)
        sound = self._labels_are_sound(where, opinions) and sound
        sound = self._dimensions_are_sound(where, opinions) and sound
        if not sound:
            return False
        ticked = [sum({_BIT[label] for label in opinion.labels}) for opinion in opinions]
        felt = [step for opinion in opinions for step in opinion.dimensions]
        row = (folder, name, number, *(edges or (None,) * 4), *(size or (None, None)))
        for column, value in zip(self.columns.values(), (*row, ticked, felt, gender, age), strict=True):
            column.append(value)
        return True

    def report(self, kind: str, file: str, message: str, *, unusable: bool = True) -> None:
        """Something wrong; `unusable`: there is no row for it."""
        self.found.append((self.split, unusable, Problem(kind=kind, file=file, message=message)))

    def table(self) -> pyarrow.Table:
        """All rows."""
        import pyarrow as pa

        kinds = {"text": pa.string(), "int": pa.int32(), "float": pa.float64()}
        kinds |= {"ints": pa.list_(pa.int32()), "floats": pa.list_(pa.float64())}
        return pa.table({name: pa.array(self.columns[name], type=kinds[kind]) for name, kind in _COLUMNS})

    def _box_is_sound(self, folder: str, name: str, edges: Sequence[float]) -> bool:
        left, top, right, bottom = edges
        if not all(map(math.isfinite, edges)):
            kind, what = "box_not_finite", "is not finite"
        elif right <= left or bottom <= top:
            kind, what = "box_degenerate", "holds no pixel"
        else:
            return True
        self.report(kind, str(self.images / folder / name), f"{self.split}: box {list(edges)} {what}")
        return False

    def _labels_are_sound(self, where: str, opinions: Sequence[Opinion]) -> bool:
        """Somebody ticked something, and only EMOTIC's words, as they are spelt."""
        unknown = [label for opinion in opinions for label in opinion.labels if label not in _BIT]
        if unknown:
            names = ", ".join(map(repr, dict.fromkeys(unknown)))
            self.report("unknown_label", where, f"{names} is no label of EMOTIC's")
        silent = [number for number, opinion in enumerate(opinions) if not opinion.labels]
        nobody = len(silent) == len(opinions)
        if nobody:
            self.report("no_label", where, "nobody ticked a label")
        elif silent:
            message = f"annotators {silent} (counted from 0) ticked no label"
            self.report("no_label", where, message, unusable=False)
        return not (unknown or nobody)

    def _dimensions_are_sound(self, where: str, opinions: Sequence[Opinion]) -> bool:
        """All three of 1..10, or none, by each annotator."""
        wrong = [opinion.dimensions for opinion in opinions if not _on_scale(opinion.dimensions)]
        for dimensions in wrong[:1]:
            named = ", ".join(f"{name} {step:g}" for name, step in zip(DIMENSIONS, dimensions, strict=True))
            self.report("dimension_range", where, f"{named}: give all three from 1 to 10, or none")
        return not wrong


def _on_scale(dimensions: Sequence[float]) -> bool:
    if all(_LOWEST <= step <= _HIGHEST for step in dimensions):
        return True
    return all(map(math.isnan, dimensions))


def is_inside(folder: str, name: str) -> bool:
    """True where the two name a file below the folder of pictures."""
    absolute = folder.startswith("/") or name.startswith("/")
    return (
        bool(name)
        and not absolute
        and "\0" not in folder + name
        and ".." not in f"{folder}/{name}".split("/")
    )


def merge(people: Iterable[People]) -> Any:
    """What `Tables.open` wants of a parser."""
    parts = list(people)
    return {part.split: part.table() for part in parts}, [item for part in parts for item in part.found]
