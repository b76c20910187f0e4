"""Playhouse in the layout of EMOTIC: the official release, and the CSV and `.npy` copies that circulate.

The official release has `Annotations/Annotations.mat`, which SciPy reads as it reads the real one, and
`emotic/<folder>/<file>`. Its trap is kept: in `emodb_small` the fields of `image_size` are in the order
(row, col), in the other folders in the order (col, row), each under its correct name. One person, or one
category, is an array of one. Fields are in the order of the release, because public readers take them by
position.

The copies have less: annotators are merged (union of labels, mean of dimensions), and the arrays have no
boxes. The CSV keeps a common mistake, which reads `image_size` by position: its column `Image Size` is
swapped for `emodb_small`.
"""

import csv
import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image

from mien.labels import EMOTIC
from mien.playhouse.layouts.annotated_images import (
    AnnotatedImage,
    AnnotatedPerson,
    sample_images,
    save_array,
)
from mien.playhouse.rules import DIMENSIONS, SimulatedAnnotation
from mien.types import Box

__all__ = [
    "CSV_HEADER",
    "FOLDERS",
    "Form",
    "ImageEntry",
    "Missing",
    "folder_of",
    "pad_sides",
    "write",
    "write_emotic",
    "write_mat",
]

FOLDERS: Final = ("mscoco/images", "framesdb/images", "emodb_small/images", "ade20k/images")  # in turn
_SWAPPED: Final = "emodb_small/images"  # where the release has (row, col)
_ANNOTATORS: Final = {"train": 1, "val": 5, "test": 3}
CSV_HEADER: Final = (
    *("Index", "Folder", "Filename", "Image Size", "BBox"),
    *("Categorical_Labels", "Continuous_Labels", "Gender", "Age"),
)
_CONTEXT: Final = 224  # side of an image in the `.npy` copy, in pixels
_BODY: Final = 128  # side of a person's crop
_NOT_GIVEN: Final = (float("nan"),) * 3

# The fields of a person, in the order of the release. With one annotator, nothing is combined.
_PERSON: Final = (
    *("body_bbox", "annotations_categories", "combined_categories", "annotations_continuous"),
    *("combined_continuous", "gender", "age"),
)
_TRAIN_PERSON: Final = tuple(name for name in _PERSON if not name.startswith("combined"))

Form = Literal["mat", "csv", "npy"]
_OFFICIAL: Final[tuple[Form, ...]] = ("mat",)
# How dimensions that an annotator did not give are written: NaN, or an empty matrix, in each field.
Missing = Literal["nan", "empty"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEntry:
    """An image without its pixels: what the annotation file says of it. `size` is (width, height)."""

    folder: str
    name: str
    size: tuple[int, int]
    people: tuple[AnnotatedPerson, ...]


def write(root: Path, *, train: int, val: int, test: int, seed: int) -> None:
    """Draws Playhouse in the official layout, with these numbers of images per split.

    Images in the folder with swapped sizes are a little wider than high, so that the swap matters. All others
    are the squares that the embedded VLM knows.
    """
    counts = {"train": train, "val": val, "test": test}
    write_emotic(root, {split: _sample(split, count, seed) for split, count in counts.items()})


def write_emotic(
    root: Path,
    splits: Mapping[str, Iterable[AnnotatedImage]],
    *,
    swap_sizes_of: Collection[str] = (_SWAPPED,),
    forms: Collection[Form] = _OFFICIAL,
    missing: Missing = "nan",
) -> None:
    """Writes images, and their annotations in each of the forms.

    Args:
        root: The folder to write to.
        splits: The images by split, taken one at a time.
        swap_sizes_of: The folders whose `image_size` is (row, col).
        forms: "mat" is the official one, "csv" and "npy" are the copies.
        missing: How dimensions that an annotator did not give are written.
    """
    entries = {split: _save_images(root, split, images, forms) for split, images in splits.items()}
    if "mat" in forms:
        path = root / "Annotations" / "Annotations.mat"
        write_mat(path, entries, swap_sizes_of=swap_sizes_of, missing=missing)
    if "csv" in forms:
        for split, rows in entries.items():
            _write_csv(root / f"{split}.csv", rows, swap_sizes_of)


def folder_of(index: int) -> str:
    """The folder of the image with this index in its split."""
    return FOLDERS[index % len(FOLDERS)]


def pad_sides(annotated: AnnotatedImage, left: int, right: int) -> AnnotatedImage:
    """The image with gray margins at its sides, in pixels; the boxes are moved along."""
    width, height = annotated.image.size
    canvas = Image.new("RGB", (width + left + right, height), (128, 128, 128))
    canvas.paste(annotated.image, (left, 0))
    people = tuple(replace(person, box=_shift(person.box, left)) for person in annotated.people)
    return replace(annotated, image=canvas, people=people)


def _sample(split: str, count: int, seed: int) -> Iterator[AnnotatedImage]:
    for index, annotated in enumerate(sample_images(split, count, seed, _ANNOTATORS[split])):
        if folder_of(index) != _SWAPPED:
            yield annotated
            continue
        rng = random.Random(annotated.name)
        yield pad_sides(annotated, rng.randint(8, 24), rng.randint(8, 24))


def _shift(box: Box, by: int) -> Box:
    return replace(box, left=box.left + by, right=box.right + by)


def _save_images(
    root: Path, split: str, images: Iterable[AnnotatedImage], forms: Collection[Form]
) -> list[ImageEntry]:
    """Saves a split's images, and the arrays of the form "npy"; only the arrays stay in memory."""
    root.mkdir(parents=True, exist_ok=True)
    entries, pixels = [], _PixelArrays()
    for index, annotated in enumerate(images):
        entries.append(_save_image(root, index, annotated))
        if "npy" in forms:
            pixels.add(annotated)
    if "npy" in forms:
        _write_npy(root, split, entries, pixels)
    return entries


def _save_image(root: Path, index: int, annotated: AnnotatedImage) -> ImageEntry:
    folder = folder_of(index)
    path = root / "emotic" / folder / annotated.name
    path.parent.mkdir(parents=True, exist_ok=True)
    annotated.image.save(path, format="JPEG", quality=95)
    return ImageEntry(folder=folder, name=annotated.name, size=annotated.image.size, people=annotated.people)


def _union_labels(annotations: Iterable[SimulatedAnnotation]) -> list[str]:
    """Every label that an annotator ticked, in the order of ticking."""
    return list(dict.fromkeys(label for annotation in annotations for label in annotation.labels))


def _mean_dimensions(annotations: Iterable[SimulatedAnnotation]) -> tuple[float, ...]:
    """The mean of each dimension over the annotators who gave it, from 1 to 10; NaN if none did."""
    given = [annotation.dimensions for annotation in annotations if annotation.dimensions is not None]
    return tuple(sum(values) / len(given) for values in zip(*given, strict=True)) if given else _NOT_GIVEN


# --- The official annotation file --------------------------------------------------------------------


def write_mat(
    path: Path,
    splits: Mapping[str, Sequence[ImageEntry]],
    *,
    swap_sizes_of: Collection[str] = (_SWAPPED,),
    missing: Missing = "nan",
    compressed: bool = True,
) -> None:
    """Writes an annotation file; the options are those of `write_emotic`."""
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("filename", "folder", "image_size", "original_database", "person")
    tables = {
        split: _struct(names, [_image_struct(entry, split, swap_sizes_of, missing) for entry in entries])
        for split, entries in splits.items()
    }
    savemat(path, tables, do_compression=compressed)


def _image_struct(
    entry: ImageEntry, split: str, swap_sizes_of: Collection[str], missing: Missing
) -> tuple[Any, ...]:
    width, height = entry.size
    col, row = ("n_col", float(width)), ("n_row", float(height))
    size = (row, col) if entry.folder in swap_sizes_of else (col, row)
    people = [_person_struct(person, split, missing) for person in entry.people]
    return (
        entry.name,
        entry.folder,
        _struct([name for name, _ in size], [[value for _, value in size]]),
        _struct(("name", "info"), [(entry.folder.split("/")[0], _struct(("image_id",), [(1.0,)]))]),
        _struct(_TRAIN_PERSON if split == "train" else _PERSON, people),
    )


def _person_struct(person: AnnotatedPerson, split: str, missing: Missing) -> tuple[Any, ...]:
    categories = [(_cell(annotation.labels),) for annotation in person.annotations]
    continuous = [_mean_dimensions((annotation,)) for annotation in person.annotations]
    fields = {
        "body_bbox": np.array([person.box.as_tuple()], dtype=np.float64),
        "annotations_categories": _struct(("categories",), categories),
        "combined_categories": _cell(_union_labels(person.annotations)),
        "annotations_continuous": _dimension_structs(continuous, missing),
        "combined_continuous": _dimension_structs([_mean_dimensions(person.annotations)], missing),
        "gender": person.gender,
        "age": person.age,
    }
    return tuple(fields[name] for name in (_TRAIN_PERSON if split == "train" else _PERSON))


def _dimension_structs(rows: Sequence[Sequence[float]], missing: Missing) -> Any:
    """One struct per annotator."""
    if missing == "nan":
        return _struct(DIMENSIONS, rows)
    empty = np.zeros((0, 0))
    return _struct(DIMENSIONS, [[empty if math.isnan(value) else value for value in row] for row in rows])


def _struct(names: Iterable[str], rows: Sequence[Sequence[Any]]) -> Any:
    """A 1xN struct array."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    for index, row in enumerate(rows):
        array[0, index] = tuple(row)
    return array


def _cell(names: Sequence[str]) -> Any:
    """A 1xN cell array of strings."""
    array = np.empty((1, len(names)), dtype=object)
    array[0, :] = names
    return array


# --- The copies --------------------------------------------------------------------------------------


def _write_csv(path: Path, entries: Sequence[ImageEntry], swap_sizes_of: Collection[str]) -> None:
    """One row per person; lists are written as Python prints them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_HEADER)
        rows = (_csv_row(entry, person, swap_sizes_of) for entry in entries for person in entry.people)
        writer.writerows([number, *row] for number, row in enumerate(rows))


def _csv_row(entry: ImageEntry, person: AnnotatedPerson, swap_sizes_of: Collection[str]) -> list[Any]:
    size = entry.size[::-1] if entry.folder in swap_sizes_of else entry.size
    box = list(person.box.as_tuple())
    dimensions = [float(value) for value in _mean_dimensions(person.annotations)]
    labels = _union_labels(person.annotations)
    return [entry.folder, entry.name, list(size), box, labels, dimensions, person.gender, person.age]


class _PixelArrays:
    """The pixels of the `.npy` copy: the whole image and the person's crop, one pair per person."""

    def __init__(self) -> None:
        self.context: list[Any] = []
        self.body: list[Any] = []

    def add(self, annotated: AnnotatedImage) -> None:
        context = _resize(annotated.image, _CONTEXT)
        for person in annotated.people:
            self.context.append(context)
            inside = person.box.clip(*annotated.image.size)
            right, bottom = math.ceil(inside.right), math.ceil(inside.bottom)
            body = annotated.image.crop((int(inside.left), int(inside.top), right, bottom))
            self.body.append(_resize(body, _BODY))


def _resize(image: Image.Image, side: int) -> Any:
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def _write_npy(root: Path, split: str, entries: Sequence[ImageEntry], pixels: _PixelArrays) -> None:
    """Four arrays; labels are 0 or 1 in EMOTIC's order, dimensions from 1 to 10."""
    people = [person.annotations for entry in entries for person in entry.people]
    categories = [EMOTIC.encode(_union_labels(annotations)) for annotations in people]
    arrays = {
        "context": _stack(pixels.context, _CONTEXT),
        "body": _stack(pixels.body, _BODY),
        "cat": np.array(categories).reshape(-1, len(EMOTIC)),
        "cont": np.array([_mean_dimensions(annotations) for annotations in people]).reshape(-1, 3),
    }
    for name, array in arrays.items():
        save_array(root / f"{split}_{name}_arr.npy", array)


def _stack(images: Sequence[Any], side: int) -> Any:
    return np.array(images, dtype=np.uint8).reshape(-1, side, side, 3)
