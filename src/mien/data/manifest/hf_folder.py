"""Reads a Hugging Face `datasets` folder as manifest rows, without that library.

Two layouts are supported: what `save_to_disk` writes (`dataset_dict.json` or `state.json`, and Arrow
streams), and Parquet files named after their split (`data/train-00000-of-00002.parquet`). The column `label`
is read as `labels`; class numbers become class names where the features define them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.data.json_text import parse_strict_json
from mien.data.manifest.readers import (
    BATCH_SIZE,
    Cells,
    ManifestRow,
    arrow_columns,
    batch_rows,
    read_json,
    read_parquet,
)
from mien.data.text_files import require_regular_file
from mien.errors import ManifestError, first_line
from mien.names import plain_name

if TYPE_CHECKING:
    import pyarrow

__all__ = ["HfFolderReader"]

_LABEL: Final = frozenset({"label"})
_SHARD: Final = re.compile(r"(?P<split>.+?)-(?P<number>\d{5})-of-(?P<total>\d{5})")
_LAYOUTS: Final = "dataset_dict.json, state.json, or data/train-00000-of-00001.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    """One file of rows. `split` is empty if unknown; `class_names` are by column."""

    path: Path
    split: str
    class_names: Mapping[str, Sequence[str]]


class HfFolderReader:
    """The rows of such a folder, in the order of splits and files; `ignore`: columns not to read."""

    def __init__(self, folder: Path, ignore: frozenset[str] = frozenset()) -> None:
        self._ignore = ignore
        shards = list(_saved_shards(folder)) or list(_parquet_shards(folder))
        if not shards:
            raise ManifestError(f"{folder} contains no dataset", hint=f"it should contain {_LAYOUTS}")
        self._shards = shards

    def rows(self) -> Iterator[ManifestRow]:
        """The rows; their numbers continue from file to file."""
        number = 0
        for shard in self._shards:
            read = read_parquet if shard.path.suffix == ".parquet" else _read_arrow
            for row in read(shard.path, self._ignore, extra=_LABEL):
                number += 1
                cells = _manifest_cells(row.cells or {}, shard)
                yield ManifestRow(row.file, number, cells, "", row.location)


# --- Files -------------------------------------------------------------------------------------------


def _saved_shards(folder: Path) -> Iterator[_Shard]:
    """The Arrow files that `save_to_disk` writes for a dictionary of splits, or for a single dataset."""
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        for split in _read_list(splits, "splits"):
            name = plain_name(split, f"{splits}: the split", error=ManifestError)
            yield from _saved_split(folder / name, name)
    elif (folder / "state.json").is_file():
        yield from _saved_split(folder, "")


def _saved_split(folder: Path, split: str) -> Iterator[_Shard]:
    """The files of one split; a dataset saved on its own may name its split."""
    state = folder / "state.json"
    names = [item.get("filename") for item in _read_list(state, "_data_files") if isinstance(item, dict)]
    info = folder / "dataset_info.json"
    features = _features(read_json(info)) if info.is_file() else {}
    split = split or str(read_json(state).get("_split") or "")
    for name in names:
        path = folder / plain_name(name, f"{state}: the file", error=ManifestError)
        if not path.is_file():
            raise ManifestError(f"no {path}, which {state} lists", hint="copy the folder again")
        class_names = _class_names(features) or _class_names_in_schema(path)
        yield _Shard(path=path, split=split, class_names=class_names)


def _read_list(path: Path, key: str) -> list[Any]:
    document = read_json(path)
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise ManifestError(f"{path} has no list {key!r}", hint="save the dataset again")
    return found


def _parquet_files(folder: Path) -> list[Path]:
    return sorted((folder / "data").glob("*.parquet")) or sorted(folder.glob("*.parquet"))


def _parquet_shards(folder: Path) -> Iterator[_Shard]:
    """Parquet files as the Hub stores them; ManifestError if their names show that one is missing."""
    numbers_by_split: dict[tuple[str, int], set[int]] = {}
    for path in _parquet_files(folder):
        match = _SHARD.match(path.stem)
        if match:
            key = (match["split"], int(match["total"]))
            numbers_by_split.setdefault(key, set()).add(int(match["number"]))
        split = match["split"] if match else path.stem
        yield _Shard(path=path, split=split, class_names=_class_names_in_schema(path))
    for (split, total), numbers in numbers_by_split.items():
        missing = sorted(set(range(total)) - numbers)
        if missing:
            raise ManifestError(
                f"{folder} lacks file {missing[0]:05d} of the {total} of split {split!r}",
                hint="download the dataset again",
            )


# --- Rows --------------------------------------------------------------------------------------------


def _read_arrow(path: Path, ignore: frozenset[str], *, extra: frozenset[str]) -> Iterator[ManifestRow]:
    import pyarrow

    require_regular_file(path)
    try:
        with pyarrow.memory_map(str(path)) as source:
            schema, batches = _arrow_batches(source)
            names = arrow_columns(path, schema, ignore, extra)
            slices = (
                batch.select(list(names)).slice(first, BATCH_SIZE)
                for batch in batches
                for first in range(0, batch.num_rows, BATCH_SIZE)
            )
            yield from batch_rows(path, slices, names)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise ManifestError(
            f"{path} cannot be read as Arrow: {first_line(error)}", hint="copy the file again"
        ) from error


def _arrow_batches(
    source: pyarrow.MemoryMappedFile,
) -> tuple[pyarrow.Schema, Iterator[pyarrow.RecordBatch]]:
    """`datasets` writes the stream format; the file format starts with its name."""
    from pyarrow import ipc

    is_file_format = source.read(6) == b"ARROW1"
    source.seek(0)
    if not is_file_format:
        stream = ipc.open_stream(source)
        return stream.schema, iter(stream)
    reader = ipc.open_file(source)
    return reader.schema, (reader.get_batch(index) for index in range(reader.num_record_batches))


def _manifest_cells(cells: Cells, shard: _Shard) -> dict[str, Any]:
    converted = {name: _with_class_names(value, shard.class_names.get(name)) for name, value in cells.items()}
    if "label" in converted and "labels" not in converted:
        converted["labels"] = converted.pop("label")
    if isinstance(converted.get("labels"), str):
        converted["labels"] = [converted["labels"]]
    if shard.split:
        converted.setdefault("split", shard.split)
    return converted


def _with_class_names(value: Any, names: Sequence[str] | None) -> Any:
    """Replaces class numbers by names; -1, which the Hub uses for "unknown", becomes None."""
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_with_class_names(item, names) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return None if value == -1 else names[value] if 0 <= value < len(names) else f"class {value}"
    return value


# --- Class names -------------------------------------------------------------------------------------


def _class_names_in_schema(path: Path) -> dict[str, Sequence[str]]:
    """The class names in the file's own schema."""
    import pyarrow
    from pyarrow import parquet

    require_regular_file(path)
    try:
        if path.suffix == ".parquet":
            metadata = parquet.read_schema(path).metadata
        else:
            with pyarrow.memory_map(str(path)) as source:
                metadata = _arrow_batches(source)[0].metadata
        document = parse_strict_json((metadata or {}).get(b"huggingface", b"{}"))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ManifestError(
            f"{path} cannot be read: {first_line(error)}", hint="copy the file again"
        ) from error
    return _class_names(_features(document))


def _features(document: Any) -> Mapping[str, Any]:
    """`features` of the dataset's description, at the top level or below `info`."""
    info = document.get("info", document) if isinstance(document, dict) else {}
    features = info.get("features") if isinstance(info, dict) else None
    return features if isinstance(features, dict) else {}


def _class_names(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    return {name: names for name, feature in features.items() if (names := _feature_class_names(feature))}


def _feature_class_names(feature: Any) -> Sequence[str]:
    """The names of a class label or of a list of class labels; empty for any other feature."""
    if isinstance(feature, list):
        return _feature_class_names(feature[0]) if len(feature) == 1 else ()
    if not isinstance(feature, dict):
        return ()
    if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return [str(name) for name in feature["names"]]
    return _feature_class_names(feature.get("feature"))
