"""EMOTIC: people in everyday photographs, 26 labels of apparent emotion, valence, arousal and dominance.

In: the official tree, or the CSV or `.npy` form that circulates. Out: records with every annotator's word.
Knows nothing about the files' inner form: see `emotic_mat`, `emotic_csv`, `emotic_npy`.

23,571 images, 34,320 people; one annotator in train, several in val and test. What trips people up:

- A val score is no test score: val has more annotators a person, hence more labels, hence more chance hits.
- `image_size` by position is (row, col) in `emodb_small` and (col, row) elsewhere; boxes clipped by it are
  wrong. Boxes are taken as they are here, and never clipped: marking a picture clips to the real one.
- Some people have no dimensions. They stay, with none; published sizes leave them out (`drop_without_vad`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from mien.data.dataset import Component, Dataset, DatasetCard, Record
from mien.data.emotic.csv_reader import read_csv
from mien.data.emotic.files import ACCESS, ANNOTATIONS, Found, find, picture_globs
from mien.data.emotic.mat_file import has_checksums
from mien.data.emotic.mat_reader import read_mat
from mien.data.emotic.mat_subprocess import read_mat_apart
from mien.data.emotic.npy_reader import Contexts, array_path, contexts_stamp, read_npy
from mien.data.emotic.table import PEOPLE_VERSION, People, merge
from mien.data.emotic.targets import Vote, opinion, unite, votes_of
from mien.data.table_cache import Tables
from mien.digests import digest
from mien.errors import ConfigError, DataError
from mien.labels import EMOTIC, LabelSet
from mien.recipe import DataOptions, Options
from mien.types import Box, Problem, Sample, Subject, Target

__all__ = ["Emotic", "EmoticOptions"]

_SPLITS: Final = ("train", "val", "test")
_SOURCES: Final = ("mscoco", "framesdb", "emodb_small", "ade20k")


class EmoticOptions(Options):
    """`[data.options]` of EMOTIC. `form`: which annotation files to read; "auto": the best that are there.

    `target`: "combined", the union of the annotators' labels and the mean of their dimensions; "majority",
    the labels that more than half of them ticked, or the most ticked ones where none is, and the mean;
    "annotator", a sample for each of them who ticked a label, with `@annotator-k` (from 0) after its id.
    `drop_without_vad`: leaves out samples without dimensions, as published results do (23,266 / 3,315 /
    7,203). `images`: the folder that holds `mscoco/images` and the others, relative to root.
    """

    form: Literal["auto", "mat", "csv", "npy"] = "auto"
    target: Literal["combined", "majority", "annotator"] = "combined"
    drop_without_vad: bool = False
    images: Path | None = None


class Emotic(Dataset):
    """EMOTIC (Kosti, Alvarez, Recasens, Lapedriza; CVPR 2017, TPAMI 2019); `data.root` is its folder.

    A subject is called `{split}/{folder}/{filename}#{person}`, the picture's people counted from 0. Gender
    and age are in a record's attributes for audits, and in no sample. The `.npy` form has no boxes.
    """

    card = DatasetCard(
        name="emotic",
        title="EMOTIC: emotions in context",
        license="non-commercial research and education, by request; the photographs belong to their owners",
        homepage="https://s3.sunai.uoc.edu/emotic/index.html",
        task="26 labels of apparent emotion, any number a person; valence, arousal, dominance of 1 to 10",
        access=ACCESS,
        components=(
            Component(name="annotations", globs=ANNOTATIONS),
            *(Component(name=f"pictures of {source}", globs=picture_globs(source)) for source in _SOURCES),
        ),
        # Those with dimensions, as they are counted in the literature; a few have none.
        num_subjects={"train": 23_266, "val": 3_315, "test": 7_203},
    )

    def __init__(self, options: DataOptions, cache: Path) -> None:
        super().__init__(options, cache)
        self._options = EmoticOptions.parse(options.options, where="[data.options] of emotic")
        if options.root is None:
            raise DataError("no folder of EMOTIC is named", hint=f"set data.root to it, or {ACCESS}")
        found = find(options.root, self._options.form)
        if found.form != "mat" and self._options.target != "combined":
            raise ConfigError(
                f"target = {self._options.target!r} needs every annotator's word, and the form {found.form} "
                "has only their union",
                hint='use Annotations.mat, or target = "combined"',
            )
        self._form = found.form
        self._annotations = next(iter(found.files.values())).parent
        own = self._options.images
        self._images = options.root / own if own else _images(options.root, found, cache)
        self._tables = Tables.open(
            cache,
            name="emotic",
            version=PEOPLE_VERSION,
            sources=_sources(found),
            # Problems name pictures' paths.
            options={"form": found.form, "splits": list(found.files), "images": str(self._images)},
            parse=lambda: merge(_parse(found, self._images)),
        )

    @property
    def label_set(self) -> LabelSet:
        return EMOTIC

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in _SPLITS if split in self._tables.splits)

    def problems(self) -> Sequence[Problem]:
        return self._tables.problems()

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        return self._tables.problems(split, unusable=True)

    def _records(self, split: str) -> Iterator[Record]:
        for row, path in self._rows(split):
            votes = votes_of(row)
            opinions = self._opinions(split, votes)
            attributes = {name: row[name] for name in ("gender", "age") if row[name]}
            size = None if row["width"] is None else (row["width"], row["height"])
            for number, sample in self._samples_of(row, split, path, votes):
                own = opinions if number is None else opinions[number : number + 1]
                yield Record(sample=sample, annotations=own, attributes=attributes, size=size)

    def _samples(self, split: str) -> Iterator[Sample]:
        """Without making every annotator's opinion, which would take as long as the rest."""
        for row, path in self._rows(split):
            for _, sample in self._samples_of(row, split, path, votes_of(row)):
                yield sample

    def _rows(self, split: str) -> Iterator[tuple[dict[str, Any], Path]]:
        """People, with their pictures."""
        contexts = Contexts(self._annotations, split, self._images) if self._form == "npy" else None
        folders = _Folders(self._images)
        for row in self._tables.rows(split):
            if contexts is not None:
                contexts.save(row["number"])
            yield row, folders[row["folder"]] / row["name"]

    def _samples_of(
        self, row: Mapping[str, Any], split: str, path: Path, votes: Sequence[Vote]
    ) -> Iterator[tuple[int | None, Sample]]:
        """One sample, or one an annotator with their number."""
        box = None
        if row["left"] is not None:
            box = Box(left=row["left"], top=row["top"], right=row["right"], bottom=row["bottom"])
        name = f"{split}/{row['folder']}/{row['name']}#{row['number']}"
        if self._form == "npy":
            name = f"{split}/{path.stem}"
        for number, target in self._targets(votes):
            if target.dimensions is None and self._options.drop_without_vad:
                continue
            own = name if number is None else f"{name}@annotator-{number}"
            yield number, Sample(subject=Subject.still(own, path, box), target=target, split=split)

    def _targets(self, votes: Sequence[Vote]) -> Iterator[tuple[int | None, Target]]:
        if self._options.target != "annotator":
            yield None, unite(votes, majority=self._options.target == "majority")
            return
        for number, (bits, steps) in enumerate(votes):
            if bits:
                yield number, opinion(bits, steps)

    def _opinions(self, split: str, votes: Sequence[Vote]) -> tuple[Target, ...]:
        """None from the forms that have the union only; in train that is a single annotator's word."""
        known = self._form == "mat" or split == "train"
        return tuple(opinion(*vote) for vote in votes) if known else ()


class _Folders(dict[str, Path]):
    """Paths of the few folders below one, each made once: making them is a tenth of the time of reading."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, name: str) -> Path:
        self[name] = self._root / name
        return self[name]


def _images(root: Path, found: Found, cache: Path) -> Path:
    """Where the pictures are; those of the arrays get a folder for just these arrays."""
    if found.form != "npy":
        return root / "emotic" if (root / "emotic").is_dir() else root
    stamps = {split: contexts_stamp(path.parent, split) for split, path in found.files.items()}
    return cache / "emotic-npy" / digest(stamps)[:20]


def _sources(found: Found) -> list[Path]:
    """What the table depends on."""
    if found.form != "npy":
        return list(found.files.values())
    return [
        array_path(path.parent, split, what)
        for split, path in found.files.items()
        for what in ("cat", "cont")
    ]


def _parse(found: Found, images: Path) -> Iterator[People]:
    match found.form:
        case "mat":
            path = found.files[""]
            read = read_mat if has_checksums(path) else read_mat_apart
            yield from read(path, images=images)
        case "csv":
            for split, path in found.files.items():
                yield read_csv(path, split=split, images=images)
        case "npy":
            for split, path in found.files.items():
                yield read_npy(path.parent, split=split, images=images)
