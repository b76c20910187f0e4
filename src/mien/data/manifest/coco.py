"""COCO's JSON as rows of a manifest: a row for each annotated person.

In: a document with `images` and `annotations`. Out: rows, and how many annotations are left out and why.
Knows nothing about pictures, or about what labels there are.

An annotation's `bbox` is [left, top, width, height]. It may carry `labels`, `dimensions` or `valence`,
`arousal`, `dominance`, and `split` (or its image may); other keys are not looked at. Left out are crowds
(`iscrowd`) and categories that were not asked for. A subject's id is the annotation's id if that is text,
else `file_name#id`.

The document is read whole once; its rows are then kept in the cache, by its content.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.data.manifest.rows import Line, read_json
from mien.data.table_cache import Tables
from mien.errors import ManifestError, nearest_hint
from mien.types import DIMENSIONS, Problem

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Coco"]

_VERSION: Final = 1
# What an annotation may say of its person, beside the box.
_KEPT: Final = ("labels", "dimensions", "split", *DIMENSIONS)
# A place, and either a row as JSON or a fault.
Found = tuple[str, dict[str, Any] | None, str]


class Coco:
    """The people of one COCO document; `left_out` counts the annotations that are no person of ours."""

    def __init__(self, path: Path, *, categories: Sequence[str], cache: Path) -> None:
        self._path = path
        self._tables = Tables.open(
            cache,
            name="coco",
            version=_VERSION,
            sources=[path],
            options=list(categories),
            parse=lambda: _parse(path, categories),
        )
        self.left_out = {row["reason"]: row["count"] for row in self._tables.rows("left_out")}

    def lines(self) -> Iterator[Line]:
        """The rows, in the document's order."""
        for number, kept in enumerate(self._tables.rows("rows"), start=1):
            row = None if kept["row"] is None else json.loads(kept["row"])
            yield Line(file=self._path, place=kept["place"], number=number, row=row, fault=kept["fault"])


def _parse(
    path: Path, categories: Sequence[str]
) -> tuple[dict[str, pyarrow.Table], list[tuple[str, bool, Problem]]]:
    import pyarrow as pa

    document = read_json(path)
    if not isinstance(document, dict) or not all(
        isinstance(document.get(key), list) for key in ("images", "annotations")
    ):
        raise ManifestError(
            f"{path} is not as COCO's: it has no lists images and annotations",
            hint="give such a document, an array of rows, or a .jsonl file",
        )
    left_out: Counter[str] = Counter()
    found = list(_people(document, _wanted(path, document, categories), left_out))
    rows = {
        "place": pa.array([place for place, _, _ in found], pa.string()),
        "row": pa.array([None if row is None else json.dumps(row) for _, row, _ in found], pa.string()),
        "fault": pa.array([fault for _, _, fault in found], pa.string()),
    }
    reasons = {
        "reason": pa.array(list(left_out), pa.string()),
        "count": pa.array(list(left_out.values()), pa.int64()),
    }
    return {"rows": pa.table(rows), "left_out": pa.table(reasons)}, []


def _wanted(path: Path, document: Mapping[str, Any], names: Sequence[str]) -> frozenset[Any] | None:
    """The ids of the categories asked for; None, which is all, where the document names no categories."""
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


def _people(
    document: Mapping[str, Any], wanted: frozenset[Any] | None, left_out: Counter[str]
) -> Iterator[Found]:
    images: dict[Any, dict[str, Any]] = {}
    for number, image in enumerate(document["images"], start=1):
        fault = _image_fault(image, images)
        if fault:
            yield f"image {number}", None, fault
        else:
            images[image["id"]] = image
    for number, annotation in enumerate(document["annotations"], start=1):
        place = f"annotation {number}"
        if not isinstance(annotation, dict):
            yield place, None, "not a JSON object"
        elif annotation.get("iscrowd"):
            left_out["crowd"] += 1
        elif wanted is not None and not _is_in(annotation.get("category_id"), wanted):
            left_out["other category"] += 1
        else:
            yield _person(place, number, annotation, images)


def _image_fault(image: object, images: Mapping[Any, object]) -> str:
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
        return "no image with a file_name"
    if not isinstance(image.get("id"), int | str):
        return f"the id of {image['file_name']} is neither a number nor text"
    return f"the image id {image['id']!r} stands there already" if image["id"] in images else ""


def _is_in(key: object, known: Mapping[Any, object] | frozenset[Any]) -> bool:
    return isinstance(key, int | str) and key in known


def _person(
    place: str, number: int, annotation: Mapping[str, Any], images: Mapping[Any, Mapping[str, Any]]
) -> Found:
    key = annotation.get("image_id")
    if not _is_in(key, images):
        return place, None, f"image_id is {key!r}, and no image has that id"
    image = images[key]
    try:
        left, top, width, height = (float(edge) for edge in annotation.get("bbox") or ())
    except (TypeError, ValueError, OverflowError):
        return place, None, f"bbox is {annotation.get('bbox')!r}, not [left, top, width, height]"
    own = annotation.get("id", number)
    row: dict[str, Any] = {
        "id": own if isinstance(own, str) and own else f"{image['file_name']}#{own}",
        "image": image["file_name"],
        "box": [left, top, left + width, top + height],
        "split": image.get("split"),
    }
    row.update({name: annotation[name] for name in _KEPT if annotation.get(name) is not None})
    if image.get("width") and image.get("height"):
        row["size"] = [image["width"], image["height"]]
    return place, row, ""
