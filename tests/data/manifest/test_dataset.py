"""Manifests in every supported format, and errors of invalid ones."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.factories.shared_data import shared

from mien.data import Dataset, open_dataset
from mien.errors import DataError, ManifestError, MienError
from mien.recipe import DataOptions
from mien.types import Box

ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "image": "über all/é 1.jpg",
        "labels": ["Peace", "Happiness"],
        "box": [1.5, 2, 30, 40],
        "split": "train",
    },
    {"id": "b", "image": "2.jpg", "labels": ["Doubt/Confusion"], "box": None, "split": "test"},
]


def _open(path: Path, **options: Any) -> Dataset:
    return open_dataset(DataOptions(name="manifest", root=path, options=options), cache=path.parent)


def _write(folder: Path, file_format: str) -> Path:
    path = folder / f"people.{file_format}"
    if file_format == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n", encoding="utf-8")
    elif file_format == "parquet":
        parquet.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(ROWS[0]))
            writer.writeheader()
            for row in ROWS:
                box = "" if row["box"] is None else ",".join(map(str, row["box"]))
                writer.writerow(row | {"labels": "|".join(row["labels"]), "box": box})
    return path


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_every_format_gives_the_same_samples(tmp_path: Path, file_format: str) -> None:
    dataset = _open(_write(tmp_path, file_format))
    assert dataset.splits == ("train", "test")
    (first,), (second,) = (list(dataset.samples(split)) for split in dataset.splits)
    assert first.subject.images[0].path == tmp_path / "über all/é 1.jpg"
    assert first.subject.boxes == (Box(left=1.5, top=2, right=30, bottom=40),)
    assert first.target is not None
    assert first.target.labels == {"Peace": 1.0, "Happiness": 1.0}
    assert second.subject.boxes == (None,)
    assert second.subject.id == "b"


def test_csv_cells_can_contain_json(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        'image,box,labels,valence,arousal,dominance\n1.jpg,"[1, 2, 3, 4]","{""Peace"": 0.5}",.1,.2,.3\n'
    )
    (sample,) = _open(path).samples("all")
    assert sample.target is not None
    assert sample.target.labels == {"Peace": 0.5}
    assert sample.target.dimensions == {"valence": 0.1, "arousal": 0.2, "dominance": 0.3}
    assert sample.subject.id == "1.jpg#2"


def test_rows_without_labels_are_for_prediction(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text('{"image": "1.jpg"}\n{"image": "1.jpg"}\n')
    dataset = _open(path)
    assert [sample.target for sample in dataset.samples("all")] == [None, None]
    assert len({sample.subject.id for sample in dataset.samples("all")}) == 2


def test_custom_labels(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text('{"image": "1.jpg", "labels": ["calm"]}\n')
    dataset = _open(path, labels=["tense", "calm"], exclusive=True)
    assert dataset.label_set.labels == ("tense", "calm")
    assert dataset.label_set.exclusive


def test_the_limit_applies_per_split(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text("".join(f'{{"image": "{i}.jpg", "split": "{"ab"[i % 2]}"}}\n' for i in range(20)))
    dataset = _open(path, limit=3)
    assert [len(list(dataset.samples(split))) for split in "ab"] == [3, 3]


def test_val_can_be_held_out_from_train_by_image(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    rows = [{"image": f"{i // 2}.jpg", "split": "train" if i < 300 else "test"} for i in range(400)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    dataset = _open(path, val_share=0.2)
    images = {s: {sample.subject.images[0].path for sample in dataset.samples(s)} for s in dataset.splits}
    assert set(images) == {"train", "val", "test"}
    assert not images["train"] & images["val"]
    assert 0.1 < len(images["val"]) / 150 < 0.3
    assert len(list(dataset.samples("test"))) == 100


def test_an_existing_val_split_is_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    rows = [{"image": f"{i}.jpg", "split": "val" if i < 5 else "train"} for i in range(100)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    dataset = _open(path, val_share=0.3)
    assert [len(list(dataset.samples(split))) for split in ("val", "train")] == [5, 95]


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes("image,split\ncaf\u00e9.jpg,test\n".encode("cp1252"))
    with pytest.raises(ManifestError, match="not UTF-8"):
        _open(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"image": "1.jpg"', "row 1: not JSON"),
        ("[1]", "row 1: not a JSON object"),
        ('{"image": "1.jpg"}\n{"labels": []}', "row 2: the row names no image"),
        ('{"image": "1.jpg", "lables": []}', "row 1: unknown column 'lables'"),
        ('{"image": "1.jpg", "labels": ["Piece"]}', "row 1: unknown label"),
        ('{"image": "1.jpg", "box": [5, 5, 1, 9]}', "row 1: box"),
        ('{"image": "1.jpg", "box": [5, 5, 9]}', "row 1: box \\[5, 5, 9\\] has 3 numbers"),
        ('{"image": "1.jpg", "box": ["a", 5, 9, 9]}', "row 1: box .* is not four numbers"),
        ('{"image": "1.jpg", "labels": {"Peace": 2}}', "row 1: label 'Peace'"),
        ('{"image": "1.jpg", "labels": ["Peace"], "valence": 0.5}', "row 1: dimensions"),
        (
            '{"id": "x", "image": "1.jpg"}\n{"id": "x", "image": "2.jpg"}',
            "row 2: the id 'x' is already used in row 1",
        ),
    ],
)
def test_invalid_rows_are_errors(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message.replace("(", r"\(")) as caught:
        _open(path).samples("all")
    assert str(path) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("people.txt", "x"),
        ("nothing.jsonl", None),
        ("empty.jsonl", ""),
        ("header_only.csv", "image,split"),
        ("bad.parquet", "x"),
        ("bad.json", "{"),
        ("number.json", "7"),
        ("no_coco.json", '{"images": []}'),
        ("empty.json", "[]"),
    ],
)
def test_invalid_files_are_errors(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError):
        _open(tmp_path / name)


def test_a_csv_row_with_too_many_cells_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("image,split\n1.jpg,test,oops\n")
    with pytest.raises(DataError, match="row 2: more cells"):
        _open(path).samples("all")


def test_a_missing_root_is_an_error() -> None:
    with pytest.raises(MienError, match="no manifest is named"):
        open_dataset(DataOptions(name="manifest"), cache=Path())


def test_real_photographs_are_read() -> None:
    dataset = _open(shared("emotic-photos") / "manifest.jsonl")
    people = [sample for split in dataset.splits for sample in dataset.samples(split)]
    assert len(people) == 615
    assert len({sample.subject.images[0].path for sample in people}) == 489
    assert sum(sample.subject.boxes[0] is not None for sample in people) == 237
