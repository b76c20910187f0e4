"""Exports one split of any dataset as JSON lines, one per subject, for use by other programs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final, TypedDict

from mien.data.dataset import Dataset
from mien.errors import DataError
from mien.files import atomic_file
from mien.labels import LabelSet
from mien.types import DIMENSIONS, Sample

__all__ = ["SampleLine", "export_split"]

_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")


def export_split(dataset: Dataset, split: str, path: Path) -> int:
    """Writes the subjects of a split in the dataset's order, holding one at a time. The file is atomic.

    Returns:
        The number of subjects.

    Raises:
        DataError: The split does not exist or has unusable rows, or the file cannot be written, or its suffix
            is that of another format.
    """
    samples = dataset.samples(split)
    if path.suffix.lower() not in _SUFFIXES:
        raise DataError(
            f"{path} would be read as another format: an export is JSON lines",
            hint="end its name with .jsonl",
        )
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not an ordinary file", hint="name a file, such as people.jsonl")
    with atomic_file(path) as file:
        return _write(file, samples, dataset.label_set)


class SampleLine(TypedDict):
    """A person of a split.

    Attributes:
        id: The id of the person.
        images: Absolute paths of the images, or of the clip once per frame.
        frames: The number of each frame in a clip; None for images.
        boxes: The box in each image: left, top, right, bottom in pixels of the upright image, the last two
            exclusive; None if the whole image is the subject.
        labels: Scores from 0 to 1 by label, in the order of the label set; None without annotation.
        dimensions: Valence, arousal and dominance from 0 to 1; None without annotation.
        split: The split.
        size: Width and height of the image according to the annotations; None if they do not say it.
    """

    id: str
    images: list[str]
    frames: list[int | None]
    boxes: list[list[float] | None]
    labels: dict[str, float] | None
    dimensions: dict[str, float] | None
    split: str
    size: list[int] | None


def _sample_to_json(sample: Sample, label_set: LabelSet) -> SampleLine:
    """A sample as JSON values.

    Labels are in the set's order, and null if the sample is not annotated. The size is that of the image
    according to the annotations. Boxes are in pixels of the upright image; right and bottom are exclusive.
    Paths are absolute, so that the file can be read from anywhere.
    """
    subject, target = sample.subject, sample.target
    return {
        "id": subject.id,
        "images": [os.path.abspath(image.path) for image in subject.images],  # noqa: PTH100  keeps links
        "frames": [image.frame for image in subject.images],
        "boxes": [None if box is None else list(box.as_tuple()) for box in subject.boxes],
        "labels": None if target is None else _in_order(target.labels, label_set.labels),
        "dimensions": (
            None if target is None or target.dimensions is None else _in_order(target.dimensions, DIMENSIONS)
        ),
        "split": sample.split,
        "size": None if subject.stated_size is None else list(subject.stated_size),
    }


def _in_order(scores: Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    return {name: float(scores[name]) for name in names if name in scores}


def _write(file: IO[bytes], samples: Iterator[Sample], label_set: LabelSet) -> int:
    count = 0
    for sample in samples:
        line = json.dumps(_sample_to_json(sample, label_set), allow_nan=False)
        # ASCII, because a file name may hold bytes that are not UTF-8, which JSON can escape.
        file.write(line.encode("ascii") + b"\n")
        count += 1
    return count
