"""EMOTIC from `Annotations.mat`, the official file, with every annotator's labels and dimensions.

Fields are read by name, never by position: in `emodb_small` the fields of `image_size` have another order
than elsewhere, and boxes clipped by them come out wrong. Positions in messages count from 1 as in MATLAB:
`train(3).person(1)`. SciPy's option `simplify_cells` is not used, because it takes gigabytes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple

from mien.data.emotic.person_table import (
    NO_DIMENSIONS,
    Annotation,
    PersonTable,
    Size,
    is_relative_image_path,
)
from mien.errors import DataError
from mien.types import DIMENSIONS

__all__ = ["check_elements", "load_variable", "read_mat"]

_SPLITS: Final = ("train", "val", "test")
_IMAGE_FIELDS: Final = ("filename", "folder", "image_size", "person")
_PERSON_FIELDS: Final = ("body_bbox", "annotations_categories", "annotations_continuous", "gender", "age")
_COMBINED_FIELDS: Final = ("combined_categories", "combined_continuous")
_MAX_SIZE: Final = 2**31 - 1  # pixels per side; no image file has more
_ROUNDING: Final = 0.5 + 1e-6  # the stored mean may be rounded to whole numbers
_FIELD_HINT: Final = "copy the official Annotations.mat (MATLAB v5) again"


class _Image(NamedTuple):
    folder: str
    name: str
    size: Size | None


def read_mat(path: Path, *, image_root: Path) -> Iterator[PersonTable]:
    """The splits in the file, one in memory at a time."""
    for split in _SPLITS:
        table = PersonTable(split=split, image_root=image_root)
        if _read_split(path, table):
            yield table


def _read_split(path: Path, table: PersonTable) -> bool:
    """Returns whether the file has this split. Frees the MATLAB values before the next split is loaded."""
    entries = load_variable(path, table.split)
    if entries is None:
        return False
    previous: set[tuple[str, str]] = set()
    file = f"{path.parent.name}/{path.name}"
    for number, entry in enumerate(_structs(entries, _IMAGE_FIELDS, f"{path}: {table.split}"), start=1):
        _read_image(entry, f"{file}, {table.split}({number})", table, previous)
    return True


def _read_image(entry: Sequence[Any], where: str, table: PersonTable, previous: set[tuple[str, str]]) -> None:
    try:
        name, folder = _text(entry[0]), _text(entry[1])
        if not is_relative_image_path(folder, name):
            raise ValueError(f"{folder!r} and {name!r} are not a path below the image folder")
        size = _image_size(entry[2])
        persons = list(_structs(entry[3], _PERSON_FIELDS, "person", _COMBINED_FIELDS))
    except _MALFORMED as error:
        table.report("bad_row", where, str(error))
        return
    if (folder, name) in previous:
        table.report("repeated_id", where, f"{table.split} already has an entry for {folder}/{name}")
        return
    previous.add((folder, name))
    if not persons:
        table.report("bad_row", where, f"{folder}/{name} has no person", unusable=False)
    image = _Image(folder, name, size)
    for number, person in enumerate(persons):
        _read_person(person, f"{where}.person({number + 1})", table, image, number)


def _read_person(person: Sequence[Any], where: str, table: PersonTable, image: _Image, number: int) -> None:
    box, categories, continuous, gender, age, combined_categories, combined_continuous = person
    try:
        edges = _box_edges(box)
        annotations = _annotations(categories, continuous)
        labels = None if combined_categories is None else _texts(combined_categories)
        means = None if combined_continuous is None else _dimensions(combined_continuous)
        attributes = {"gender": _text(gender), "age": _text(age)}
    except _MALFORMED as error:
        table.report("bad_row", where, str(error))
        return
    is_added = table.add_person(
        where=where,
        folder=image.folder,
        name=image.name,
        number=number,
        edges=edges,
        size=image.size,
        annotations=annotations,
        **attributes,
    )
    # An annotator's fault, reported above, would show up again as a union that differs.
    if is_added:
        _check_combined(where, table, annotations, labels, means)


def _check_combined(
    where: str,
    table: PersonTable,
    annotations: Sequence[Annotation],
    labels: list[str] | None,
    means: list[Sequence[float]] | None,
) -> None:
    """Reports where the file's own union and mean differ from the annotators', which are used."""
    union = {label for annotation in annotations for label in annotation.labels}
    is_complete = all(annotation.labels for annotation in annotations)  # otherwise reported already
    if labels is not None and is_complete and set(labels) != union:
        message = f"combined_categories is {sorted(labels)}, the annotators' union {sorted(union)}"
        table.report("bad_row", where, message, unusable=False)
    given = [item.dimensions for item in annotations if not math.isnan(item.dimensions[0])]
    if not means or not given or any(map(math.isnan, means[0])):
        return
    computed = [sum(ratings) / len(given) for ratings in zip(*given, strict=True)]
    if any(abs(mine - stored) > _ROUNDING for mine, stored in zip(computed, means[0], strict=True)):
        shown = [round(rating, 3) for rating in computed]
        message = f"combined_continuous is {list(means[0])}, the annotators' mean {shown}"
        table.report("bad_row", where, message, unusable=False)


# --- MATLAB values -----------------------------------------------------------------------------------

_MALFORMED: Final = (ValueError, TypeError, AttributeError, DataError)


def _structs(
    array: Any, fields: Sequence[str], what: str, optional: Sequence[str] = ()
) -> Iterator[tuple[Any, ...]]:
    """The values of these fields for each struct of an array; None for an absent optional one.

    MATLAB's `[]`, which has no fields, holds no struct.
    """
    if array.size == 0:
        return
    pick = _field_picker(array.dtype.names or (), tuple(fields), tuple(optional), what)
    # The None at the end represents absent fields.
    for row in array.ravel().tolist():
        yield pick((*row, None))


@lru_cache(maxsize=64)
def _field_picker(
    names: tuple[str, ...], fields: tuple[str, ...], optional: tuple[str, ...], what: str
) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Extracts the fields from a struct's values. Cached for structs with the same fields."""
    absent = [name for name in fields if name not in names]
    if absent:
        raise DataError(f"{what} is not a struct with the field {absent[0]!r}", hint=_FIELD_HINT)
    positions = [names.index(name) if name in names else -1 for name in (*fields, *optional)]
    if len(positions) == 1:
        return lambda row: (row[positions[0]],)
    return itemgetter(*positions)


def _text(value: Any) -> str:
    if value.size == 0:
        return ""
    if value.dtype.kind != "U" or value.size != 1:
        raise ValueError(f"{value.tolist()} is not text")
    return str(value.item())


def _texts(value: Any) -> list[str]:
    """The texts in a cell array. A single text counts as a list of one."""
    if value.dtype.kind == "U":
        return [_text(value)]
    return [_text(item) for item in value.ravel().tolist()]


def _number(value: Any) -> float:
    """NaN for an empty matrix."""
    if value.size == 0:
        return math.nan
    if value.size != 1 or value.dtype.kind not in "fiub":
        raise ValueError(f"{value.tolist()} is not a number")
    return float(value.item())


def _box_edges(value: Any) -> list[float]:
    if value.size != 4 or value.dtype.kind not in "fiub":
        raise ValueError(f"body_bbox {value.tolist()} is not [x1 y1 x2 y2]")
    return [float(edge) for edge in value.ravel().tolist()]


def _image_size(value: Any) -> Size | None:
    """(width, height) by field name; None if missing or not a size."""
    if not {"n_col", "n_row"} <= set(value.dtype.names or ()):
        return None
    for columns, rows in _structs(value, ("n_col", "n_row"), "image_size"):
        width, height = _number(columns), _number(rows)
        if 1 <= width <= _MAX_SIZE and 1 <= height <= _MAX_SIZE:
            return int(width), int(height)
    return None


def _annotations(categories: Any, continuous: Any) -> list[Annotation]:
    cells = _structs(categories, ("categories",), "annotations_categories")
    labels = [_texts(cell) for (cell,) in cells]
    dimensions = _dimensions(continuous) or [NO_DIMENSIONS] * len(labels)
    if len(labels) != len(dimensions):
        raise ValueError(f"{len(labels)} annotators gave labels, {len(dimensions)} gave dimensions")
    return [Annotation(*pair) for pair in zip(labels, dimensions, strict=True)]


def _dimensions(value: Any) -> list[Sequence[float]]:
    if value.dtype.names is None and value.size == 1 and math.isnan(_number(value)):
        return []  # a bare NaN instead of a struct
    return [tuple(map(_number, ratings)) for ratings in _structs(value, DIMENSIONS, "annotations_continuous")]


# --- MATLAB files (v5 to v7) -------------------------------------------------------------------------
#
# SciPy's reader is fast, but damaged bytes can crash it, and the interpreter with it: read files in a child
# process (`mat_subprocess`). Compressed variables carry a checksum, which `check_elements` verifies first.

_HEADER_SIZE: Final = 128  # bytes: text, version and byte order
_COMPRESSED: Final = 15  # the type miCOMPRESSED of an element, from the format's documentation
_CHUNK_SIZE: Final = 1 << 20
_MAX_BYTES: Final = 1 << 30  # of all variables, unpacked
_COPY_HINT: Final = "copy the file again"


def check_elements(path: Path) -> bool:
    """Verifies the length of each variable, and its checksum if it is compressed.

    Returns:
        Whether every variable has a checksum.

    Raises:
        DataError: A checksum is wrong, the file is truncated or unpacks to more than 1 GiB, or it is not a
            MATLAB file of these versions.
    """
    try:
        with path.open("rb") as file:
            order = _byte_order(file.read(_HEADER_SIZE), path)
            elements = list(iter(lambda: _skip_element(file, order, path), None))
    except (OSError, zlib.error) as error:
        raise _unreadable(path, str(error)) from error
    if not elements:
        raise _unreadable(path, "it holds no variable")
    if sum(size for _, size in elements) > _MAX_BYTES:
        raise _too_large(path)
    return all(kind == _COMPRESSED for kind, _ in elements)


def load_variable(path: Path, name: str) -> Any:
    """A variable as SciPy returns it by default, or None if the file has no such variable."""
    from scipy.io import loadmat

    try:
        # utf-16: what MATLAB writes for text that is not ASCII; SciPy would assume UTF-8.
        return loadmat(path, variable_names=[name], uint16_codec="utf-16-le").get(name)
    except Exception as error:  # damaged bytes raise nearly anything in SciPy; mapped here only
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(f"{path} cannot be read as a MATLAB file: {reason}", hint=_COPY_HINT)


def _byte_order(header: bytes, path: Path) -> Literal["little", "big"]:
    if len(header) < _HEADER_SIZE or header[126:] not in (b"IM", b"MI"):
        raise _unreadable(path, "it has another header")
    order: Literal["little", "big"] = "little" if header[126:] == b"IM" else "big"
    if int.from_bytes(header[124:126], order) >> 8 != 1:
        hint = "save it in MATLAB with the flag -v7, or copy the official file again"
        raise DataError(f"{path} is in MATLAB's format 7.3", hint=hint)
    return order


def _skip_element(file: BinaryIO, order: Literal["little", "big"], path: Path) -> tuple[int, int] | None:
    """Reads over one element, verifying its checksum.

    Returns:
        Its type and its size in bytes, unpacked; None at the end of the file.
    """
    tag = file.read(8)
    if not tag:
        return None
    kind, remaining = int.from_bytes(tag[:4], order), int.from_bytes(tag[4:], order)
    decompressor = zlib.decompressobj() if kind == _COMPRESSED else None
    size = 0 if decompressor is not None else remaining
    while remaining:
        chunk = file.read(min(remaining, _CHUNK_SIZE))
        if not chunk:
            raise _unreadable(path, "it is truncated")
        remaining -= len(chunk)
        while decompressor is not None and chunk:
            size += len(decompressor.decompress(chunk, _CHUNK_SIZE))
            chunk = decompressor.unconsumed_tail
            if size > _MAX_BYTES:
                raise _too_large(path)
    if decompressor is not None and not decompressor.eof:
        raise _unreadable(path, "a variable is truncated")
    return kind, size


def _too_large(path: Path) -> DataError:
    return _unreadable(path, f"its variables unpack to more than {_MAX_BYTES >> 20} MiB")
