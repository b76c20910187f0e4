"""Finds EMOTIC's annotation files in a copy, in any of three formats, and reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from mien.data.emotic.csv_reader import read_csv
from mien.data.emotic.mat_reader import check_elements
from mien.data.emotic.mat_subprocess import read_mat_in_subprocess
from mien.data.emotic.npy_reader import array_path, image_array_version, read_npy
from mien.data.emotic.person_table import PersonTable
from mien.digests import digest
from mien.errors import DataError

__all__ = ["ACCESS", "ANNOTATION_GLOBS", "AnnotationFiles", "Form", "find_annotation_files", "image_globs"]

Form = Literal["mat", "csv", "npy"]
ACCESS: Final = "request EMOTIC with the form at https://s3.sunai.uoc.edu/emotic/download.html"
_SPLITS: Final = ("train", "val", "test")
_MAT_PATHS: Final = ("Annotations/Annotations.mat", "annotations/Annotations.mat", "Annotations.mat")
# Where scripts and archives in circulation put the files of the other formats.
_FOLDERS: Final = ("", "Annotations", "annotations", "annots_arrs", "emotic_pre", "npy", "csv")
_PATTERN: Final[Mapping[Form, str]] = {"csv": "{split}.csv", "npy": "{split}_cat_arr.npy"}
# Any of these files identifies a copy.
ANNOTATION_GLOBS: Final = (
    *_MAT_PATHS,
    *(
        str(PurePosixPath(folder) / _PATTERN[form].format(split="train"))
        for form in _PATTERN
        for folder in _FOLDERS
    ),
)


def image_globs(source: str) -> tuple[str, ...]:
    """Where the images of one source ("mscoco", ...) may be. The arrays hold those of all sources."""
    arrays = (str(PurePosixPath(folder) / "*_context_arr.npy") for folder in _FOLDERS)
    return (f"emotic/{source}/images/*", f"{source}/images/*", *arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationFiles:
    """The annotation files of a copy.

    Attributes:
        form: Their format.
        paths: By split; a file with all splits has the key "".
    """

    form: Form
    paths: Mapping[str, Path]

    @property
    def folder(self) -> Path:
        return next(iter(self.paths.values())).parent

    @property
    def sources(self) -> list[Path]:
        """The files that `read` depends on."""
        if self.form != "npy":
            return list(self.paths.values())
        return [array_path(self.folder, split, what) for split in self.paths for what in ("cat", "cont")]

    def image_root(self, root: Path, cache: Path) -> Path:
        """The directory that image paths are relative to. Images in arrays are saved to the cache."""
        if self.form != "npy":
            return root / "emotic" if (root / "emotic").is_dir() else root
        versions = {split: image_array_version(self.folder, split) for split in self.paths}
        return cache / "emotic-npy" / digest(versions)[:20]

    def read(self, image_root: Path) -> Iterator[PersonTable]:
        """The people of each split."""
        match self.form:
            case "mat":
                path = self.paths[""]
                check_elements(path)
                yield from read_mat_in_subprocess(path, image_root=image_root)
            case "csv":
                for split, path in self.paths.items():
                    yield read_csv(path, split=split, image_root=image_root)
            case "npy":
                for split in self.paths:
                    yield read_npy(self.folder, split=split, image_root=image_root)


def find_annotation_files(root: Path, form: Form | Literal["auto"]) -> AnnotationFiles:
    """The annotation files below `root`.

    Args:
        form: The format; "auto" prefers the official file, then CSV, then the arrays, which hold the least.

    Raises:
        DataError: There are none. The message names the files that were looked for.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}", hint=f"set data.root to a copy of EMOTIC, or {ACCESS}")
    forms: tuple[Form, ...] = ("mat", "csv", "npy") if form == "auto" else (form,)
    for candidate in forms:
        for paths in _candidate_paths(root, candidate):
            if paths:
                return AnnotationFiles(form=candidate, paths=paths)
    looked_for = ", ".join(
        _MAT_PATHS[0] if each == "mat" else _PATTERN[each].format(split="train") for each in forms
    )
    raise DataError(
        f"{root} has no EMOTIC annotations; looked for {looked_for}",
        hint=f"set data.root to the folder that holds them, or {ACCESS}",
    )


def _candidate_paths(root: Path, form: Form) -> Iterator[Mapping[str, Path]]:
    """The existing files at each possible location, best first. May be empty."""
    if form == "mat":
        for name in _MAT_PATHS:
            yield {"": root / name} if (root / name).is_file() else {}
        return
    for folder in _FOLDERS:
        paths = {split: root / folder / _PATTERN[form].format(split=split) for split in _SPLITS}
        yield {split: path for split, path in paths.items() if path.is_file()}
