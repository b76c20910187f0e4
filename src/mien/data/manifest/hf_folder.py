"""A Hugging Face `datasets` folder as rows of a manifest, without that library.

In: a folder as `save_to_disk` writes it (`dataset_dict.json` or `state.json`, and Arrow streams), or one of
Parquet files whose names tell the split (`data/train-00000-of-00002.parquet`). Out: rows, few at a time.
Knows nothing about what the columns mean but this: `label` is taken for `labels`; where the features say
that a column holds class numbers, they become the classes' names; `validation`, `valid` and `dev` are "val".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.data.manifest.rows import Line, parquet_rows, read_json
from mien.errors import ManifestError

if TYPE_CHECKING:
    import pyarrow

__all__ = ["HfFolder"]

_VAL_NAMES: Final = ("validation", "valid", "dev")
_SHARD: Final = re.compile(r"(?P<split>.+?)-(?P<number>\d{5})-of-(?P<total>\d{5})")
_BATCH: Final = 64  # rows at once: they may hold whole pictures
_FORMS: Final = "dataset_dict.json, state.json, or data/train-00000-of-00001.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    """One file of rows; `split` is empty where nothing tells it, `names` are class names by column."""

    path: Path
    split: str
    names: Mapping[str, Sequence[str]]


class HfFolder:
    """The rows of such a folder, in the order of splits and files."""

    def __init__(self, folder: Path) -> None:
        shards = list(_saved(folder)) or list(_exported(folder))
        if not shards:
            raise ManifestError(f"{folder} holds no data set", hint=f"it should have {_FORMS}")
        self._shards = shards

    def lines(self) -> Iterator[Line]:
        """Rows as a manifest has them; numbers go on from file to file."""
        number = 0
        for shard in self._shards:
            rows = parquet_rows if shard.path.suffix == ".parquet" else _arrow_rows
            for line in rows(shard.path):
                number += 1
                yield replace(line, number=number, row=_row(line.row or {}, shard))


# --- Files -------------------------------------------------------------------------------------------


def _saved(folder: Path) -> Iterator[_Shard]:
    """The Arrow files of `save_to_disk`: of several splits, or of one data set."""
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        for split in _entry(splits, "splits"):
            yield from _saved_split(folder / str(split), str(split))
    elif (folder / "state.json").is_file():
        yield from _saved_split(folder, "")


def _saved_split(folder: Path, split: str) -> Iterator[_Shard]:
    """One split's files; a data set that was saved alone may say which split it is."""
    state = folder / "state.json"
    names = [item.get("filename") for item in _entry(state, "_data_files") if isinstance(item, dict)]
    info = folder / "dataset_info.json"
    features = _features(read_json(info)) if info.is_file() else {}
    split = split or str(read_json(state).get("_split") or "")
    for name in names:
        # A name and no path: the file is not looked for outside of the folder.
        path = folder / Path(str(name)).name
        if not path.is_file():
            raise ManifestError(f"no {path}, which {state} names", hint="copy the folder again")
        yield _Shard(path=path, split=_split_name(split), names=_class_names(features) or _names_in(path))


def _entry(path: Path, key: str) -> list[Any]:
    document = read_json(path)
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise ManifestError(f"{path} has no list {key!r}", hint="save the data set again")
    return found


def _parquet_files(folder: Path) -> list[Path]:
    return sorted((folder / "data").glob("*.parquet")) or sorted(folder.glob("*.parquet"))


def _exported(folder: Path) -> Iterator[_Shard]:
    """The Parquet files of the hub; ManifestError where their names say that one is missing."""
    files = _parquet_files(folder)
    found: dict[tuple[str, int], set[int]] = {}
    for path in files:
        match = _SHARD.match(path.stem)
        if match:
            found.setdefault((match["split"], int(match["total"])), set()).add(int(match["number"]))
        split = match["split"] if match else path.stem
        yield _Shard(path=path, split=_split_name(split), names=_names_in(path))
    for (split, total), numbers in found.items():
        missing = sorted(set(range(total)) - numbers)
        if missing:
            raise ManifestError(
                f"{folder} lacks file {missing[0]:05d} of the {total} of split {split!r}",
                hint="download the data set again",
            )


def _split_name(name: str) -> str:
    return "val" if name in _VAL_NAMES else name


# --- Rows --------------------------------------------------------------------------------------------


def _arrow_rows(path: Path) -> Iterator[Line]:
    import pyarrow

    number = 0
    try:
        with pyarrow.memory_map(str(path)) as source:
            for batch in _open_arrow(source):
                for first in range(0, batch.num_rows, _BATCH):
                    for row in batch.slice(first, _BATCH).to_pylist():
                        number += 1
                        yield Line(file=path, place=f"row {number}", number=number, row=row)
    except (pyarrow.ArrowException, OSError) as error:
        raise ManifestError(f"{path} cannot be read as Arrow: {error}", hint="copy the file again") from error


def _open_arrow(source: pyarrow.MemoryMappedFile) -> Iterator[pyarrow.RecordBatch]:
    """`datasets` writes streams; the other form of Arrow files begins with its name."""
    from pyarrow import ipc

    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    if not is_file:
        yield from ipc.open_stream(source)
        return
    reader = ipc.open_file(source)
    for index in range(reader.num_record_batches):
        yield reader.get_batch(index)


def _row(row: Mapping[str, Any], shard: _Shard) -> dict[str, Any]:
    made = {name: _named(value, shard.names.get(name)) for name, value in row.items()}
    if "label" in made and "labels" not in made:
        made["labels"] = made.pop("label")
    if isinstance(made.get("labels"), str):
        made["labels"] = [made["labels"]]
    if shard.split:
        made.setdefault("split", shard.split)
    return made


def _named(value: Any, names: Sequence[str] | None) -> Any:
    """Class numbers as names; -1, which is "not known" on the hub, as nothing."""
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return None if value == -1 else names[value] if 0 <= value < len(names) else f"class {value}"
    return value


# --- Class names -------------------------------------------------------------------------------------


def _names_in(path: Path) -> dict[str, Sequence[str]]:
    """The class names that the file's own schema carries."""
    import pyarrow
    from pyarrow import parquet

    try:
        if path.suffix == ".parquet":
            metadata = parquet.read_schema(path).metadata
        else:
            with pyarrow.memory_map(str(path)) as source:
                batch = next(_open_arrow(source), None)
                metadata = None if batch is None else batch.schema.metadata
        document = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read: {error}", hint="copy the file again") from error
    return _class_names(_features(document))


def _features(document: Any) -> Mapping[str, Any]:
    """`features` of the data set's description, at the top or under `info`."""
    info = document.get("info", document) if isinstance(document, dict) else {}
    features = info.get("features") if isinstance(info, dict) else None
    return features if isinstance(features, dict) else {}


def _class_names(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    return {name: found for name, feature in features.items() if (found := _names_of(feature))}


def _names_of(feature: Any) -> Sequence[str]:
    """The names of a class label, or of a list of such; empty for any other feature."""
    if isinstance(feature, list):
        return _names_of(feature[0]) if len(feature) == 1 else ()
    if not isinstance(feature, dict):
        return ()
    if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return [str(name) for name in feature["names"]]
    return _names_of(feature.get("feature"))
