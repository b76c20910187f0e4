"""EMOTIC from the `.npy` arrays in circulation: images of 224 x 224 pixels and labels, one row per person.

Read are `{split}_context_arr.npy` (N, 224, 224, 3), `{split}_cat_arr.npy` (N, 26) in EMOTIC's own
(alphabetical) label order, and `{split}_cont_arr.npy` (N, 3) on a scale of 1 to 10. File names, gender and
age are not in the arrays. Each person has one annotation: the annotators' union and mean.

`{split}_body_arr.npy` is not read. It holds what was cropped from the photo, not where, so the subject cannot
be marked: subjects have no box, and two people in one photo look the same to a model. Prefer another format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from mien.data.emotic.person_table import Annotation, PersonTable
from mien.data.generated_images import save_png
from mien.errors import DataError
from mien.labels import EMOTIC

__all__ = ["ArrayImages", "array_path", "image_array_version", "read_npy"]

_HINT: Final = "the arrays of a split need one row per person, saved by numpy without pickling"


def array_path(folder: Path, split: str, what: str) -> Path:
    """The path of an array: "context", "cat" or "cont"."""
    return folder / f"{split}_{what}_arr.npy"


def read_npy(folder: Path, *, split: str, image_root: Path) -> PersonTable:
    """The people of a split. `ArrayImages` saves their images below `image_root`."""
    table = PersonTable(split=split, image_root=image_root)
    categories = _load(array_path(folder, split, "cat"), num_columns=len(EMOTIC))
    continuous = _load(array_path(folder, split, "cont"), num_columns=3)
    num_images = len(ArrayImages(folder, split, image_root))
    if not len(categories) == len(continuous) == num_images:
        sizes = f"{num_images} images, {len(categories)} rows of labels, {len(continuous)} of dimensions"
        raise DataError(f"{folder}, {split}: {sizes}", hint=_HINT)
    for index, (flags, ratings) in enumerate(zip(categories.tolist(), continuous.tolist(), strict=True)):
        where = f"{split}_cat_arr.npy, row {index}"
        if any(flag not in (0, 1) for flag in flags):
            table.report("bad_row", where, "labels are neither 0 nor 1")
            continue
        labels = [label for label, flag in zip(EMOTIC.labels, flags, strict=True) if flag]
        # The row is the same in all arrays; name the file that has the problem.
        if labels:
            where = f"{split}_cont_arr.npy, row {index}"
        table.add_person(
            where=where,
            folder=split,
            name=_image_name(index),
            number=index,
            edges=None,
            size=None,
            annotations=[Annotation(labels, [float(rating) for rating in ratings])],
        )
    return table


def image_array_version(folder: Path, split: str) -> list[str | int]:
    """Changes when the image array does. Path, size and time, because reading gigabytes is slow."""
    path = array_path(folder, split, "context")
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from error
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


class ArrayImages:
    """The images of a split. The array stays on disk; `save` writes one image as a PNG file."""

    def __init__(self, folder: Path, split: str, image_root: Path) -> None:
        import numpy as np

        path = array_path(folder, split, "context")
        self._array = _load(path)
        if self._array.ndim != 4 or self._array.shape[3] != 3 or self._array.dtype != np.uint8:
            shape = f"{self._array.shape} of {self._array.dtype}"
            raise DataError(f"{path} holds {shape}, not images", hint="save (N, height, width, 3) of uint8")
        self._folder = image_root / split

    def __len__(self) -> int:
        return len(self._array)

    def save(self, index: int) -> None:
        """Writes the image of this row, unless the file exists."""
        import numpy as np
        from PIL import Image

        path = self._folder / _image_name(index)
        if not path.exists():
            save_png(Image.fromarray(np.ascontiguousarray(self._array[index])), path)


def _image_name(index: int) -> str:
    return f"{index:05d}.png"


def _load(path: Path, num_columns: int | None = None) -> Any:
    """The memory-mapped array. With `num_columns`: checked to be numbers of this shape."""
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged bytes raise nearly anything in numpy; mapped here only
        raise DataError(f"{path} cannot be read as an array: {error}", hint=_HINT) from error
    if num_columns is not None and (
        array.ndim != 2 or array.shape[1] != num_columns or array.dtype.kind not in "fiub"
    ):
        raise DataError(f"{path} holds {array.shape} of {array.dtype}, not (N, {num_columns})", hint=_HINT)
    return array
