"""The CAER-S dataset: frames of TV shows, one class each, in both protocols that papers use."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from mien.data.caers.face_boxes import FaceBoxes, find_face_lists, read_face_boxes
from mien.data.caers.folders import SPLIT_FOLDERS, ClassFolder, LocatedProblem, folder_problems, list_images
from mien.data.dataset import Component, Dataset, DatasetCard, Record
from mien.digests import digest
from mien.errors import DataError
from mien.labels import CAERS, LabelSet
from mien.recipe import DataOptions, Options
from mien.types import Problem, Sample, Subject, Target

__all__ = ["Caers", "CaersOptions", "choose_val_images"]

log = logging.getLogger(__name__)

_ACCESS: Final = "request it at https://caer-dataset.github.io, for non-commercial research"
# The folder that a split is taken from.
_FOLDER_OF: Final = {"train": "train", "val": "test", "test": "test"}

# Returns a group number for each image; near-duplicates share one. See `mien.data.audit.near_duplicates`.
GroupImages = Callable[[Sequence[Path]], Sequence[int]]


class CaersOptions(Options):
    """`[data.options]` of CAER-S.

    Attributes:
        protocol: "official" (train and test, 70:30), or "7:1:2", which takes val from the test folder.
        faces: Lists of face boxes, or folders of such lists, relative to the root.
    """

    protocol: Literal["official", "7:1:2"] = "official"
    faces: Path | tuple[Path, ...] | None = None


class Caers(Dataset):
    """CAER-S: about 70,000 frames of 79 TV shows, with one of 7 classes of apparent emotion each.

    Lee, Kim, Kim, Park, Sohn: "Context-Aware Emotion Recognition Networks", ICCV 2019. Available on request,
    for non-commercial research.

    `data.root` holds `train/<Class>/NNNN.png` and `test/<Class>/NNNN.png`.

    - **Protocols.** The release has no val. "official" is its own train and test (70:30). "7:1:2" moves a
      third of each class of the test folder to val (`choose_val_images`). Train is the same in both.
    - **Near-duplicates.** The frames come from few shows. There are exact duplicates and neighboring frames
      in train and test, so scores are higher than on unseen shows. "7:1:2" keeps near-duplicates together in
      val or test; for that, it opens every image of the test folder once.
    - **Boxes.** The release has none. Lists of face boxes are in circulation (option `faces`); they are not
      clipped here.
    - **Ids** are paths relative to the root, because file names (`0001.png`) repeat in every class.
    - **Other files.** Hidden files, `Thumbs.db` and the like are ignored. Other files that are not images,
      and folders that are not classes, are reported.

    Args:
        group_images: Finds near-duplicates for "7:1:2". By default they are found by image content.
    """

    card = DatasetCard(
        name="caers",
        title="CAER-S, about 70,000 frames of 79 TV shows",
        license="non-commercial research; the shows belong to their makers",
        homepage="https://caer-dataset.github.io",
        task="one of 7 classes of apparent emotion per frame; no boxes",
        access=_ACCESS,
        components=(
            Component(name="training frames, one folder per class", globs=("train/*/*",)),
            Component(name="test frames, one folder per class", globs=("test/*/*",)),
        ),
    )

    def __init__(self, options: DataOptions, cache: Path, *, group_images: GroupImages | None = None) -> None:
        super().__init__(options, cache)
        self._options = CaersOptions.parse(options.options, where="[data.options] of caers")
        self._root = self._require_root("CAER-S")
        self._group_images = group_images or self._group_near_duplicates
        self._folders = [name for name in SPLIT_FOLDERS if (self._root / name).is_dir()]
        if not self._folders:
            raise DataError(
                f"{self._root} has neither a train nor a test folder",
                hint=f"set data.root to the folder that holds them, or {_ACCESS}",
            )

    @property
    def label_set(self) -> LabelSet:
        return CAERS

    @property
    def splits(self) -> tuple[str, ...]:
        order = ("train", "test") if self._options.protocol == "official" else ("train", "val", "test")
        return tuple(split for split in order if _FOLDER_OF[split] in self._folders)

    def problems(self) -> Sequence[Problem]:
        return [item.problem for item in self._problems]

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        """A problem in the test folder counts for both splits that are taken from it."""
        folders = (_FOLDER_OF[split], None)
        return [item.problem for item in self._problems if item.unusable and item.folder in folders]

    def _records(self, split: str) -> Iterator[Record]:
        boxes, unusable_ids = self._faces.boxes, self._faces.unusable_ids
        for folder, name in list_images(self._root, _FOLDER_OF[split]):
            subject_id = _subject_id(folder, name)
            if subject_id in unusable_ids or not self._is_in_split(subject_id, split):
                continue
            subject = Subject.still(subject_id, folder.path(self._root) / name, boxes.get(subject_id))
            target = Target(labels={folder.label: 1.0})
            yield Record(sample=Sample(subject=subject, target=target, split=split))

    def _is_in_split(self, subject_id: str, split: str) -> bool:
        if self._options.protocol == "official" or split == "train":
            return True
        return (subject_id in self._val_ids) == (split == "val")

    @cached_property
    def _problems(self) -> list[LocatedProblem]:
        found = [item for folder in self._folders for item in folder_problems(self._root, folder)]
        return found + self._faces.problems

    @cached_property
    def _faces(self) -> FaceBoxes:
        given = self._options.faces
        if given is None:
            return FaceBoxes()
        paths = (given,) if isinstance(given, Path) else given
        faces = read_face_boxes(self._root, find_face_lists(self._root, paths))
        log.info("%d images have a face box; the others have none", len(faces.boxes))
        return faces

    @cached_property
    def _val_ids(self) -> frozenset[str]:
        """The subjects in val, for the protocol 7:1:2."""
        images = list(list_images(self._root, "test"))
        log.info("looking for near-duplicates among %d images of the test folder", len(images))
        groups = self._group_images([folder.path(self._root) / name for folder, name in images])
        labels, names = [folder.label for folder, _ in images], [name for _, name in images]
        is_val = choose_val_images(labels, names, groups)
        return frozenset(_subject_id(*image) for image, chosen in zip(images, is_val, strict=True) if chosen)

    def _group_near_duplicates(self, paths: Sequence[Path]) -> Sequence[int]:
        # Imported here because it loads numpy, which the official protocol does not need.
        from mien.data.audit.near_duplicates import group_near_duplicate_files

        return group_near_duplicate_files(paths, cache=self.cache)


def _subject_id(folder: ClassFolder, name: str) -> str:
    return f"{folder.split}/{folder.name}/{name}"


# --- Protocol 7:1:2 ----------------------------------------------------------------------------------


def choose_val_images(labels: Sequence[str], names: Sequence[str], groups: Sequence[int]) -> list[bool]:
    """Chooses a third of each class of the test folder for val, in whole groups of near-duplicates.

    The groups of a class are sorted by a digest of their first name, and val takes those that fit into its
    third. A group that spans classes is chosen by its digest alone, before the others, and counts in each of
    its classes. The result does not depend on the order of images, on other classes, or on folder names on
    disk.

    Returns:
        For each image, whether it is in val.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(groups):
        members[number].append(index)
    ordered = sorted(members.values(), key=lambda group: _group_sort_key(labels, names, group))
    mixed = [group for group in ordered if len({labels[index] for index in group}) > 1]
    chosen = [group for group in mixed if int(_group_sort_key(labels, names, group)[0][:8], 16) * 3 < 16**8]
    remaining = {label: round(count / 3) for label, count in Counter(labels).items()}
    for group in chosen:
        for index in group:
            remaining[labels[index]] -= 1
    for group in ordered:
        label = labels[group[0]]
        if len({labels[index] for index in group}) == 1 and len(group) <= remaining[label]:
            remaining[label] -= len(group)
            chosen.append(group)
    val = {index for group in chosen for index in group}
    return [index in val for index in range(len(names))]


def _group_sort_key(
    labels: Sequence[str], names: Sequence[str], group: Sequence[int]
) -> tuple[str, list[str]]:
    """The digest of the group's first name with its class; then all names, in case two digests are equal."""
    own = sorted(f"{labels[index]}/{names[index]}" for index in group)
    return digest(own[0]), own
