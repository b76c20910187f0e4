"""EMOTIC from the `.npy` arrays that circulate: pictures of 224 x 224 pixels, and labels, a row a person.

In: `{split}_context_arr.npy` (N, 224, 224, 3), `{split}_cat_arr.npy` (N, 26), `{split}_cont_arr.npy` (N, 3).
Out: `People` without boxes, each with the annotators' union and mean as one opinion; and the pictures as
files, made one by one when first asked for.
Knows nothing about who the people are: file names, gender and age are not in the arrays.

`{split}_body_arr.npy` is not read. It holds what was cut out of the photograph, not where, so nothing can be
marked in the picture: a subject of this form has no box, and two people of one photograph look the same to a
model. Prefer any other form. The order of the columns of `_cat_arr` is EMOTIC's own (alphabetical), in which
these arrays circulate; dimensions are on the scale of 1 to 10.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from mien.data.emotic.table import Opinion, People
from mien.errors import DataError
from mien.labels import EMOTIC

__all__ = ["Contexts", "array_path", "contexts_stamp", "read_npy"]

_HINT: Final = "arrays of one split have a row a person, and are saved by numpy without pickling"


def array_path(folder: Path, split: str, what: str) -> Path:
    """Where an array lies: "context", "cat" or "cont"."""
    return folder / f"{split}_{what}_arr.npy"


def read_npy(folder: Path, *, split: str, images: Path) -> People:
    """The people of a split; `images` is where `Contexts` puts their pictures."""
    people = People(split=split, images=images)
    categories = _load(array_path(folder, split, "cat"), (len(EMOTIC),))
    continuous = _load(array_path(folder, split, "cont"), (3,))
    count = len(Contexts(folder, split, images))
    if not len(categories) == len(continuous) == count:
        sizes = f"{count} pictures, {len(categories)} rows of labels, {len(continuous)} of dimensions"
        raise DataError(f"{folder}, {split}: {sizes}", hint=_HINT)
    for index, (flags, steps) in enumerate(zip(categories.tolist(), continuous.tolist(), strict=True)):
        where = f"{split}_cat_arr.npy, row {index}"
        if any(flag not in (0, 1) for flag in flags):
            people.report("bad_row", where, "labels are neither 0 nor 1")
            continue
        labels = [label for label, flag in zip(EMOTIC.labels, flags, strict=True) if flag]
        # The row is the same in all arrays; the file named is the one that is wrong.
        if labels:
            where = f"{split}_cont_arr.npy, row {index}"
        opinions = [Opinion(labels, [float(step) for step in steps])]
        people.add(
            where=where,
            folder=split,
            name=_name(index),
            number=index,
            edges=None,
            size=None,
            opinions=opinions,
        )
    return people


def contexts_stamp(folder: Path, split: str) -> list[str | int]:
    """Changes when the array of pictures does; its gigabytes are not read for it."""
    path = array_path(folder, split, "context")
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from error
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


class Contexts:
    """The pictures of a split; the array stays on disk, and each picture becomes a PNG file once."""

    def __init__(self, folder: Path, split: str, images: Path) -> None:
        import numpy as np

        path = array_path(folder, split, "context")
        self._array = _load(path, None)
        if self._array.ndim != 4 or self._array.shape[3] != 3 or self._array.dtype != np.uint8:
            shape = f"{self._array.shape} of {self._array.dtype}"
            raise DataError(f"{path} holds {shape}, not pictures", hint="(N, height, width, 3) of uint8")
        self._images = images / split

    def __len__(self) -> int:
        return len(self._array)

    def save(self, index: int) -> None:
        """Writes the picture of this row, unless it is there: whole or not at all, also in two processes."""
        import numpy as np
        from PIL import Image

        path = self._images / _name(index)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{uuid4().hex}.part")
        Image.fromarray(np.ascontiguousarray(self._array[index])).save(part, format="PNG", compress_level=1)
        part.replace(path)


def _name(index: int) -> str:
    return f"{index:05d}.png"


def _load(path: Path, row: tuple[int, ...] | None) -> Any:
    """The array, left on disk; its rows must be of this shape and hold numbers."""
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged bytes raise nearly anything in numpy; this is the seam
        raise DataError(f"{path} cannot be read as an array: {error}", hint=_HINT) from error
    if row is not None and (array.ndim != 2 or array.shape[1:] != row or array.dtype.kind not in "fiub"):
        raise DataError(f"{path} holds {array.shape} of {array.dtype}, not (N, {row[0]})", hint=_HINT)
    return array
