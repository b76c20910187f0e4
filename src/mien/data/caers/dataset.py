"""CAER-S: frames of TV shows in a folder a class, in both of the protocols that papers use.

In: `train/<Class>/NNNN.png` and `test/<Class>/NNNN.png` below the root, and lists of face boxes if there are
any. Out: samples with exactly one label each. Knows nothing about what is seen in a frame.

- The release has no boxes and no val. `protocol` "official" is its own train and test (70/30); "7:1:2" takes
  val out of the test folder, a third of it, class by class (see `caers_val`). Train is the same in both.
- Frames come from few shows: there are exact duplicates between train and test, and neighbouring frames on
  both sides, so that scores are higher than on unseen shows. Between val and test, "7:1:2" keeps
  near-duplicates together; it opens every picture of the test folder for that, once.
- File names (`0001.png`) are the same in every class; an id is the path below the root.
- Hidden files, `Thumbs.db` and the like are ignored. Anything else in a class folder that is no picture by
  its ending is reported, and so are folders that no class is known by.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from mien.data.caers.face_boxes import Faces, face_lists, read_faces
from mien.data.caers.folders import FOLDERS, ClassFolder, Finding, findings, listing
from mien.data.caers.val_split import carve
from mien.data.dataset import Component, Dataset, DatasetCard, Record
from mien.errors import DataError
from mien.labels import CAERS, LabelSet
from mien.recipe import DataOptions, Options
from mien.types import Problem, Sample, Subject, Target

__all__ = ["Caers", "CaersOptions"]

log = logging.getLogger(__name__)

_ACCESS: Final = "ask for it at https://caer-dataset.github.io, for research that is not commercial"
# Which folder a split is taken from.
_FOLDER_OF: Final = {"train": "train", "val": "test", "test": "test"}

# The group number of each picture, where near-duplicates share one; see `mien.data.audit.near_duplicates`.
Groups = Callable[[Sequence[Path]], Sequence[int]]


class CaersOptions(Options):
    """`[data.options]` of CAER-S. `faces`: lists of face boxes, or folders of such; relative to the root."""

    protocol: Literal["official", "7:1:2"] = "official"
    faces: Path | tuple[Path, ...] | None = None


class Caers(Dataset):
    """CAER-S in one of its protocols; `groups` tells near-duplicates, by default by what pictures show."""

    card = DatasetCard(
        name="caers",
        title="CAER-S, about 70,000 frames of 79 TV shows",
        license="research that is not commercial; the shows belong to their makers",
        homepage="https://caer-dataset.github.io",
        task="one of 7 classes of apparent emotion a frame; no boxes",
        access=_ACCESS,
        components=(
            Component(name="the training frames, a folder a class", globs=("train/*/*",)),
            Component(name="the test frames, a folder a class", globs=("test/*/*",)),
        ),
    )

    def __init__(self, options: DataOptions, cache: Path, *, groups: Groups | None = None) -> None:
        super().__init__(options, cache)
        self._options = CaersOptions.parse(options.options, where="[data.options] of caers")
        if options.root is None:
            raise DataError("the folder of CAER-S is not named", hint=f"set data.root to it, or {_ACCESS}")
        self._root = options.root
        self._groups = groups or self._near_groups
        self._present = [name for name in FOLDERS if (self._root / name).is_dir()]
        if not self._present:
            raise DataError(
                f"{self._root} holds neither train nor test",
                hint=f"set data.root to the folder that holds them, or {_ACCESS}",
            )

    @property
    def label_set(self) -> LabelSet:
        return CAERS

    @property
    def splits(self) -> tuple[str, ...]:
        order = ("train", "test") if self._options.protocol == "official" else ("train", "val", "test")
        return tuple(split for split in order if _FOLDER_OF[split] in self._present)

    def problems(self) -> Sequence[Problem]:
        return [finding.problem for finding in self._findings]

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        """A fault of the test folder counts for both of the splits that are made of it."""
        folders = (_FOLDER_OF[split], None)
        return [item.problem for item in self._findings if item.unusable and item.folder in folders]

    def _records(self, split: str) -> Iterator[Record]:
        faces, spoiled = self._faces, self._faces.spoiled
        for folder, name in listing(self._root, _FOLDER_OF[split]):
            subject_id = _id(folder, name)
            if subject_id in spoiled or not self._belongs(subject_id, split):
                continue
            subject = Subject.still(subject_id, folder.path(self._root) / name, faces.boxes.get(subject_id))
            target = Target(labels={folder.label: 1.0})
            yield Record(sample=Sample(subject=subject, target=target, split=split))

    def _belongs(self, subject_id: str, split: str) -> bool:
        if self._options.protocol == "official" or split == "train":
            return True
        return (subject_id in self._val) == (split == "val")

    @cached_property
    def _findings(self) -> list[Finding]:
        own = [finding for split in self._present for finding in findings(self._root, split)]
        return own + self._faces.findings

    @cached_property
    def _faces(self) -> Faces:
        """The lists are kept: a box for each picture that has one."""
        given = self._options.faces
        if given is None:
            return Faces()
        paths = (given,) if isinstance(given, Path) else given
        faces = read_faces(self._root, face_lists(self._root, paths))
        log.info("%d pictures have a face box; the others have none", len(faces.boxes))
        return faces

    @cached_property
    def _val(self) -> frozenset[str]:
        """The ids of val, in the protocol 7:1:2."""
        found = list(listing(self._root, "test"))
        log.info("looking for near-duplicates among %d pictures of the test folder", len(found))
        groups = self._groups([folder.path(self._root) / name for folder, name in found])
        labels, names = [folder.label for folder, _ in found], [name for _, name in found]
        is_val = carve(labels, names, groups)
        return frozenset(_id(*item) for item, inside in zip(found, is_val, strict=True) if inside)

    def _near_groups(self, paths: Sequence[Path]) -> Sequence[int]:
        from mien.data.audit.near_duplicates import group_near_duplicate_files

        return group_near_duplicate_files(paths, cache=self.cache)


def _id(folder: ClassFolder, name: str) -> str:
    return f"{folder.split}/{folder.name}/{name}"
