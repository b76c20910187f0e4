"""EMOTIC from `Annotations.mat`, the official file.

In: the file, as `scipy.io.loadmat` gives it without its `simplify_cells`, which takes gigabytes. Out:
`People` by split, every annotator's labels and dimensions with them.
Knows nothing about pictures.

Fields are read by name, never by position: in `emodb_small` the fields of `image_size` stand in another order
than elsewhere, and boxes clipped by them come out wrong. Places are named as in MATLAB: `train(3).person(1)`
counts from 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from mien.data.emotic.mat_file import load_variable
from mien.data.emotic.table import NOT_GIVEN, Opinion, People, Size, is_inside
from mien.errors import DataError
from mien.types import DIMENSIONS

__all__ = ["SPLITS", "read_mat"]

SPLITS: Final = ("train", "val", "test")
_IMAGE: Final = ("filename", "folder", "image_size", "person")
_PERSON: Final = ("body_bbox", "annotations_categories", "annotations_continuous", "gender", "age")
_COMBINED: Final = ("combined_categories", "combined_continuous")
# The mean may be stored rounded to whole steps.
_LARGEST: Final = 2**31 - 1  # pixels a side; beyond it, no file is a picture
_ROUNDING: Final = 0.5 + 1e-6
_HINT: Final = "copy the official Annotations.mat (MATLAB v5) again"


class _Image(NamedTuple):
    folder: str
    name: str
    size: Size | None


def read_mat(path: Path, *, images: Path) -> Iterator[People]:
    """The splits that the file has, one in memory at a time."""
    for split in SPLITS:
        people = People(split=split, images=images)
        if _read_split(path, people):
            yield people


def _read_split(path: Path, people: People) -> bool:
    """False where the file has no such split. What MATLAB held is let go of before the next is loaded."""
    table = load_variable(path, people.split)
    if table is None:
        return False
    seen: set[tuple[str, str]] = set()
    file = f"{path.parent.name}/{path.name}"
    for number, entry in enumerate(_rows(table, _IMAGE, f"{path}: {people.split}"), start=1):
        _read_image(entry, f"{file}, {people.split}({number})", people, seen)
    return True


def _read_image(entry: Sequence[Any], where: str, people: People, seen: set[tuple[str, str]]) -> None:
    try:
        name, folder = _text(entry[0]), _text(entry[1])
        if not is_inside(folder, name):
            raise ValueError(f"{folder!r} and {name!r} name no file below the pictures' folder")
        size, persons = _size(entry[2]), list(_rows(entry[3], _PERSON, "person", _COMBINED))
    except _MALFORMED as error:
        people.report("bad_row", where, str(error))
        return
    if (folder, name) in seen:
        people.report("repeated_id", where, f"{folder}/{name} has an entry in {people.split} already")
        return
    seen.add((folder, name))
    if not persons:
        people.report("bad_row", where, f"{folder}/{name} has no person", unusable=False)
    image = _Image(folder, name, size)
    for number, person in enumerate(persons):
        _read_person(person, f"{where}.person({number + 1})", people, image, number)


def _read_person(person: Sequence[Any], where: str, people: People, image: _Image, number: int) -> None:
    box, categories, continuous, gender, age, combined_categories, combined_continuous = person
    try:
        edges = _edges(box)
        opinions = _opinions(categories, continuous)
        labels = None if combined_categories is None else _texts(combined_categories)
        means = None if combined_continuous is None else _dimensions(combined_continuous)
        about = {"gender": _text(gender), "age": _text(age)}
    except _MALFORMED as error:
        people.report("bad_row", where, str(error))
        return
    place = {"where": where, "folder": image.folder, "name": image.name}
    if people.add(**place, **about, number=number, edges=edges, size=image.size, opinions=opinions):
        # Else what is wrong with an annotator would be reported again as a union that differs.
        _compare(where, people, opinions, labels, means)


def _compare(
    where: str,
    people: People,
    opinions: Sequence[Opinion],
    labels: list[str] | None,
    means: list[Sequence[float]] | None,
) -> None:
    """Reports where the file's own union and mean are not those of its annotators, whose word is taken."""
    ticked = {label for opinion in opinions for label in opinion.labels}
    all_spoke = all(opinion.labels for opinion in opinions)  # who did not is reported already
    if labels is not None and all_spoke and set(labels) != ticked:
        message = f"combined_categories is {sorted(labels)}, the annotators' union {sorted(ticked)}"
        people.report("bad_row", where, message, unusable=False)
    given = [opinion.dimensions for opinion in opinions if not math.isnan(opinion.dimensions[0])]
    if not means or not given or any(map(math.isnan, means[0])):
        return
    own = [sum(steps) / len(given) for steps in zip(*given, strict=True)]
    if any(abs(mine - theirs) > _ROUNDING for mine, theirs in zip(own, means[0], strict=True)):
        shown = [round(step, 3) for step in own]
        message = f"combined_continuous is {list(means[0])}, the annotators' mean {shown}"
        people.report("bad_row", where, message, unusable=False)


# --- What a MATLAB value holds -----------------------------------------------------------------------

_MALFORMED: Final = (ValueError, TypeError, AttributeError, DataError)


def _rows(
    struct: Any, fields: Sequence[str], what: str, optional: Sequence[str] = ()
) -> Iterator[tuple[Any, ...]]:
    """The values of these fields, struct by struct of an array of them; None for an optional one that is
    not there. `[]`, which has no fields, is no struct."""
    if struct.size == 0:
        return
    pick = _picker(struct.dtype.names or (), tuple(fields), tuple(optional), what)
    # A None at the end stands for what is absent.
    for row in struct.ravel().tolist():
        yield pick((*row, None))


@lru_cache(maxsize=64)
def _picker(
    names: tuple[str, ...], fields: tuple[str, ...], optional: tuple[str, ...], what: str
) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Takes the fields out of a struct's values; made once for structs of the same fields."""
    absent = [name for name in fields if name not in names]
    if absent:
        raise DataError(f"{what} is no struct with a field {absent[0]!r}", hint=_HINT)
    places = [names.index(name) if name in names else -1 for name in (*fields, *optional)]
    if len(places) == 1:
        return lambda row: (row[places[0]],)
    return itemgetter(*places)


def _text(value: Any) -> str:
    if value.size == 0:
        return ""
    if value.dtype.kind != "U" or value.size != 1:
        raise ValueError(f"{value.tolist()} is no text")
    return str(value.item())


def _texts(value: Any) -> list[str]:
    """The texts in a cell array; a text that stands by itself is a list of one."""
    if value.dtype.kind == "U":
        return [_text(value)]
    return [_text(item) for item in value.ravel().tolist()]


def _number(value: Any) -> float:
    """NaN for an empty matrix."""
    if value.size == 0:
        return math.nan
    if value.size != 1 or value.dtype.kind not in "fiub":
        raise ValueError(f"{value.tolist()} is no number")
    return float(value.item())


def _edges(value: Any) -> list[float]:
    if value.size != 4 or value.dtype.kind not in "fiub":
        raise ValueError(f"body_bbox {value.tolist()} is not [x1 y1 x2 y2]")
    return [float(edge) for edge in value.ravel().tolist()]


def _size(value: Any) -> Size | None:
    """(width, height) by the names of the fields; None where they are missing or no sizes."""
    if not {"n_col", "n_row"} <= set(value.dtype.names or ()):
        return None
    for columns, rows in _rows(value, ("n_col", "n_row"), "image_size"):
        width, height = _number(columns), _number(rows)
        if 1 <= width <= _LARGEST and 1 <= height <= _LARGEST:
            return int(width), int(height)
    return None


def _opinions(categories: Any, continuous: Any) -> list[Opinion]:
    ticked = [_texts(cell) for (cell,) in _rows(categories, ("categories",), "annotations_categories")]
    felt = _dimensions(continuous) or [NOT_GIVEN] * len(ticked)
    if len(ticked) != len(felt):
        raise ValueError(f"{len(ticked)} annotators ticked labels, {len(felt)} gave dimensions")
    return [Opinion(labels, dimensions) for labels, dimensions in zip(ticked, felt, strict=True)]


def _dimensions(value: Any) -> list[Sequence[float]]:
    if value.dtype.names is None and value.size == 1 and math.isnan(_number(value)):
        return []  # a bare NaN in the struct's place
    return [tuple(map(_number, steps)) for steps in _rows(value, DIMENSIONS, "annotations_continuous")]
