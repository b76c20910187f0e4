"""Names that are paths or devices, or not what they look like, and manifests with such splits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import csv, parquet

# The first two overwrote a file elsewhere in version 0.1.0.
NAMES: Final = (
    *("/tmp/x/data", "../../x", "a/b", "..", ".", "..\\x", "C:\\x", "a\0b", "a\x1b[2Jb", "-rf", "x" * 101),
    *("CON", "NUL.txt", "\u202etxt", "a.", "\uff0fetc\uff0fx"),
)


def _rows(name: str) -> list[dict[str, str]]:
    return [{"image": "a.png", "split": name, "id": "bad"}, {"image": "a.png", "split": "test", "id": "good"}]


def _jsonl(path: Path, name: str) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in _rows(name)))


def _json(path: Path, name: str) -> None:
    path.write_text(json.dumps(_rows(name)))


def _csv(path: Path, name: str) -> None:
    csv.write_csv(pa.Table.from_pylist(_rows(name)), path)


def _parquet(path: Path, name: str) -> None:
    parquet.write_table(pa.Table.from_pylist(_rows(name)), path)


def _coco(path: Path, name: str) -> None:
    images = [{"id": 1, "file_name": "a.png"}]
    person = {"image_id": 1, "bbox": [1, 1, 20, 20], "category_id": 1}
    people = [{**person, "id": "bad", "split": name}, {**person, "id": "good", "split": "test"}]
    document = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    path.write_text(json.dumps(document))


# By file name.
MANIFESTS: Final[dict[str, Callable[[Path, str], None]]] = {
    "rows.jsonl": _jsonl,
    "rows.json": _json,
    "rows.csv": _csv,
    "rows.parquet": _parquet,
    "coco.json": _coco,
}
