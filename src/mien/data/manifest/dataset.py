"""Any folder of photos or clips as a data set, by a file or folder that lists them.

In: `data.root`, which is one of
- a JSONL, CSV or Parquet file, or a JSON array, with a row a photo or a person (see below),
- a JSON document as COCO's, with `images`, `annotations` and person boxes (see `coco`),
- a Hugging Face `datasets` folder, Arrow or Parquet (see `hf_folder`).
Out: samples in the file's order, read as a stream. Knows nothing about what the pictures show; they are not
opened here.

A row has `image` (a path relative to the file) and optionally `id`, `box` [left, top, right, bottom] in
pixels, `labels` (names, or name to score), `dimensions` or `valence`/`arousal`/`dominance` in 0..1, `split`,
and `size` [width, height], which is checked. `people` is a list of objects with `id`, `box`, `labels` and
dimensions of their own. A row of a clip has `clip` (or an `image` that ends like one), and `frames` (a list),
or `first_frame` and `last_frame`, over which `num_frames` are spread, or none of these, which is all of it;
`box` is for all frames, `boxes` has one (or null) for each of `frames`, or for each frame of the range.

In CSV, `box` is "left,top,right,bottom" and `labels` are "A|B"; every cell may also be JSON. A row without a
split belongs to the split "all". A row that cannot be used is a problem; it is kept out or an error, as
`data.skip_broken` says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Final

from pydantic import Field

from mien.data.dataset import Dataset, DatasetCard, Record
from mien.data.manifest.coco import Coco
from mien.data.manifest.embedded_images import Embedded
from mien.data.manifest.hf_folder import HfFolder
from mien.data.manifest.people import People, Row, picture_name
from mien.data.manifest.readers import EXAMPLE, READERS, Line, array_rows, is_array, readable
from mien.digests import digest
from mien.errors import ManifestError
from mien.labels import LABEL_SETS, LabelSet, label_set
from mien.recipe import DataOptions, Options
from mien.types import Problem

__all__ = ["Manifest", "ManifestOptions"]

log = logging.getLogger(__name__)

_NO_SPLIT: Final = "all"
_FORMS: Final = "a .jsonl, .csv, .parquet or .json file, or a Hugging Face datasets folder"


class ManifestOptions(Options):
    """`[data.options]` of a manifest.

    `labels`: the names of a label set of one's own, in order; empty: that of `data.label_set`. `exclusive`:
    exactly one of them holds. `images`: the folder that pictures' paths are relative to, itself relative to
    the manifest's. `ignore`: columns that are not looked at. `num_frames`: how many of a clip are taken.
    `categories`: those of a COCO document that count as people.
    """

    labels: tuple[str, ...] = ()
    exclusive: bool = False
    limit: int | None = Field(default=None, gt=0)  # the first so many people of every split, for a trial run
    val_share: float = Field(default=0.0, ge=0, lt=1)  # of train's pictures, told off by their name's hash
    images: Path = Path()
    ignore: tuple[str, ...] = ()
    num_frames: int = Field(default=8, gt=0)
    categories: tuple[str, ...] = Field(default=("person",), min_length=1)


class Manifest(Dataset):
    """Photos and clips of the user's own; `data.root` is the file or folder that lists them.

    With `val_share`, and no "val" in the file, a lot that depends on the picture's name alone (on its bytes,
    where they are in the table) moves that share of train to val: people of one photo stay together, and
    rows added later move nobody.
    """

    card = DatasetCard(
        name="manifest",
        title="photos listed in a file of the user's own",
        license="the user's",
        homepage="",
        task="whatever its labels say",
    )

    def __init__(self, options: DataOptions, cache: Path) -> None:
        super().__init__(options, cache)
        self._options = ManifestOptions.parse(options.options, where="[data.options] of manifest")
        if options.root is None:
            raise ManifestError("no manifest is named", hint=f"set data.root to {_FORMS}")
        self._path = options.root
        self._label_set = _label_set(options.label_set, self._options)
        self._read = _reader(self._path, self._options, cache)
        folder = self._path if self._path.is_dir() else self._path.parent
        self._people = People(
            label_set=self._label_set,
            folder=folder / self._options.images,
            embedded=Embedded(cache / "pictures"),
            num_frames=self._options.num_frames,
            ignore=frozenset(self._options.ignore),
        )
        self._val_share, self._splits = self._survey()

    @property
    def label_set(self) -> LabelSet:
        return self._label_set

    @property
    def splits(self) -> tuple[str, ...]:
        return self._splits

    def problems(self) -> Sequence[Problem]:
        return [problem for _, problem in self._found[0]]

    def unusable_rows(self, split: str) -> Sequence[Problem]:
        """A row that cannot be made out may have been of any split."""
        return [problem for own, problem in self._found[0] if own in (split, None)]

    def _records(self, split: str) -> Iterator[Record]:
        repeated = self._found[1]
        people = (
            found
            for line in self._lines()
            if line.row is not None and self._split(line.row) == split
            for place, found in self._people.read(line, split)
            if isinstance(found, Record) and (line.number, place) not in repeated
        )
        return islice(people, self._options.limit)

    def _survey(self) -> tuple[float, tuple[str, ...]]:
        """The share of val that is to be told off, and the splits in the order they first occur."""
        share, is_empty = self._options.val_share, True
        own: dict[str, None] = {}
        told_off: dict[str, None] = {}
        for line in self._lines():
            is_empty = False
            if line.row is not None:
                own[_own_split(line.row)] = None
                told_off[_split(line.row, share)] = None
        if is_empty:
            raise ManifestError(f"{self._path} has no rows", hint=EXAMPLE)
        if share and "val" not in own:
            return share, tuple(told_off)
        return 0.0, tuple(own) or (_NO_SPLIT,)

    @cached_property
    def _found(self) -> tuple[list[tuple[str | None, Problem]], frozenset[tuple[int, str]]]:
        """The problems with the split of their row, and the people whose id was somebody's before."""
        problems: list[tuple[str | None, Problem]] = []
        places: dict[str, str] = {}
        repeated = set()
        for line in self._lines():
            split = None if line.row is None else self._split(line.row)
            for place, found in self._people.read(line, split or _NO_SPLIT):
                if isinstance(found, Problem):
                    problems.append((split, found))
                    continue
                name = found.sample.subject.id
                if name in places:
                    file, message = (
                        f"{line.file}, {place}",
                        f"the id {name!r} stands in {places[name]} already",
                    )
                    problems.append((split, Problem(kind="repeated_id", file=file, message=message)))
                    repeated.add((line.number, place))
                places.setdefault(name, place)
        return problems, frozenset(repeated)

    def _lines(self) -> Iterator[Line]:
        return readable(self._path, self._read())

    def _split(self, row: Row) -> str:
        return _split(row, self._val_share)


def _label_set(name: str, options: ManifestOptions) -> LabelSet:
    """Labels of one's own never go by the name of a known set."""
    if not options.labels:
        return label_set(name)
    own = "own" if name in LABEL_SETS else name
    return LabelSet(name=own, labels=options.labels, exclusive=options.exclusive)


def _reader(path: Path, options: ManifestOptions, cache: Path) -> Callable[[], Iterator[Line]]:
    """What reads the rows, each time it is called, from whatever the path is."""
    if path.is_dir():
        return HfFolder(path).lines
    if not path.is_file():
        raise ManifestError(f"no manifest at {path}", hint=f"set data.root to {_FORMS}")
    suffix = path.suffix.lower()
    if suffix == ".json" and not is_array(path):
        coco = Coco(path, categories=options.categories, cache=cache)
        for reason, count in coco.left_out.items():
            log.warning("%s: %d annotations are left out: %s", path, count, reason)
        return coco.lines
    readers = {**READERS, ".json": array_rows}
    if suffix not in readers:
        raise ManifestError(
            f"{path} is no manifest: its ending is {suffix!r}", hint=f"use one of {', '.join(readers)}"
        )
    read = readers[suffix]
    return lambda: read(path)


def _own_split(row: Row) -> str:
    return str(row.get("split") or _NO_SPLIT)


def _split(row: Row, val_share: float) -> str:
    split = _own_split(row)
    if split != "train" or not val_share:
        return split
    lot = int(digest(picture_name(row))[:8], 16) / 16**8
    return "val" if lot < val_share else split
