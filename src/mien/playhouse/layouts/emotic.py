"""Writes photographs as EMOTIC is laid out: `Annotations/Annotations.mat` and `emotic/<folder>/<file>`.

In: photographs by split. Out: the official tree, with MATLAB structs as the release has them; on request
the CSV and `.npy` forms that circulate, of the same people (see `emotic_copies`).
Knows nothing about how any of this is read.

The release's trap is kept: in `emodb_small` the fields of `image_size` stand in the order (row, col), in the
other folders in the order (col, row), each under its right name. So is what trips up readers: one person or
one category is an array of one.
"""

import random
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from PIL import Image

from mien.playhouse.layouts.emotic_copies import Pixels, write_csv, write_npy
from mien.playhouse.layouts.emotic_mat import Entry, Missing, write_mat
from mien.playhouse.layouts.photographs import AnnotatedImage, stage
from mien.types import Box

__all__ = ["FOLDERS", "Form", "folder_of", "widen", "write", "write_emotic"]

# Photographs are dealt out to the folders in turn.
FOLDERS: Final = ("mscoco/images", "framesdb/images", "emodb_small/images", "ade20k/images")
_SWAPPED: Final = "emodb_small/images"  # where the release stores (row, column)
_ANNOTATORS: Final = {"train": 1, "val": 3, "test": 5}

Form = Literal["mat", "csv", "npy"]
_OFFICIAL: Final[tuple[Form, ...]] = ("mat",)


def write(root: Path, *, train: int, val: int, test: int, seed: int) -> None:
    """Playhouse in EMOTIC's official layout: so many drawn photographs a split.

    Those in the folder whose sizes are swapped are a little wider than high, so that it shows; all others are
    the squares that the embedded VLM knows.
    """
    counts = {"train": train, "val": val, "test": test}
    write_emotic(root, {split: _drawn(split, count, seed) for split, count in counts.items()})


def write_emotic(
    root: Path,
    splits: Mapping[str, Iterable[AnnotatedImage]],
    *,
    swap_sizes_of: Collection[str] = (_SWAPPED,),
    forms: Collection[Form] = _OFFICIAL,
    missing: Missing = "nan",
) -> None:
    """The pictures, and the annotations in each of the `forms`.

    `swap_sizes_of`: the folders whose `image_size` is (row, col). `missing`: how it is written that an
    annotator gave no dimensions, as NaN in each field or as an empty matrix.
    """
    entries = {split: _place_all(root, split, photographs, forms) for split, photographs in splits.items()}
    if "mat" in forms:
        path = root / "Annotations" / "Annotations.mat"
        write_mat(path, entries, swap_sizes_of=swap_sizes_of, missing=missing)
    if "csv" in forms:
        for split, rows in entries.items():
            write_csv(root / f"{split}.csv", rows, swap_sizes_of)


def folder_of(index: int) -> str:
    """Where the photograph with this index in its split lies."""
    return FOLDERS[index % len(FOLDERS)]


def widen(photograph: AnnotatedImage, left: int, right: int) -> AnnotatedImage:
    """The photograph on a wider canvas, grey at the sides, with everybody's box moved along."""
    width, height = photograph.image.size
    canvas = Image.new("RGB", (width + left + right, height), (128, 128, 128))
    canvas.paste(photograph.image, (left, 0))
    actors = tuple(replace(actor, box=_moved(actor.box, left)) for actor in photograph.people)
    return replace(photograph, image=canvas, people=actors)


def _drawn(split: str, count: int, seed: int) -> Iterator[AnnotatedImage]:
    for index, photograph in enumerate(stage(split, count, seed, _ANNOTATORS[split])):
        if folder_of(index) != _SWAPPED:
            yield photograph
            continue
        rng = random.Random(photograph.name)
        yield widen(photograph, rng.randint(8, 24), rng.randint(8, 24))


def _moved(box: Box, by: int) -> Box:
    return replace(box, left=box.left + by, right=box.right + by)


def _place_all(
    root: Path, split: str, photographs: Iterable[AnnotatedImage], forms: Collection[Form]
) -> list[Entry]:
    """Saves a split's pictures, also as arrays if they are asked for; holds the arrays, not the pictures."""
    root.mkdir(parents=True, exist_ok=True)
    entries, pixels = [], Pixels()
    for index, photograph in enumerate(photographs):
        entries.append(_place(root, index, photograph))
        if "npy" in forms:
            pixels.add(photograph)
    if "npy" in forms:
        write_npy(root, split, entries, pixels)
    return entries


def _place(root: Path, index: int, photograph: AnnotatedImage) -> Entry:
    """Saves the picture as JPEG where it belongs."""
    folder = folder_of(index)
    path = root / "emotic" / folder / photograph.name
    path.parent.mkdir(parents=True, exist_ok=True)
    photograph.image.save(path, format="JPEG", quality=95)
    return Entry(folder=folder, name=photograph.name, size=photograph.image.size, people=photograph.people)
