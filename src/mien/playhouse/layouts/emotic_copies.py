"""The forms of EMOTIC that circulate beside the official one: a CSV a split, and `.npy` arrays.

In: what `emotic_layout` wrote, and the pictures. Out: the same people, as far as these forms can tell:
annotators are united (union of labels, mean of dimensions), and in the arrays boxes are gone.
Knows nothing about how any of this is read.

The CSV carries on the common slip of reading `image_size` by position: where the release stores (row, col),
the column `Image Size` is swapped.
"""

import csv
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from mien.labels import EMOTIC
from mien.playhouse.layouts.emotic_mat import Entry, mean, union
from mien.playhouse.layouts.photographs import AnnotatedImage

__all__ = ["CSV_HEADER", "Pixels", "write_csv", "write_npy"]

CSV_HEADER: Final = (
    *("Index", "Folder", "Filename", "Image Size", "BBox"),
    *("Categorical_Labels", "Continuous_Labels", "Gender", "Age"),
)
_CONTEXT: Final = 224  # pixels a side
_BODY: Final = 128


def write_csv(path: Path, entries: Sequence[Entry], swap_sizes_of: Collection[str]) -> None:
    """One row a person; lists as Python writes them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_HEADER)
        rows = (_row(entry, index, swap_sizes_of) for entry in entries for index in range(len(entry.people)))
        writer.writerows([number, *row] for number, row in enumerate(rows))


def _row(entry: Entry, index: int, swap_sizes_of: Collection[str]) -> list[Any]:
    actor = entry.people[index]
    size = entry.size[::-1] if entry.folder in swap_sizes_of else entry.size
    box, dimensions = list(actor.box.as_tuple()), [float(step) for step in mean(actor.opinions)]
    labels = union(actor.opinions)
    return [entry.folder, entry.name, list(size), box, labels, dimensions, actor.gender, actor.age]


class Pixels:
    """The pictures of the `.npy` form, collected: the whole photograph and the body, one pair a person."""

    def __init__(self) -> None:
        self.context: list[Any] = []
        self.body: list[Any] = []

    def add(self, photograph: AnnotatedImage) -> None:
        context = _square(photograph.image, _CONTEXT)
        for actor in photograph.people:
            self.context.append(context)
            inside = actor.box.clip(*photograph.image.size)
            right, bottom = math.ceil(inside.right), math.ceil(inside.bottom)
            body = photograph.image.crop((int(inside.left), int(inside.top), right, bottom))
            self.body.append(_square(body, _BODY))


def _square(image: Image.Image, side: int) -> Any:
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def write_npy(root: Path, split: str, entries: Sequence[Entry], pixels: Pixels) -> None:
    """Four arrays; labels as 0 and 1 in EMOTIC's order, dimensions on the scale of 1 to 10."""
    people = [actor.opinions for entry in entries for actor in entry.people]
    arrays = {
        "context": _stack(pixels.context, _CONTEXT),
        "body": _stack(pixels.body, _BODY),
        "cat": np.array([EMOTIC.encode(union(opinions)) for opinions in people]).reshape(-1, len(EMOTIC)),
        "cont": np.array([mean(opinions) for opinions in people]).reshape(-1, 3),
    }
    for name, array in arrays.items():
        np.save(root / f"{split}_{name}_arr.npy", array)


def _stack(pictures: Sequence[Any], side: int) -> Any:
    return np.array(pictures, dtype=np.uint8).reshape(-1, side, side, 3)
