"""Every error of a row is reported with its kind and location, and the other rows stay usable."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from mien.data import Dataset, open_dataset
from mien.errors import DataError
from mien.labels import EMOTIC
from mien.recipe import DataOptions
from mien.types import DIMENSIONS

VAD = dict.fromkeys(DIMENSIONS, 0.5)
ERRORS: list[tuple[str, dict[str, Any] | str]] = [
    ("bad_row", '{"image": "x.jpg"'),
    ("bad_row", "[" * 100_000),
    ("bad_row", "7"),
    ("bad_row", {"labels": ["Peace"]}),
    ("bad_row", {"image": 7}),
    ("bad_row", {"image": "x\ud800.jpg"}),
    ("bad_row", {"image": "x.jpg", "id": "\udc00"}),
    ("bad_row", {"image": "x.jpg", "lables": []}),
    ("bad_row", {"image": "x.jpg", "box": [1, 2, 3]}),
    ("bad_row", {"image": "x.jpg", "box": 7}),
    ("bad_row", {"image": "x.jpg", "box": [1, 2, "far", 4]}),
    ("bad_row", {"image": "x.jpg", "box": "[1, 2"}),
    ("bad_row", {"image": "x.jpg", "labels": 7}),
    ("bad_row", {"image": "x.jpg", "labels": {"Peace": 2}}),
    ("bad_row", {"image": "x.jpg", "labels": ["Peace"], "dimensions": [0.1, 0.2, 0.3]}),
    ("bad_row", {"image": "x.jpg", "size": [3]}),
    ("bad_row", {"image": "x.jpg", "size": [3, "tall"]}),
    ("bad_row", {"image": "x.jpg", "people": {}}),
    ("bad_row", {"image": "x.jpg", "people": [3]}),
    ("bad_row", {"image": "x.jpg", "people": [], "box": [1, 2, 3, 4]}),
    ("bad_row", {"image": "x.jpg", "people": [{"image": "y.jpg"}]}),
    ("bad_row", {"image": "x.jpg", "clip": "x.mp4"}),
    ("bad_row", {"image": "x.jpg", "frames": [1]}),
    ("bad_row", {"clip": "x.mp4", "frames": [1.5]}),
    ("bad_row", {"clip": "x.mp4", "frames": []}),
    ("bad_row", {"clip": "x.mp4", "frames": [1], "first_frame": 0}),
    ("bad_row", {"clip": "x.mp4", "frames": [1], "boxes": []}),
    ("bad_row", {"clip": "x.mp4", "frames": [1], "boxes": [None], "box": [1, 2, 3, 4]}),
    ("bad_row", {"clip": "x.mp4", "first_frame": 2, "last_frame": 5, "boxes": [None] * 3}),
    ("frame_range", {"clip": "x.mp4", "frames": [3, -1]}),
    ("frame_range", {"clip": "x.mp4", "first_frame": 5, "last_frame": 4}),
    ("missing", {"clip": "nowhere.mp4"}),
    ("unknown_label", {"image": "x.jpg", "labels": ["Piece"]}),
    ("unknown_label", {"image": "x.jpg", "labels": {"": 1}}),
    ("no_label", {"image": "x.jpg", **VAD}),
    ("box_degenerate", {"image": "x.jpg", "box": [9, 2, 3, 4]}),
    ("box_degenerate", {"image": "x.jpg", "box": [1, 4, 3, 4]}),
    ("box_not_finite", {"image": "x.jpg", "box": [1, 2, float("nan"), 4]}),
    ("box_not_finite", {"image": "x.jpg", "box": "1,2,inf,4"}),
    ("dimension_range", {"image": "x.jpg", "labels": [], "valence": 0.5}),
    ("dimension_range", {"image": "x.jpg", "labels": [], **VAD, "arousal": 1.5}),
    ("dimension_range", {"image": "x.jpg", "labels": [], **VAD, "arousal": float("nan")}),
    ("repeated_id", {"image": "x.jpg", "id": "good"}),
]
GOOD = json.dumps({"id": "good", "image": "good.jpg", "labels": ["Peace"], "split": "train"})


def _open(path: Path, *, skip_broken: bool = False, **options: Any) -> Dataset:
    made = DataOptions(name="manifest", root=path, options=options, skip_broken=skip_broken)
    return open_dataset(made, cache=path.parent / "cache")


def _ids(dataset: Dataset, split: str) -> list[str]:
    return [sample.subject.id for sample in dataset.samples(split)]


@pytest.mark.parametrize(("kind", "error"), ERRORS, ids=[f"{i}-{kind}" for i, (kind, _) in enumerate(ERRORS)])
def test_an_error_is_reported_once_with_its_kind_and_location(
    tmp_path: Path, kind: str, error: dict[str, Any] | str
) -> None:
    path = tmp_path / "people.jsonl"
    text = error if isinstance(error, str) else json.dumps({**error, "split": "train"})
    path.write_text(f"{GOOD}\n{text}\n")
    dataset = _open(path)
    (problem,) = dataset.problems()
    assert problem.kind == kind
    if kind.startswith("box"):
        assert problem.file == str(tmp_path / "x.jpg")
        assert f"{path}, row 2: " in problem.message
    else:
        assert problem.file.startswith(f"{path}, row 2")
    assert dataset.unusable_rows("train") == [problem]
    with pytest.raises(DataError, match="1 rows of split 'train'"):
        dataset.samples("train")
    assert _ids(_open(path, skip_broken=True), "train") == ["good"]
    assert _open(path, val_share=0.01).splits == ("train",)  # the split of the invalid row is also hashed


def test_an_error_affects_only_its_split_unless_the_split_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    rows = [GOOD, GOOD.replace("train", "test").replace('"good"', '"other"')]
    path.write_text("\n".join([*rows, '{"image": "x.jpg", "labels": ["Piece"], "split": "test"}']))
    assert _ids(_open(path), "train") == ["good"]
    with pytest.raises(DataError):
        _open(path).samples("test")
    path.write_text("\n".join([*rows, "{"]))
    for split in ("train", "test"):
        with pytest.raises(DataError):
            _open(path).samples(split)


def test_the_first_of_two_rows_with_one_id_is_kept_across_splits(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text("\n".join([GOOD, GOOD.replace("train", "test"), GOOD.replace('"good"', '"x"')]))
    dataset = _open(path, skip_broken=True)
    assert dataset.splits == ("train", "test")
    assert [_ids(dataset, split) for split in dataset.splits] == [["good", "x"], []]


def test_an_exclusive_set_requires_exactly_one_label(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    labels: list[Any] = [["a"], {"a": 0.25, "b": 0.75}, None, [], ["a", "b"]]
    path.write_text("\n".join(json.dumps({"image": "x.jpg", "labels": value}) for value in labels))
    dataset = _open(path, skip_broken=True, labels=["a", "b"], exclusive=True)
    assert [problem.kind for problem in dataset.problems()] == ["no_label", "bad_row"]
    assert len(_ids(dataset, "all")) == 3


def test_columns_can_be_ignored(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text('{"image": "x.jpg", "photographer": "me"}')
    assert [problem.kind for problem in _open(path).problems()] == ["bad_row"]
    assert _open(path, ignore=["photographer"]).problems() == []


def test_images_can_be_in_another_folder(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text('{"image": "x.jpg", "size": [640, 480]}')
    (record,) = _open(path, images="../photos").records("all")
    assert record.sample.subject.images[0].path == tmp_path / "../photos/x.jpg"
    assert record.size == (640, 480)


# --- Any rows, in any form ---------------------------------------------------------------------------

words = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=("Cs", "Cc")), min_size=1)
scores = st.floats(0, 1).map(lambda score: round(score, 6))
edges = st.floats(-1e4, 1e4).map(lambda edge: round(edge, 4))
sides = st.floats(3, 99)  # a box within the first pixels looks like shares of the image
boxes = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], edges, edges, sides, sides)
rows = st.fixed_dictionaries(
    {
        "image": words.map(lambda word: f"p{word}.jpg"),
        "box": st.none() | boxes,
        "labels": st.none() | st.lists(st.sampled_from(EMOTIC.labels), unique=True, min_size=1),
        "split": st.sampled_from(["train", "val", "test"]),
    }
)


@given(st.lists(rows, min_size=1, max_size=6), st.data())
def test_every_format_round_trips(
    tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, Any]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    for index, row in enumerate(written):
        row["id"] = f"person {index}"
        row["dimensions"] = (
            data.draw(st.none() | st.fixed_dictionaries(dict.fromkeys(DIMENSIONS, scores)))
            if row["labels"]
            else None
        )
    for path in _write_all(folder, written):
        dataset = _open(path)
        assert dataset.problems() == []
        for split in dataset.splits:
            samples = list(dataset.samples(split))
            wanted = [row for row in written if row["split"] == split]
            assert len(samples) == len(wanted)
            for sample, row in zip(samples, wanted, strict=True):
                assert sample.subject.id == row["id"]
                assert sample.subject.images[0].path == folder / row["image"]
                box = sample.subject.boxes[0]
                assert (box and list(box.as_tuple())) == row["box"]
                labels = None if row["labels"] is None else dict.fromkeys(row["labels"], 1.0)
                assert (sample.target and dict(sample.target.labels)) == labels
                assert (sample.target and sample.target.dimensions) == row["dimensions"]


def _write_all(folder: Path, written: list[dict[str, Any]]) -> list[Path]:
    text = [json.dumps(row, ensure_ascii=False) for row in written]
    (folder / "a.jsonl").write_text("\n".join(text), encoding="utf-8")
    (folder / "a.json").write_text(f"[{','.join(text)}]", encoding="utf-8")
    # An explicit schema, because the type of a column of nulls cannot be inferred.
    number = pa.float64()
    dimensions = pa.struct([(name, number) for name in DIMENSIONS])
    types = {"box": pa.list_(number), "labels": pa.list_(pa.string()), "dimensions": dimensions}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in written[0]])
    parquet.write_table(pa.Table.from_pylist(written, schema=schema), folder / "a.parquet")
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(written[0]))
        writer.writeheader()
        for row in written:
            cells = {name: json.dumps(row[name]) if row[name] else "" for name in ("box", "dimensions")}
            writer.writerow({**row, **cells, "labels": "|".join(row["labels"] or ())})
    return [folder / f"a.{form}" for form in ("jsonl", "json", "parquet", "csv")]
