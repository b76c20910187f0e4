"""EMOTIC's annotation file as MATLAB structs, and what an entry of it is.

In: entries by split. Out: an `Annotations.mat` that `scipy.io.loadmat` sees as it sees the release's.
Knows nothing about pixels, or how the file is read.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from mien.playhouse.layouts.photographs import AnnotatedPerson
from mien.playhouse.rules import DIMENSIONS, Opinion

__all__ = ["Entry", "Missing", "mean", "union", "write_mat"]

# How it is written that an annotator gave no dimensions: NaN, or an empty matrix, in each field.
Missing = Literal["nan", "empty"]
_MISSING: Final = (float("nan"),) * 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A photograph without its pixels: what the annotation file says of it. `size` is (width, height)."""

    folder: str
    name: str
    size: tuple[int, int]
    people: tuple[AnnotatedPerson, ...]


def union(opinions: Iterable[Opinion]) -> list[str]:
    """Every label that anybody ticked, in the order in which they were."""
    return list(dict.fromkeys(label for opinion in opinions for label in opinion.labels))


def mean(opinions: Iterable[Opinion]) -> tuple[float, ...]:
    """Each dimension's mean over those who gave it, on the scale of 1 to 10; NaN where nobody did."""
    given = [opinion.dimensions for opinion in opinions if opinion.dimensions is not None]
    return tuple(sum(steps) / len(given) for steps in zip(*given, strict=True)) if given else _MISSING


def write_mat(
    path: Path,
    splits: Mapping[str, Sequence[Entry]],
    *,
    swap_sizes_of: Collection[str] = ("emodb_small/images",),
    missing: Missing = "nan",
    compressed: bool = True,
) -> None:
    """The annotation file; `swap_sizes_of`: the folders whose `image_size` is (row, col)."""
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("filename", "folder", "image_size", "original_database", "person")
    tables = {
        split: _struct(names, [_entry(entry, split, swap_sizes_of, missing) for entry in entries])
        for split, entries in splits.items()
    }
    savemat(path, tables, do_compression=compressed)


def _entry(entry: Entry, split: str, swap_sizes_of: Collection[str], missing: Missing) -> tuple[Any, ...]:
    width, height = entry.size
    col, row = ("n_col", float(width)), ("n_row", float(height))
    size = (row, col) if entry.folder in swap_sizes_of else (col, row)
    people = [_person(actor, split, missing) for actor in entry.people]
    person = ("body_bbox", "annotations_categories", "annotations_continuous")
    combined = () if split == "train" else ("combined_categories", "combined_continuous")
    return (
        entry.name,
        entry.folder,
        _struct([name for name, _ in size], [[value for _, value in size]]),
        _struct(("name", "info"), [(entry.folder.split("/")[0], _struct(("image_id",), [(1.0,)]))]),
        _struct((*person, *combined, "gender", "age"), people),
    )


def _person(actor: AnnotatedPerson, split: str, missing: Missing) -> tuple[Any, ...]:
    ticked = [(_cell(opinion.labels),) for opinion in actor.opinions]
    felt = [mean((opinion,)) for opinion in actor.opinions]
    combined = (_cell(union(actor.opinions)), _dimensions([mean(actor.opinions)], missing))
    return (
        np.array([actor.box.as_tuple()], dtype=np.float64),
        _struct(("categories",), ticked),
        _dimensions(felt, missing),
        *(() if split == "train" else combined),
        actor.gender,
        actor.age,
    )


def _dimensions(rows: Sequence[Sequence[float]], missing: Missing) -> Any:
    """One struct an annotator; an empty matrix in place of each value that is not there, if so asked."""
    if missing == "nan":
        return _struct(DIMENSIONS, rows)
    empty = np.zeros((0, 0))
    return _struct(DIMENSIONS, [[empty if math.isnan(value) else value for value in row] for row in rows])


def _struct(names: Iterable[str], rows: Sequence[Sequence[Any]]) -> Any:
    """A 1xN struct array."""
    made = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    for index, row in enumerate(rows):
        made[0, index] = tuple(row)
    return made


def _cell(names: Sequence[str]) -> Any:
    """A 1xN cell array of texts."""
    made = np.empty((1, len(names)), dtype=object)
    made[0, :] = names
    return made
