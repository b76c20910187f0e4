"""Hugging Face `datasets` folders as manifests, written here by pyarrow as that library writes them."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import ipc, parquet

from mien.data import Dataset, open_dataset
from mien.errors import ManifestError
from mien.recipe import DataOptions
from mien.types import Box

NAMES = ["Pain", "Peace"]
FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": NAMES, "_type": "ClassLabel"},
    "labels": {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"},
}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _png(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), color).save(buffer, "PNG")
    return buffer.getvalue()


def _table(rows: list[dict[str, Any]], metadata: bool = False) -> pa.Table:
    types = {
        "image": IMAGE,
        "label": pa.int64(),
        "labels": pa.list_(pa.int64()),
        "box": pa.list_(pa.float32()),
    }
    schema = pa.schema([(name, types.get(name, pa.string())) for name in rows[0]])
    if metadata:
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})
    return pa.Table.from_pylist(rows, schema=schema)


def _save(folder: Path, *tables: pa.Table, split: str | None = None, info: bool = True) -> None:
    """As `Dataset.save_to_disk` does: Arrow streams in files."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{index:05d}-of-{len(tables):05d}.arrow" for index in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with pa.OSFile(str(folder / name), "wb") as sink, ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
    state = {"_data_files": [{"filename": name} for name in names], "_split": split}
    (folder / "state.json").write_text(json.dumps(state))
    if info:
        (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))


def _open(path: Path, cache: Path, **options: Any) -> Dataset:
    return open_dataset(DataOptions(name="manifest", root=path, options=options), cache=cache)


ROWS: list[dict[str, Any]] = [
    {"image": {"bytes": _png("red"), "path": "x.png"}, "label": 1, "box": [1, 1, 4, 5]},
    {"image": {"bytes": _png("blue"), "path": "x.png"}, "label": 0, "box": None},
    {"image": {"bytes": _png("red"), "path": None}, "label": -1, "box": None},
]


def _check(dataset: Dataset, split: str) -> None:
    first, second, third = dataset.samples(split)
    assert [sample.target and dict(sample.target.labels) for sample in (first, second, third)] == [
        {"Peace": 1.0},
        {"Pain": 1.0},
        None,
    ]
    assert first.subject.boxes == (Box(left=1, top=1, right=4, bottom=5),)
    paths = [sample.subject.images[0].path for sample in (first, second, third)]
    assert [path.read_bytes() for path in paths] == [row["image"]["bytes"] for row in ROWS]
    assert paths[0] == paths[2]  # the same bytes are one file


def test_a_saved_dictionary_of_splits(tmp_path: Path) -> None:
    folder, cache = tmp_path / "set", tmp_path / "cache"
    _save(folder / "train", _table(ROWS[:1]), _table(ROWS[1:]))
    _save(folder / "validation", _table(ROWS))
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    dataset = _open(folder, cache)
    assert dataset.problems() == []
    assert dataset.splits == ("train", "val")
    for split in dataset.splits:
        _check(dataset, split)
    ids = [sample.subject.id for split in dataset.splits for sample in dataset.samples(split)]
    assert len(set(ids)) == 6
    files = {path.name for path in cache.rglob("*") if path.is_file()}
    assert len(files) == 2
    assert all(name.endswith(".png") for name in files)


@pytest.mark.parametrize(("split", "name"), [("test", "test"), (None, "all")])
def test_a_saved_dataset_without_splits(tmp_path: Path, split: str | None, name: str) -> None:
    _save(tmp_path / "set", _table(ROWS), split=split)
    dataset = _open(tmp_path / "set", tmp_path / "cache")
    assert dataset.splits == (name,)
    _check(dataset, name)


@pytest.mark.parametrize("file_format", ["arrow", "parquet"])
def test_class_names_can_come_from_the_schema(tmp_path: Path, file_format: str) -> None:
    folder = tmp_path / "set"
    table = _table(ROWS, metadata=True)
    if file_format == "arrow":
        _save(folder, table, split="test", info=False)
    else:
        folder.mkdir()
        parquet.write_table(table, folder / "test.parquet")
    _check(_open(folder, tmp_path / "cache"), "test")


def test_parquet_files_are_assigned_to_splits_by_name(tmp_path: Path) -> None:
    data = tmp_path / "set" / "data"
    data.mkdir(parents=True)
    table = _table([{"image": row["image"], "labels": [0, 1]} for row in ROWS], metadata=True)
    for name, part in (("train-00000-of-00002", table[:1]), ("train-00001-of-00002", table[1:])):
        parquet.write_table(part, data / f"{name}.parquet")
    parquet.write_table(table, data / "test-00000-of-00001-0a1b2c3d.parquet")
    dataset = _open(tmp_path / "set", tmp_path / "cache")
    assert dataset.splits == ("test", "train")
    for split in dataset.splits:
        targets = [sample.target for sample in dataset.samples(split)]
        assert [target and target.labels for target in targets] == [{"Pain": 1.0, "Peace": 1.0}] * 3
    (data / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(ManifestError, match="lacks file 00001"):
        _open(tmp_path / "set", tmp_path / "cache")


def test_image_paths_are_relative_to_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [{"image": "über all/é.jpg", "label": "Peace"}, {"image": "2.jpg", "label": None}]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    first, second = _open(folder, tmp_path / "cache").samples("train")
    assert first.subject.images[0].path == folder / "über all/é.jpg"
    assert first.target is not None
    assert first.target.labels == {"Peace": 1.0}
    assert second.target is None


def test_holding_out_val_never_puts_an_image_in_both_splits(tmp_path: Path) -> None:
    rows = [
        {"image": {"bytes": b"\xff\xd8\xff%d" % (index // 2), "path": f"{index}.jpg"}, "label": 0}
        for index in range(200)
    ]
    _save(tmp_path / "set", _table(rows), split="train")
    dataset = _open(tmp_path / "set", tmp_path / "cache", val_share=0.3)
    paths = [{s.subject.images[0].path for s in dataset.samples(split)} for split in ("train", "val")]
    assert not paths[0] & paths[1]
    assert len(paths[0] | paths[1]) == 100
    assert 15 < len(paths[1]) < 45


def test_bad_rows_are_problems(tmp_path: Path) -> None:
    rows = [
        {"image": ROWS[0]["image"], "label": 7},
        {"image": {"bytes": None, "path": None}, "label": 0},
        {"image": {"bytes": b"", "path": "x.png"}, "label": 0},
    ]
    _save(tmp_path / "set", _table(rows))
    dataset = _open(tmp_path / "set", tmp_path / "cache")
    assert [(problem.kind, problem.file[-5:]) for problem in dataset.problems()] == [
        ("unknown_label", "row 1"),
        ("bad_row", "row 2"),
    ]


def test_invalid_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="contains no dataset"):
        _open(tmp_path, tmp_path)
    _save(tmp_path / "set", _table(ROWS))
    shard = tmp_path / "set" / "data-00000-of-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-200])
    with pytest.raises(ManifestError, match="cannot be read as Arrow"):
        _open(tmp_path / "set", tmp_path)
    shard.write_bytes(b"")
    with pytest.raises(ManifestError):
        _open(tmp_path / "set", tmp_path)
    shard.unlink()
    with pytest.raises(ManifestError, match=r"which .*state.json lists"):
        _open(tmp_path / "set", tmp_path)
    (tmp_path / "set" / "state.json").write_text("[]")
    with pytest.raises(ManifestError, match="_data_files"):
        _open(tmp_path / "set", tmp_path)
