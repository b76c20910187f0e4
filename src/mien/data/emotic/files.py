"""Where a copy of EMOTIC has its files, and in which form.

In: the folder a user names. Out: the annotation files of the form asked for, or of the best that is there.
Knows nothing about what the files hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from mien.errors import DataError

__all__ = ["ACCESS", "ANNOTATIONS", "Form", "Found", "find", "picture_globs"]

Form = Literal["mat", "csv", "npy"]
ACCESS: Final = "ask for EMOTIC with the form at https://s3.sunai.uoc.edu/emotic/download.html"
_SPLITS: Final = ("train", "val", "test")
_MAT: Final = ("Annotations/Annotations.mat", "annotations/Annotations.mat", "Annotations.mat")
# Where the scripts and archives that circulate put the files of the other forms.
_FOLDERS: Final = ("", "Annotations", "annotations", "annots_arrs", "emotic_pre", "npy", "csv")
_PATTERN: Final[Mapping[Form, str]] = {"csv": "{split}.csv", "npy": "{split}_cat_arr.npy"}
# Every file that may start a copy.
ANNOTATIONS: Final = (
    *_MAT,
    *(
        str(PurePosixPath(folder) / _PATTERN[form].format(split="train"))
        for form in _PATTERN
        for folder in _FOLDERS
    ),
)


def picture_globs(source: str) -> tuple[str, ...]:
    """Where the pictures of one source ("mscoco", ...) may be; the arrays hold those of all."""
    arrays = (str(PurePosixPath(folder) / "*_context_arr.npy") for folder in _FOLDERS)
    return (f"emotic/{source}/images/*", f"{source}/images/*", *arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The form, and its annotation files: by split, or one for all splits under the name ""."""

    form: Form
    files: Mapping[str, Path]


def find(root: Path, form: Form | Literal["auto"]) -> Found:
    """The annotation files below `root`; DataError, which names what was looked for, if there are none.

    "auto" takes the official file before the CSV form, and that before the arrays, which tell least.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}", hint=f"set data.root to a copy of EMOTIC, or {ACCESS}")
    forms: tuple[Form, ...] = ("mat", "csv", "npy") if form == "auto" else (form,)
    for candidate in forms:
        for files in _candidates(root, candidate):
            if files:
                return Found(form=candidate, files=files)
    looked_for = ", ".join(
        _MAT[0] if each == "mat" else _PATTERN[each].format(split="train") for each in forms
    )
    raise DataError(
        f"{root} has no annotations of EMOTIC; looked for {looked_for}",
        hint=f"set data.root to the folder that holds them, or {ACCESS}",
    )


def _candidates(root: Path, form: Form) -> Iterator[Mapping[str, Path]]:
    """The files at each place, best first; none of them may be there."""
    if form == "mat":
        for name in _MAT:
            yield {"": root / name} if (root / name).is_file() else {}
        return
    for folder in _FOLDERS:
        paths = {split: root / folder / _PATTERN[form].format(split=split) for split in _SPLITS}
        yield {split: path for split, path in paths.items() if path.is_file()}
