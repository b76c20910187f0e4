"""Your own images or clips as a dataset, listed in a file or folder.

`data.root` is one of:

- a JSONL, CSV or Parquet file, or a JSON array, with one row per image or person (see below),
- a COCO JSON document with `images`, `annotations` and person boxes (see `coco`),
- a Hugging Face `datasets` folder, Arrow or Parquet (see `hf_folder`).

Samples are streamed in the file's order. Images are not opened here.

A row has `image` (a path relative to the file) and optionally `id`, `box` [left, top, right, bottom] in
pixels, `labels` (names, or scores by name), `dimensions` or `valence`/`arousal`/`dominance` in 0..1, `split`,
and `size` [width, height], which audits check. `people` is a list of objects, each with its own `id`, `box`,
`labels` and dimensions. A row of a clip has `clip` (or an `image` with a clip's suffix). To choose frames, it
has `frames` (a list), or `first_frame` and `last_frame`, between which `num_frames` are spread; without
either, they are spread over the whole clip. `box` applies to all frames; `boxes` has one box (or null) for
each of `frames`, or for each frame of the range.

In CSV, `box` is "left,top,right,bottom" and `labels` is "A|B"; every cell may also be JSON. A row without a
split belongs to the split "all". An unusable row is a problem; `data.skip_broken` decides whether it is
skipped or an error.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from pydantic import Field

from mien.data.dataset import Dataset, DatasetCard, Record
from mien.data.manifest.cells import RowError
from mien.data.manifest.coco import CocoReader, describe_left_out
from mien.data.manifest.embedded_images import EmbeddedImages
from mien.data.manifest.hf_folder import HfFolderReader
from mien.data.manifest.readers import (
    EXAMPLE,
    READERS,
    Cells,
    ManifestRow,
    json_form,
    read_json_array,
)
from mien.data.manifest.row_parser import RowParser, image_name, split_spelling
from mien.data.text_files import require_regular_file
from mien.digests import digest
from mien.errors import ManifestError
from mien.labels import LABEL_SETS, LabelSet, label_set
from mien.recipe import DataOptions, Options
from mien.recipe.split_names import fold_split, fold_splits
from mien.types import Problem

__all__ = ["Manifest", "ManifestOptions"]

log = logging.getLogger(__name__)

_DEFAULT_SPLIT: Final = "all"
_TRAIN: Final = "train"
_MAX_SPLITS: Final = 1_000  # each is counted, shown and resolved on its own
_FORMATS: Final = "a .jsonl, .csv, .tsv, .parquet or .json file, or a Hugging Face datasets folder"


class ManifestOptions(Options):
    """`[data.options]` of a manifest.

    Attributes:
        labels: A custom label set, in order; empty to use `data.label_set`.
        exclusive: Exactly one label of the custom set holds.
        limit: How many people to take from each split, for a trial run.
        val_share: Share of the training images to hold out for validation, chosen by a hash of the file name.
        images: Folder that image paths are relative to, itself relative to the manifest's folder.
        ignore: Columns to ignore.
        num_frames: How many frames to take of a clip.
        categories: Categories of a COCO document that are people.
    """

    labels: tuple[str, ...] = ()
    exclusive: bool = False
    limit: int | None = Field(default=None, gt=0)
    val_share: float = Field(default=0.0, ge=0, lt=1)
    images: Path = Path()
    ignore: tuple[str, ...] = ()
    num_frames: int = Field(default=8, gt=0)
    categories: tuple[str, ...] = Field(default=("person",), min_length=1)


@dataclass(frozen=True, slots=True)
class _RowProblems:
    """Problems with the split of their row (None if unknown), and the people whose id repeats another's.

    `repeated`: (row number, location of the person).
    """

    problems: tuple[tuple[str | None, Problem], ...]
    repeated: frozenset[tuple[int, str]]


class Manifest(Dataset):
    """Your own photos and clips; `data.root` is the file or folder that lists them.

    `val_share` applies only if the file has no split "val". It moves that share of the training images to
    "val", chosen by a hash of the image's name (of its bytes, if they are embedded). So people in one image
    stay together, and adding rows moves no one else.
    """

    card = DatasetCard(
        name="manifest",
        title="photos listed in your own file",
        license="yours",
        homepage="",
        task="defined by your labels",
    )

    def __init__(self, options: DataOptions, cache: Path) -> None:
        super().__init__(options, cache)
        self._options = ManifestOptions.parse(options.options, where="[data.options] of manifest")
        if options.root is None:
            raise ManifestError("no manifest is named", hint=f"set data.root to {_FORMATS}")
        self._path = options.root
        self._label_set = _resolve_label_set(options.label_set, self._options)
        self._read = _select_reader(self._path, self._options, cache)
        folder = self._path if self._path.is_dir() else self._path.parent
        self._parser = RowParser(
            label_set=self._label_set,
            folder=folder / self._options.images,
            embedded=EmbeddedImages(cache / "pictures"),
            num_frames=self._options.num_frames,
            ignore=frozenset(self._options.ignore),
            # Unlike a list of your own, such a folder comes from others, and is complete.
            only_below=self._path.is_dir(),
        )
        self._names: dict[str, str] = {}
        self._found: _RowProblems | None = None
        self._val_share, self._splits = self._find_splits()

    @property
    def label_set(self) -> LabelSet:
        return self._label_set

    @property
    def splits(self) -> tuple[str, ...]:
        return self._splits

    def problems(self) -> Sequence[Problem]:
        return [problem for _, problem in self._row_problems.problems]

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        """Includes rows that cannot be parsed, because they may belong to any split."""
        return [problem for own, problem in self._row_problems.problems if own in (split, None)]

    def all_records(self) -> Iterator[tuple[str, Record]]:
        """In the file's order; reads the file once, and finds its problems on the way."""
        counts: Counter[str] = Counter()
        limit = self._options.limit
        for record in self._scan():
            split = record.sample.split
            if limit is not None:
                counts[split] += 1
                if counts[split] > limit:
                    continue
            yield split, record

    def _records(self, split: str) -> Iterator[Record]:
        repeated = self._row_problems.repeated
        records = (
            result
            for row in self._read()
            if self._split(row) == split
            for location, result in self._parser.parse(row, split)
            if isinstance(result, Record) and (row.number, location) not in repeated
        )
        return islice(records, self._options.limit)

    def _find_splits(self) -> tuple[float, tuple[str, ...]]:
        """The share of images to hold out for validation, and the splits in order of first occurrence."""
        share, is_empty = self._options.val_share, True
        in_file: dict[str, None] = {}
        with_holdout: dict[str, None] = {}
        exported: set[str] = set()
        for row in self._read():
            is_empty = False
            spelling = _spelling(row)
            if row.cells is None or spelling is None:
                continue
            in_file[spelling] = None
            if len(in_file) > _MAX_SPLITS:
                raise ManifestError(
                    f"{self._path} names more than {_MAX_SPLITS:,} splits, such as {spelling!a}",
                    hint="a split has many people; check what the column split holds",
                )
            if "images" in row.cells:
                exported.add(spelling)
            held_out = share and fold_split(spelling) == _TRAIN and _is_held_out(row.cells, share)
            with_holdout["val" if held_out else spelling] = None
        if is_empty:
            raise ManifestError(f"{self._path} has no rows", hint=EXAMPLE)
        # Names that mien itself wrote are exact.
        self._names = fold_splits(name for name in in_file if name not in exported)
        _say_folded(self._path, self._names)
        self._names |= {name: name.strip() for name in exported}
        splits = tuple(dict.fromkeys(self._names[spelling] for spelling in in_file))
        if share and "val" not in splits:
            return share, tuple(dict.fromkeys(self._names.get(name, name) for name in with_holdout))
        return 0.0, splits or (_DEFAULT_SPLIT,)

    @property
    def _row_problems(self) -> _RowProblems:
        if self._found is None:
            deque(self._scan(), maxlen=0)
        assert self._found is not None
        return self._found

    def _scan(self) -> Iterator[Record]:
        """The usable records of all splits; at the end, the problems are known."""
        problems: list[tuple[str | None, Problem]] = []
        first_locations: dict[str, str] = {}
        repeated = set()
        for row in self._read():
            split = self._split(row)
            for location, result in self._parser.parse(row, split):
                if isinstance(result, Problem):
                    problems.append((split, result))
                    continue
                subject_id = result.sample.subject.id
                first = first_locations.setdefault(subject_id, location)
                if first is location:
                    yield result
                    continue
                message = f"the id {subject_id!r} is already used in {first}"
                problem = Problem(kind="repeated_id", file=f"{row.file}, {location}", message=message)
                problems.append((split, problem))
                repeated.add((row.number, location))
        self._found = _RowProblems(tuple(problems), frozenset(repeated))

    def _split(self, row: ManifestRow) -> str | None:
        """The split of a row; None if it cannot be known."""
        spelling = _spelling(row)
        if row.cells is None or spelling is None:
            return None
        split = self._names[spelling]
        return "val" if split == _TRAIN and _is_held_out(row.cells, self._val_share) else split


def _resolve_label_set(name: str, options: ManifestOptions) -> LabelSet:
    """Custom labels never use the name of a built-in set."""
    if not options.labels:
        return label_set(name)
    own = "own" if name in LABEL_SETS else name
    return LabelSet(name=own, labels=options.labels, exclusive=options.exclusive)


def _select_reader(path: Path, options: ManifestOptions, cache: Path) -> Callable[[], Iterator[ManifestRow]]:
    """A function that reads the rows from the start each time it is called."""
    ignore = frozenset(options.ignore)
    if path.is_dir():
        return HfFolderReader(path, ignore).rows
    if not path.exists():
        raise ManifestError(f"no manifest at {path}", hint=f"set data.root to {_FORMATS}")
    require_regular_file(path)
    suffix = path.suffix.lower()
    form = json_form(path) if suffix == ".json" else None
    if form == "document":
        coco = CocoReader(path, categories=options.categories, cache=cache)
        if coco.left_out:
            log.warning("%s: %s", path, describe_left_out(coco.left_out))
        return coco.rows
    readers = {**READERS, ".json": read_json_array if form == "array" else READERS[".jsonl"]}
    if suffix not in readers:
        raise ManifestError(
            f"{path} is not a manifest: its suffix is {suffix!r}", hint=f"use one of {', '.join(readers)}"
        )
    read = readers[suffix]
    return lambda: read(path, ignore)


def _spelling(row: ManifestRow) -> str | None:
    """The split as the row spells it; None if the row or the cell cannot be read."""
    if row.cells is None:
        return None
    try:
        return split_spelling(row.cells) or _DEFAULT_SPLIT
    except RowError:
        return None


def _say_folded(path: Path, names: Mapping[str, str]) -> None:
    """One line about all splits that are not spelled as their names."""
    folded: dict[str, list[str]] = {}
    for spelling, name in names.items():
        if spelling != name:
            folded.setdefault(name, []).append(repr(spelling))
    if folded:
        said = "; ".join(f"{', '.join(spellings)} as {name}" for name, spellings in folded.items())
        log.warning("%s: splits are read by their usual names: %s", path, said)


def _is_held_out(cells: Cells, share: float) -> bool:
    """Whether a training image is among the share that is held out for validation."""
    return bool(share) and int(digest(image_name(cells))[:8], 16) / 16**8 < share
