"""Reads COCO's JSON as manifest rows: one row per annotated person.

An annotation's `bbox` is [left, top, width, height]. It may also have `labels`, `dimensions` or `valence`,
`arousal`, `dominance`, and `split` (which its image may have instead); other keys are ignored. Crowds
(`iscrowd`) and other categories than the requested ones are left out and counted. A subject's id is the
annotation's id if that is text, else `file_name#id`.

The document is read into memory once; its rows are then cached on disk, keyed by its content.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from mien.data.manifest.readers import ManifestRow, read_json
from mien.data.table_cache import CachedTables, ParsedTables
from mien.errors import ManifestError, nearest_hint
from mien.types import DIMENSIONS

__all__ = ["CocoReader"]

_VERSION: Final = 1
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

    def rows(self) -> Iterator[ManifestRow]:
        """The rows, in the document's order."""
        for number, stored in enumerate(self._tables.rows("rows"), start=1):
            cells = None if stored["row"] is None else json.loads(stored["row"])
            yield ManifestRow(
                file=self._path, location=stored["place"], number=number, cells=cells, error=stored["fault"]
            )


def _parse(path: Path, categories: Sequence[str]) -> ParsedTables:
    import pyarrow as pa

    document = read_json(path)
    if not isinstance(document, dict) or not all(
        isinstance(document.get(key), list) for key in ("images", "annotations")
    ):
        raise ManifestError(
            f"{path} is not a COCO document: it has no lists images and annotations",
            hint="use a COCO document, an array of rows, or a .jsonl file",
        )
    left_out: Counter[str] = Counter()
    parsed = list(_parse_people(document, _category_ids(path, document, categories), left_out))
    # The column names are those of version 1 of the cache.
    rows = {
        "place": pa.array([row.location for row in parsed], pa.string()),
        "row": pa.array(
            [None if row.cells is None else json.dumps(row.cells) for row in parsed], pa.string()
        ),
        "fault": pa.array([row.error for row in parsed], pa.string()),
    }
    reasons = {
        "reason": pa.array(list(left_out), pa.string()),
        "count": pa.array(list(left_out.values()), pa.int64()),
    }
    return ParsedTables({"rows": pa.table(rows), "left_out": pa.table(reasons)})


def _category_ids(path: Path, document: Mapping[str, Any], names: Sequence[str]) -> frozenset[Any] | None:
    """The ids of the requested categories; None, meaning all, if the document lists no categories."""
    listed = [item for item in document.get("categories") or [] if isinstance(item, dict)]
    if not listed:
        return None
    folded = {name.casefold() for name in names}
    ids = [item.get("id") for item in listed if str(item.get("name", "")).casefold() in folded]
    if not ids:
        raise ManifestError(
            f"{path} has no category {' or '.join(names)}",
            hint=f"{nearest_hint(names[0], [str(item.get('name')) for item in listed])}; "
            "set data.options.categories",
        )
    return frozenset(item for item in ids if isinstance(item, int | str))


def _parse_people(
    document: Mapping[str, Any], category_ids: frozenset[Any] | None, left_out: Counter[str]
) -> Iterator[_ParsedRow]:
    images: dict[Any, dict[str, Any]] = {}
    for number, image in enumerate(document["images"], start=1):
        error = _image_error(image, images)
        if error:
            yield _ParsedRow(f"image {number}", None, error)
        else:
            images[image["id"]] = image
    for number, annotation in enumerate(document["annotations"], start=1):
        location = f"annotation {number}"
        if not isinstance(annotation, dict):
            yield _ParsedRow(location, None, "not a JSON object")
        elif annotation.get("iscrowd"):
            left_out["crowd"] += 1
        elif category_ids is not None and not _contains(category_ids, annotation.get("category_id")):
            left_out["other category"] += 1
        else:
            yield _parse_person(location, number, annotation, images)


def _image_error(image: object, images: Mapping[Any, object]) -> str:
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
        return "not an image with a file_name"
    if not isinstance(image.get("id"), int | str):
        return f"the id of {image['file_name']} is neither a number nor text"
    return f"the image id {image['id']!r} is used twice" if image["id"] in images else ""


def _contains(keys: Mapping[Any, object] | frozenset[Any], key: object) -> bool:
    """Membership, False for keys of other types, which may not be hashable."""
    return isinstance(key, int | str) and key in keys


def _parse_person(
    location: str, number: int, annotation: Mapping[str, Any], images: Mapping[Any, Mapping[str, Any]]
) -> _ParsedRow:
    key = annotation.get("image_id")
    if not _contains(images, key):
        return _ParsedRow(location, None, f"image_id is {key!r}, but no image has that id")
    image = images[key]
    try:
        left, top, width, height = (float(edge) for edge in annotation.get("bbox") or ())
    except (TypeError, ValueError, OverflowError):
        return _ParsedRow(
            location, None, f"bbox is {annotation.get('bbox')!r}, not [left, top, width, height]"
        )
    person_id = annotation.get("id", number)
    is_text = isinstance(person_id, str) and person_id
    cells: dict[str, Any] = {
        "id": person_id if is_text else f"{image['file_name']}#{person_id}",
        "image": image["file_name"],
        "box": [left, top, left + width, top + height],
        "split": image.get("split"),
    }
    cells.update({name: annotation[name] for name in _OPTIONAL_KEYS if annotation.get(name) is not None})
    if image.get("width") and image.get("height"):
        cells["size"] = [image["width"], image["height"]]
    return _ParsedRow(location, cells)
