"""Writes one split of any data set as JSON lines, one a subject, for programs that know none of its files.

In: a `Dataset` and a split. Out: a file, whole or not there, in the data set's own order.
Knows nothing about pictures: it names them. Boxes are in pixels of the upright picture, right and bottom
exclusive; paths are absolute, so that the file may be read from anywhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mien.data.dataset import Dataset
from mien.errors import DataError
from mien.labels import LabelSet
from mien.types import DIMENSIONS, Sample

__all__ = ["export", "to_json"]


def export(dataset: Dataset, split: str, path: Path) -> int:
    """Writes the split's subjects and returns how many; holds one at a time.

    DataError where the split is not there, has rows that cannot be used, or the file cannot be written.
    """
    samples = dataset.samples(split)
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is no ordinary file", hint="name a file, such as people.jsonl")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        count = _write(part, samples, dataset.label_set)
        part.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}", hint="name a file in a folder that is there"
        ) from error
    finally:
        if part.exists():
            part.unlink()
    return count


def to_json(sample: Sample, label_set: LabelSet) -> dict[str, Any]:
    """A sample as plain JSON values: labels in the set's order, {} where nobody annotated it."""
    subject, target = sample.subject, sample.target
    return {
        "id": subject.id,
        "images": [os.path.abspath(image.path) for image in subject.images],  # noqa: PTH100  keeps links
        "frames": [image.frame for image in subject.images],
        "boxes": [None if box is None else list(box.as_tuple()) for box in subject.boxes],
        "labels": {} if target is None else _in_order(target.labels, label_set.labels),
        "dimensions": (
            None if target is None or target.dimensions is None else _in_order(target.dimensions, DIMENSIONS)
        ),
        "split": sample.split,
    }


def _in_order(scores: Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    return {name: float(scores[name]) for name in names if name in scores}


def _write(path: Path, samples: Iterator[Sample], label_set: LabelSet) -> int:
    count = 0
    # ASCII: a file name may hold bytes that are no UTF-8, which JSON can say and UTF-8 cannot.
    with path.open("w", encoding="ascii", newline="\n") as file:
        for sample in samples:
            file.write(json.dumps(to_json(sample, label_set), allow_nan=False) + "\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count
