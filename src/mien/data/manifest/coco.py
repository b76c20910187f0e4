"""Reads COCO's JSON as manifest rows: one row per annotated person.

An annotation's `bbox` is [left, top, width, height]. It may also have `labels`, `dimensions` or `valence`,
`arousal`, `dominance`, and `split` (which its image may have instead); other keys are ignored. Crowds
(`iscrowd`) and other categories than the requested ones are left out and counted. Ids may be numbers or the
same as text. A subject's id is the annotation's id if that is text, else `file_name#id`.

The document is read into memory once; its rows are then cached on disk, keyed by its content.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from mien.data.manifest.cells import RowError, is_empty, parse_id, shown
from mien.data.manifest.readers import ManifestRow, read_json
from mien.data.table_cache import CachedTables, ParsedTables
from mien.errors import DataError, ManifestError, nearest_hint
from mien.media.boxes import parse_edges
from mien.types import DIMENSIONS

__all__ = ["CocoReader", "describe_left_out"]

_VERSION: Final = 2
_HINT: Final = "set data.options.categories to the categories of people; crowds have no box of their own"
_MAX_DIGITS: Final = 18
_FLAGS: Final = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}
# Keys that an annotation may have in addition to the box.
_OPTIONAL_KEYS: Final = ("labels", "dimensions", "split", *DIMENSIONS)


class _ParsedRow(NamedTuple):
    """A location in the document, and either a row's cells or why there is none."""

    location: str
    cells: dict[str, Any] | None
    error: str = ""


class CocoReader:
    """The people in one COCO document. `left_out` counts skipped annotations by reason."""

    def __init__(self, path: Path, *, categories: Sequence[str], cache: Path) -> None:
        self._path = path
        self._tables = CachedTables.open(
            cache,
            name="coco",
            version=_VERSION,
            sources=[path],
            options=list(categories),
            parse=lambda: _parse(path, categories),
        )
        self.left_out = {row["reason"]: row["count"] for row in self._tables.rows("left_out")}
        if self.left_out and next(self._tables.rows("rows"), None) is None:
            raise ManifestError(
                f"{path} has no person to use: {describe_left_out(self.left_out)}", hint=_HINT
            )

    def rows(self) -> Iterator[ManifestRow]:
        """The rows, in the document's order."""
        for number, stored in enumerate(self._tables.rows("rows"), start=1):
            cells = None if stored["row"] is None else json.loads(stored["row"])
            yield ManifestRow(self._path, number, cells, stored["fault"], stored["place"])


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """Such as "1 person left out: crowd"."""
    nouns = {"crowd": ("person", "people")}
    return "; ".join(
        f"{count:,} {nouns.get(reason, ('annotation', 'annotations'))[count != 1]} left out: {reason}"
        for reason, count in left_out.items()
    )


def _parse(path: Path, categories: Sequence[str]) -> ParsedTables:
    import pyarrow as pa

    document = read_json(path)
    if not isinstance(document, dict) or not all(
        isinstance(document.get(key), list) for key in ("images", "annotations")
    ):
        raise ManifestError(
            f"{path} is not a COCO document: it has no lists images and annotations",
            hint="use a COCO document, an array of rows, or a .jsonl file; pandas writes an array with "
            "to_json(path, orient='records')",
        )
    left_out: Counter[str] = Counter()
    parsed = list(_parse_people(document, _category_ids(path, document, categories), left_out))
    # The column names are those of version 1 of the cache.
    rows = {
        "place": pa.array([row.location for row in parsed], pa.string()),
        "row": pa.array(
            [None if row.cells is None else json.dumps(row.cells) for row in parsed], pa.string()
        ),
        "fault": pa.array([_encodable(row.error) for row in parsed], pa.string()),
    }
    reasons = {
        "reason": pa.array(list(left_out), pa.string()),
        "count": pa.array(list(left_out.values()), pa.int64()),
    }
    return ParsedTables({"rows": pa.table(rows), "left_out": pa.table(reasons)})


def _encodable(text: str) -> str:
    """JSON can contain lone surrogates, which Arrow refuses."""
    return text.encode("utf-8", "backslashreplace").decode()


def _category_ids(path: Path, document: Mapping[str, Any], names: Sequence[str]) -> Mapping[Any, bool] | None:
    """Whether each category is requested, by id; None, meaning all, if the document lists no categories."""
    listed = [item for item in document.get("categories") or [] if isinstance(item, dict)]
    if not listed:
        return None
    folded = {name.casefold() for name in names}
    requested = {
        _key(item.get("id")): str(item.get("name", "")).strip().casefold() in folded for item in listed
    }
    if not any(requested.values()):
        raise ManifestError(
            f"{path} has no category {' or '.join(names)}",
            hint=f"{nearest_hint(names[0], [str(item.get('name')) for item in listed])}; "
            "set data.options.categories",
        )
    return requested


def _parse_people(
    document: Mapping[str, Any], categories: Mapping[Any, bool] | None, left_out: Counter[str]
) -> Iterator[_ParsedRow]:
    images: dict[Any, dict[str, Any]] = {}
    for number, image in enumerate(document["images"], start=1):
        error = _image_error(image, images)
        if error:
            yield _ParsedRow(f"image {number}", None, error)
        else:
            images[_key(image["id"])] = image
    for number, annotation in enumerate(document["annotations"], start=1):
        location = f"annotation {number}"
        if not isinstance(annotation, dict):
            yield _ParsedRow(location, None, "not a JSON object")
            continue
        try:
            if _is_crowd(annotation.get("iscrowd")):
                left_out["crowd"] += 1
            elif categories is not None and not _is_person(annotation.get("category_id"), categories):
                left_out["other category"] += 1
            else:
                yield _ParsedRow(location, _person_cells(number, annotation, images))
        except ValueError as error:
            yield _ParsedRow(location, None, str(error))


def _key(value: object) -> int | str | None:
    """An id: a whole number, also as text or as 1.0, or text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else text or None
    return value if isinstance(value, int) else None


def _image_error(image: object, images: Mapping[Any, object]) -> str:
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
        return "not an image with a file_name"
    key = _key(image.get("id"))
    if key is None:
        return f"the id of {shown(image['file_name'])} is neither a number nor text"
    return f"the image id {shown(image['id'])} is used twice" if key in images else ""


def _is_crowd(value: object) -> bool:
    """ValueError if it is neither true nor false."""
    if is_empty(value):
        return False
    if isinstance(value, str):
        value = _FLAGS.get(value.strip().lower().removesuffix(".0"), value)
    if value not in (0, 1):
        raise ValueError(f"iscrowd is {shown(value)}, neither 0 nor 1")
    return bool(value)


def _is_person(value: object, categories: Mapping[Any, bool]) -> bool:
    """ValueError if the document lists no such category."""
    key = _key(value)
    if key is None or key not in categories:
        raise ValueError(f"category_id is {shown(value)}, but no category has that id")
    return categories[key]


def _person_cells(
    number: int, annotation: Mapping[str, Any], images: Mapping[Any, Mapping[str, Any]]
) -> dict[str, Any]:
    """The manifest cells of one annotation; ValueError if its image or box is missing."""
    key = _key(annotation.get("image_id"))
    if key is None or key not in images:
        raise ValueError(f"image_id is {shown(annotation.get('image_id'))}, but no image has that id")
    image = images[key]
    given = annotation.get("id")
    try:
        person_id = str(number) if is_empty(given) else parse_id(given)
    except RowError as error:
        raise ValueError(error.message) from error
    is_text = isinstance(given, str) and not is_empty(given)
    cells: dict[str, Any] = {
        "id": person_id if is_text else f"{image['file_name']}#{person_id}",
        "image": image["file_name"],
        "box": _edges(annotation),
        "split": image.get("split"),
    }
    cells.update({name: annotation[name] for name in _OPTIONAL_KEYS if not is_empty(annotation.get(name))})
    if not is_empty(image.get("width")) and not is_empty(image.get("height")):
        cells["size"] = [image["width"], image["height"]]
    return cells


def _edges(annotation: Mapping[str, Any]) -> list[float]:
    """Left, top, right, bottom; ValueError without a box."""
    given = annotation.get("bbox")
    if is_empty(given) or (isinstance(given, list) and all(map(is_empty, given))):
        more = ", only a segmentation; give the box around it" if annotation.get("segmentation") else ""
        raise ValueError(f"the annotation has no bbox{more}")
    try:
        left, top, width, height = parse_edges(given)
    except DataError as error:
        raise ValueError(f"bbox is {shown(given)}, not [left, top, width, height]") from error
    return [left, top, left + width, top + height]
