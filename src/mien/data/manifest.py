"""Any folder of photos as a data set: a JSONL, CSV or Parquet file with a row a person.

In: rows with `image` (relative to the file), and optionally `id`, `box` [left, top, right, bottom] in
pixels, `labels` (names, or name to score), `dimensions` or `valence`/`arousal`/`dominance` in 0..1, `split`.
Out: samples in the file's order, read as a stream. Knows nothing about what the pictures show; they are not
opened here.

In CSV, `box` is "left,top,right,bottom" and `labels` are "A|B" (both may also be JSON). A row without a
split belongs to the split "all".
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

from pydantic import Field

from mien.data.dataset import Card, Dataset
from mien.digests import digest
from mien.errors import ManifestError, MienError
from mien.labels import LABEL_SETS, LabelSet, label_set
from mien.options import Options
from mien.recipe import DataOptions
from mien.types import DIMENSIONS, Box, Sample, Subject, Target

_COLUMNS: Final = frozenset({"id", "image", "box", "labels", "dimensions", "split", *DIMENSIONS})
_NO_SPLIT: Final = "all"
_EXAMPLE: Final = (
    'a row looks like {"image": "photo.jpg", "box": [10, 20, 90, 200], "labels": ["Peace"], "split": "test"}'
)
Row = Mapping[str, Any]


class ManifestOptions(Options):
    """`[data.options]` of a manifest. `labels`: the names of a label set of one's own, in order; empty:
    that of
    `data.label_set`. `exclusive`: exactly one of them holds."""

    labels: tuple[str, ...] = ()
    exclusive: bool = False
    limit: int | None = Field(default=None, gt=0)  # the first so many rows of every split, for a trial run
    val_share: float = Field(
        default=0.0, ge=0, lt=1
    )  # of train's pictures, told off as "val" by their name's hash


class Manifest(Dataset):
    """Photos of the user's own; `data.root` is the file.

    With `val_share`, and no "val" in the file, a lot that depends on the picture's name alone moves that
    share of train to val: people of one photo stay together, and rows added later move nobody.
    """

    card = Card(
        name="manifest",
        title="photos listed in a file of the user's own",
        licence="the user's",
        homepage="",
        task="whatever its labels say",
    )

    def __init__(self, options: DataOptions, cache: Path) -> None:
        del cache  # nothing here is worth keeping twice
        self._options = ManifestOptions.parse(options.options, where="[data.options] of manifest")
        if options.root is None:
            raise ManifestError(
                "no manifest is named", hint="set data.root to a .jsonl, .csv or .parquet file"
            )
        self._path = options.root
        own = self._options.labels
        self._label_set = (
            LabelSet(name=_own_name(options.label_set), labels=own, exclusive=self._options.exclusive)
            if own
            else label_set(options.label_set)
        )
        share = self._options.val_share
        has_val = share > 0 and any(row.get("split") == "val" for _, row in self._rows())
        self._val_share = 0.0 if has_val else share
        self._splits = self._scan()

    @property
    def label_set(self) -> LabelSet:
        return self._label_set

    @property
    def splits(self) -> tuple[str, ...]:
        return self._splits

    def _samples(self, split: str) -> Iterator[Sample]:
        rows = ((number, row) for number, row in self._rows() if self._split(row) == split)
        for number, row in islice(rows, self._options.limit):
            yield self._sample(number, row)

    def _scan(self) -> tuple[str, ...]:
        """The splits in the order they first occur; every row is checked once, and no id may stand twice."""
        splits: dict[str, None] = {}
        ids: dict[str, int] = {}
        for number, row in self._rows():
            sample = self._sample(number, row)
            splits[sample.split] = None
            if sample.subject.id in ids:
                first = ids[sample.subject.id]
                raise self._error(
                    number,
                    f"the id {sample.subject.id!r} stands in row {first} already",
                    "give each row its own id",
                )
            ids[sample.subject.id] = number
        if not splits:
            raise ManifestError(f"{self._path} has no rows", hint=_EXAMPLE)
        return tuple(splits)

    def _rows(self) -> Iterator[tuple[int, Row]]:
        """Numbered from 1, as an editor numbers lines (the header of a CSV counts)."""
        if not self._path.is_file():
            raise ManifestError(
                f"no manifest at {self._path}", hint="set data.root to a .jsonl, .csv or .parquet file"
            )
        readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
        suffix = self._path.suffix.lower()
        if suffix not in readers:
            raise ManifestError(
                f"{self._path} is no manifest: its ending is {suffix!r}",
                hint=f"use one of {', '.join(readers)}",
            )
        return self._readable(readers[suffix](self._path))

    def _readable(self, rows: Iterator[tuple[int, Row]]) -> Iterator[tuple[int, Row]]:
        """The rows; what the file system, the encoding or the CSV reader objects to, as a ManifestError."""
        try:
            yield from rows
        except UnicodeDecodeError as error:
            raise ManifestError(f"{self._path} is not UTF-8: {error}", hint="save it as UTF-8") from error
        except (csv.Error, OSError) as error:
            raise ManifestError(
                f"{self._path} cannot be read: {error}", hint="write the file again"
            ) from error

    def _error(self, number: int, message: str, hint: str = _EXAMPLE) -> ManifestError:
        return ManifestError(f"{self._path}, row {number}: {message}", hint=hint)

    def _sample(self, number: int, row: Row) -> Sample:
        unknown = set(row) - _COLUMNS
        if unknown:
            raise self._error(
                number, f"unknown column {sorted(unknown)[0]!r}", f"columns are {', '.join(sorted(_COLUMNS))}"
            )
        image = row.get("image")
        if not isinstance(image, str) or not image:
            raise self._error(number, "no image is named")
        try:
            box = _box(row.get("box"))
            subject = Subject.still(_id(row, f"{image}#{number}"), self._path.parent / image, box)
            target = self._target(row)
        except MienError as error:
            raise self._error(number, str(error), error.hint or _EXAMPLE) from error
        except (TypeError, ValueError) as error:
            raise self._error(number, str(error)) from error
        return Sample(subject=subject, target=target, split=self._split(row))

    def _split(self, row: Row) -> str:
        split = str(row.get("split") or _NO_SPLIT)
        if split != "train" or not self._val_share:
            return split
        lot = int(digest(str(row.get("image")))[:8], 16) / 16**8
        return "val" if lot < self._val_share else split

    def _target(self, row: Row) -> Target | None:
        """None where a row has no labels: then it is for prediction only."""
        labels = _labels(row.get("labels"))
        if labels is None:
            return None
        for name in labels:
            self._label_set.index(name)
        return Target(labels=labels, dimensions=_dimensions(row))


def _own_name(name: str) -> str:
    """Labels of one's own never go by the name of a known set."""
    return "own" if name in LABEL_SETS else name


def _id(row: Row, default: str) -> str:
    given = row.get("id")
    return default if given is None or given == "" else str(given)


def _from_text(value: Any) -> Any:
    """A cell of a CSV that holds JSON, as JSON; anything else as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        return json.loads(value)
    return value


def _box(value: Any) -> Box | None:
    value = _from_text(value)
    if value is None or value == "":
        return None
    edges = value.split(",") if isinstance(value, str) else value
    if len(edges) != len(("left", "top", "right", "bottom")):
        raise ValueError(f"a box has 4 edges, this one has {len(edges)}")
    left, top, right, bottom = (float(edge) for edge in edges)
    return Box(left=left, top=top, right=right, bottom=bottom)


def _labels(value: Any) -> dict[str, float] | None:
    value = _from_text(value)
    if value is None or value == "":
        return None
    if isinstance(value, Mapping):
        return {str(name): float(score) for name, score in value.items() if score is not None}
    names = value.split("|") if isinstance(value, str) else value
    return {str(name).strip(): 1.0 for name in cast("Iterable[object]", names)}


def _dimensions(row: Row) -> dict[str, float] | None:
    """All three or none."""
    table = _from_text(row.get("dimensions")) or {name: row.get(name) for name in DIMENSIONS}
    given = {name: value for name, value in table.items() if value not in (None, "")}
    return {name: float(value) for name, value in given.items()} if given else None


def _read_jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ManifestError(f"{path}, row {number}: not JSON: {error}", hint=_EXAMPLE) from error
            if not isinstance(row, dict):
                raise ManifestError(f"{path}, row {number}: not a JSON object", hint=_EXAMPLE)
            yield number, row


def _read_csv(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        for row in reader:
            if None in row:
                raise ManifestError(
                    f"{path}, row {reader.line_num}: more cells than the header has",
                    hint="quote cells that hold commas",
                )
            yield reader.line_num, row


def _read_parquet(path: Path) -> Iterator[tuple[int, Row]]:
    import pyarrow
    from pyarrow import parquet

    try:
        batches = parquet.ParquetFile(path).iter_batches(batch_size=1024)
        number = 0
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        raise ManifestError(
            f"{path} cannot be read as Parquet: {error}", hint="write the file again"
        ) from error
