"""Hostile manifests: each is one clear error or problem, within bounded time and memory."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import os
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from tests.factories.datasets import MOODS, InMemoryDataset, image_record

from mien.data import Dataset, open_dataset, text_files
from mien.data.export import export_split
from mien.data.splits import read_splits
from mien.errors import BoxError, DataError, ManifestError
from mien.media.boxes import parse_box
from mien.recipe import DataOptions
from mien.types import Box, ImageRef, Sample, Subject, Target


def _open(path: Path, **options: Any) -> Dataset:
    made = DataOptions(name="manifest", root=path, options=options, skip_broken=True)
    return open_dataset(made, cache=path.parent / "cache")


def _ids(dataset: Dataset) -> list[str]:
    return [sample.subject.id for split in dataset.splits for sample in dataset.samples(split)]


# --- CSV ---------------------------------------------------------------------------------------------


def test_a_quote_that_is_never_closed_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('image,labels\n1.jpg,Peace\n2.jpg,"Peace\n3.jpg,Peace\n')
    with pytest.raises(ManifestError, match="line 3: a cell's quote is not closed"):
        _open(path)


@pytest.mark.parametrize(
    ("lines", "bad", "said"),
    [
        (['2.jpg,"Peace" x,b'], "row 3", "close its quote"),
        (['"2.jpg,Peace,b', '3.jpg",Peace,c'], "row 4", "looks like another row"),
        (["2.jpg,Peace"], "row 3", "fewer cells"),
        (["2.jpg,Peace,b,c"], "row 3", "more cells"),
        (["2.jpg,Pe\0ace,b"], "row 3", "NUL"),
    ],
)
def test_a_faulty_line_is_named_and_costs_no_other(
    tmp_path: Path, lines: list[str], bad: str, said: str
) -> None:
    path = tmp_path / "people.csv"
    path.write_text("\n".join(["image,labels,id", "1.jpg,Peace,a", *lines, "9.jpg,Peace,z", ""]))
    dataset = _open(path)
    (problem,) = dataset.problems()
    assert problem.file.endswith(bad)
    assert said in problem.message
    assert _ids(dataset) == ["a", "z"]


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("image,Labels,labels\n1.jpg,Peace,Fear\n")
    with pytest.raises(ManifestError, match="two columns are named 'labels'"):
        _open(path)


def test_a_repeated_key_of_json_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text('{"image": "1.jpg", "image": "2.jpg"}\n')
    (problem,) = _open(path).problems()
    assert "the key 'image' occurs twice" in problem.message


@pytest.mark.parametrize("depth", [90, 150, 940, 985, 990, 995, 5000])
@pytest.mark.parametrize("field", ["labels", "box", "id", "people", "split", "image", "size", "note"])
def test_lists_nested_deeply_are_one_problem(tmp_path: Path, field: str, depth: int) -> None:
    row = {"image": "1.jpg", "id": "nested", field: 0}
    nested = json.dumps(row).replace(f'"{field}": 0', f'"{field}": {"[" * depth}{"]" * depth}')
    path = tmp_path / "people.jsonl"
    path.write_text(nested + '\n{"image": "2.jpg", "id": "good"}\n')
    dataset = _open(path)
    (problem,) = dataset.problems()
    assert problem.kind == "bad_row"
    assert len(problem.message) < 1000
    assert _ids(dataset) == ["good"]


# --- Own exports -------------------------------------------------------------------------------------

NO_FRAME: tuple[int | None, ...] = (None,)
_NASTY = st.text(st.sampled_from("\"',;=+-@\n\r\t |\u00e9e\u0301{}[]\\#"), min_size=1, max_size=8)


@given(
    identity=_NASTY.filter(lambda text: not text.isspace()),
    name=_NASTY,
    labels=st.none() | st.dictionaries(st.sampled_from(MOODS.labels), st.floats(0, 1)),
    split=st.sampled_from(["train", "dev", "Validation", "test"]),
    size=st.none() | st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    frames=st.none() | st.lists(st.integers(0, 99), min_size=1, max_size=3),
)
def test_an_export_is_read_back_equal(  # noqa: PLR0917  drawn by Hypothesis
    tmp_path_factory: pytest.TempPathFactory,
    identity: str,
    name: str,
    labels: dict[str, float] | None,
    split: str,
    size: tuple[int, int] | None,
    frames: list[int] | None,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    photo = Path("/photos") / f"{name.replace('/', '-')}.x"
    images = tuple(ImageRef(path=photo, frame=frame) for frame in frames or NO_FRAME)
    boxes = (Box(left=1, top=2, right=30.5, bottom=40),) * len(images)
    subject = Subject(id=identity, images=images, boxes=boxes, stated_size=size)
    sample = Sample(subject=subject, target=None if labels is None else Target(labels=labels), split=split)
    record = image_record("x", folder)
    object.__setattr__(record, "sample", sample)
    path = folder / "export.jsonl"
    export_split(InMemoryDataset({split: [record]}), split, path)
    dataset = _open(path, labels=list(MOODS.labels))
    assert dataset.problems() == []
    assert list(dataset.samples(split)) == [sample]
    assert next(iter(dataset.samples(split))).subject.stated_size == size


@pytest.mark.parametrize("form", ["csv", "parquet", "folder", "json", "one line"])
def test_an_export_in_another_format_is_read_back_equal(tmp_path: Path, form: str) -> None:
    boxes = (Box(left=1, top=2, right=30.5, bottom=40), None)
    samples = [
        Sample(
            subject=Subject(
                id=f'{name}, "{name}"',
                images=(ImageRef(path=tmp_path / f"photos/{name}; \u00e9.jpg"),),
                boxes=(box,),
                stated_size=(64, 48),
            ),
            target=None if box is None else Target(labels={"calm": 0.25}),
            split="dev",
        )
        for name, box in zip("ab", boxes, strict=True)
    ][: 1 if form == "one line" else 2]
    records = []
    for sample in samples:
        record = image_record("x", tmp_path)
        object.__setattr__(record, "sample", sample)
        records.append(record)
    path = tmp_path / "export.json"
    export_split(InMemoryDataset({"dev": records}), "dev", path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    if form == "csv":
        path = tmp_path / "export.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(
                {
                    name: json.dumps(value) if isinstance(value, list | dict) else value
                    for name, value in row.items()
                }
                for row in rows
            )
    elif form in ("parquet", "folder"):
        folder = tmp_path / "folder"
        folder.mkdir()
        for row in rows if form == "folder" else ():
            row["images"] = [str(Path(image).relative_to(tmp_path)) for image in row["images"]]
        path = tmp_path / "export.parquet" if form == "parquet" else folder / "dev-00000-of-00001.parquet"
        parquet.write_table(pa.Table.from_pylist(rows), path)
        path = path if form == "parquet" else folder
    elif form == "json":
        path.write_text(json.dumps(rows))
    dataset = _open(path, labels=list(MOODS.labels), **({"images": ".."} if form == "folder" else {}))
    assert dataset.problems() == []
    read = list(dataset.samples("dev"))
    expected = [(s.subject.id, s.subject.boxes, s.subject.stated_size, s.target, s.split) for s in samples]
    assert [
        (s.subject.id, s.subject.boxes, s.subject.stated_size, s.target, s.split) for s in read
    ] == expected
    assert [s.subject.images[0].path.resolve() for s in read] == [s.subject.images[0].path for s in samples]


@pytest.mark.parametrize("name", ["people.csv", "people.parquet", "people.tsv", "people"])
def test_an_export_under_the_name_of_another_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="JSON lines"):
        export_split(InMemoryDataset({"test": [image_record("x", tmp_path)]}), "test", tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_cell_of_several_lines_is_not_taken_for_a_row(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('note,image,labels,id\n"a, b,\nc, d",1.jpg,Peace,x\n')
    assert _ids(_open(path, ignore=["note"])) == ["x"]


# --- Numbers, nesting, types -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ("[1e308, 1, 1.5e308, 5]", "box_outside"),
        ("[-1e308, -1e308, 1e308, 1e308]", "box_outside"),
        ("[1, 1, 1e400, 5]", "box_not_finite"),
        (f"[1, 1, 1{'0' * 400}, 5]", "box_not_finite"),
        ("[true, 1, 5, 5]", "bad_row"),
        ("[1, 1, null, 5]", "bad_row"),
        (f"[1, 1, 1{'0' * 5000}, 5]", "bad_row"),
        ("[" * 100_000, "bad_row"),
        (json.dumps("[" * 100_000), "bad_row"),
        (json.dumps("(" * 50_000), "bad_row"),
        (json.dumps("[" + "1," * 200_000 + "'x']"), "bad_row"),
    ],
)
def test_a_hostile_box_is_one_problem(tmp_path: Path, box: str, kind: str) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text(f'{{"image": "1.jpg", "box": {box}}}\n{{"image": "2.jpg", "id": "good"}}\n')
    dataset = _open(path)
    (problem,) = dataset.problems()
    assert problem.kind == kind
    assert len(problem.message) < 1000
    assert _ids(dataset) == ["good"]


@pytest.mark.parametrize(
    ("box", "error"),
    [
        ((0.35, 0.1, 0.65, 0.98), BoxError),
        (Box(left=0.35, top=0.1, right=0.65, bottom=0.98), BoxError),
        ("0.35,0.1,0.65,0.98", BoxError),
        ((1, 1, 1e308, 5), BoxError),
        ((1, 1, 10**400, 5), BoxError),
        ((1, 2, 3), DataError),
        ("1,2,3,x", DataError),
        ({"x": 1, "y": 2, "w": 3, "h": 4}, DataError),
        (7, DataError),
        (None, DataError),
    ],
)
def test_a_box_given_to_predict_follows_the_same_rules(box: Any, error: type[DataError]) -> None:
    with pytest.raises(error) as caught:
        parse_box(box)
    assert caught.value.hint


@pytest.mark.parametrize(
    "identity",
    [[1], {"a": 1}, True, float("inf"), 10**5000, "x" * 5_000_000],
    ids=lambda value: str(type(value)),
)
def test_an_id_that_is_not_a_name_is_refused(tmp_path: Path, identity: Any) -> None:
    path = tmp_path / "people.jsonl"
    text = "1" + "0" * 4200 if isinstance(identity, int) and identity > 1 else json.dumps(identity)
    path.write_text(f'{{"image": "1.jpg", "id": {text}}}\n{{"image": "2.jpg", "id": "good"}}\n')
    dataset = _open(path)
    (problem,) = dataset.problems()
    assert problem.kind == "bad_row"
    assert len(problem.message) < 1000
    assert _ids(dataset) == ["good"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1], pa.timestamp("ns")),
        pa.array([datetime.date(2020, 1, 1)]),
        pa.array([1], pa.duration("ns")),
        pa.array([1], pa.timestamp("ns")).dictionary_encode(),
        pa.array([[1]], pa.list_(pa.timestamp("ns"))),
    ],
    ids=str,
)
def test_times_in_parquet_are_one_error_unless_ignored(tmp_path: Path, column: pa.Array) -> None:
    path = tmp_path / "people.parquet"
    parquet.write_table(pa.table({"image": ["1.jpg"], "id": column}), path)
    with pytest.raises(ManifestError, match="the column 'id' holds"):
        _open(path)
    assert _ids(_open(path, ignore=["id"])) == ["1.jpg#1"]


@pytest.mark.parametrize(
    "box",
    [
        pa.array([[1, 2, 30, 40]], pa.list_(pa.int32(), 4)),
        pa.array([[1, 2, 30, 40]], pa.large_list(pa.float32())),
        pa.array([[decimal.Decimal(1), decimal.Decimal(2), decimal.Decimal(30), decimal.Decimal(40)]]),
        pa.array([{"left": 1, "top": 2, "right": 30, "bottom": 40}]),
        pa.array([b"1,2,30,40"]),
        pa.array(["1,2,30,40"]).dictionary_encode(),
    ],
    ids=lambda box: str(box.type),
)
def test_unusual_types_of_parquet_are_read(tmp_path: Path, box: pa.Array) -> None:
    path = tmp_path / "people.parquet"
    parquet.write_table(pa.table({"image": ["1.jpg"], "box": box, "labels": pa.nulls(1)}), path)
    dataset = _open(path)
    assert dataset.problems() == []
    (sample,) = dataset.samples("all")
    assert sample.subject.boxes == (Box(left=1, top=2, right=30, bottom=40),)


# --- Files that are none -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["people.csv", "people.jsonl", "people.json", "people.parquet"])
def test_a_pipe_as_manifest_does_not_hang(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ManifestError, match="not an ordinary file"):
        _open(tmp_path / name)


def test_a_pipe_in_a_dataset_folder_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.parquet")
    with pytest.raises(ManifestError, match="not an ordinary file"):
        _open(tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json", ".parquet"])
def test_a_socket_or_device_as_manifest_does_not_hang(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"people{suffix}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        with pytest.raises(ManifestError, match="not an ordinary file"):
            _open(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ManifestError, match="not an ordinary file"):
        _open(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ManifestError, match="contains no dataset"):
        _open(path)


@pytest.mark.parametrize("data", [b"\xff\xfe\xfa", b"\xff\xfe\0\xd8", b'{"image": "\xe9.jpg"}\n'])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
def test_bytes_that_are_not_text_are_one_error(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"people{suffix}"
    path.write_bytes(data)
    with pytest.raises(ManifestError):
        _open(path)


@pytest.mark.parametrize(
    "cells",
    [
        {"images": ["/etc/hosts"], "frames": [None], "boxes": [None]},
        {"images": ["../x.jpg"]},
        {"image": "file:///etc/hosts"},
        {"image": b"/etc/hosts"},
        {"image": {"bytes": None, "path": "..\\..\\x.jpg"}},
    ],
    ids=str,
)
def test_an_image_outside_of_a_dataset_folder_is_refused(tmp_path: Path, cells: dict[str, Any]) -> None:
    parquet.write_table(pa.Table.from_pylist([cells | {"id": "x"}]), tmp_path / "train.parquet")
    (tmp_path.parent / "x.jpg").touch()
    dataset = _open(tmp_path)
    assert _ids(dataset) == []
    (problem,) = dataset.problems()
    assert "not a path below the folder" in problem.message


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_folder_as_split_file_does_not_hang(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "splits.jsonl")
    with pytest.raises(DataError, match=r"not an ordinary file|is a folder"):
        read_splits(tmp_path / "splits.jsonl")


@pytest.mark.parametrize("name", ["people.csv", "people.jsonl"])
def test_a_line_without_end_is_bounded(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MAX_LINE", 1000)
    monkeypatch.setattr("mien.data.csv_files.MAX_LINE", 1000)
    path = tmp_path / name
    if name.endswith("csv"):
        path.write_text("image\n" + "x" * 5000 + "\n")
        with pytest.raises(ManifestError, match="more than"):
            _open(path)
    else:
        path.write_text('{"image": "1.jpg"}\n' + "x" * 5000 + '\n{"image": "2.jpg"}\n')
        dataset = _open(path)
        assert _ids(dataset) == ["1.jpg#1", "2.jpg#3"]
        assert len(dataset.problems()) == 1
