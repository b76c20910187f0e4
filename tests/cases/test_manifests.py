"""Manifests as people bring them: each row of the table of inputs has the right value or one clear error."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from mien.data import Dataset, open_dataset
from mien.data.audit.verify import verify
from mien.errors import BoxError, ManifestError
from mien.media.images import Marking
from mien.media.views import prepare_frames
from mien.recipe import DataOptions
from mien.types import Box

BOX = [224, 48, 416, 470]
ROW: dict[str, Any] = {"image": "ok.jpg", "labels": ["Peace"], "split": "test"}


def _open(path: Path, **options: Any) -> Dataset:
    made = DataOptions(name="manifest", root=path, options=options, skip_broken=True)
    return open_dataset(made, cache=path.parent / "cache")


def _write(folder: Path, *rows: dict[str, Any], name: str = "people.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _photo(path: Path, *, turned: bool = False) -> Path:
    """640 x 480 upright; stored as 480 x 640 if turned."""
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (480, 640) if turned else (640, 480), "gray").save(path, exif=exif)
    return path


# --- Boxes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"box": [0.35, 0.10, 0.65, 0.98]},
        {"box": "0.35,0.10,0.65,0.98"},
        {"box": [0, 0, 1, 1]},
        {"box": [-0.02, 0.1, 1.03, 0.9]},
        {"box": [0.5, 0.54, 0.3, 0.88]},  # center and size
        {"image": "a.mp4", "frames": [0], "boxes": [[0.35, 0.10, 0.65, 0.98]]},
        {"labels": None, "people": [{"box": [0.35, 0.10, 0.65, 0.98]}]},
    ],
)
def test_normalized_box_is_refused_and_says_how_to_convert_it(tmp_path: Path, row: dict[str, Any]) -> None:
    (problem,) = _open(_write(tmp_path, ROW | row)).problems()
    assert problem.kind == "box_normalized"
    assert "multiply by width and height" in problem.message


@pytest.mark.parametrize("box", [[0, 0, 2, 2], [1, 1, 3, 4], [300.2, 10, 301, 12]])
def test_a_tiny_box_in_pixels_is_accepted(tmp_path: Path, box: list[float]) -> None:
    dataset = _open(_write(tmp_path, ROW | {"box": box}))
    assert dataset.problems() == []


def test_stored_box_is_a_problem_and_never_marks_another_region(tmp_path: Path) -> None:
    _photo(tmp_path / "phone.jpg", turned=True)
    path = _write(tmp_path, ROW | {"image": "phone.jpg", "box": [48, 224, 470, 416], "size": [480, 640]})
    dataset = _open(path)
    assert [problem.kind for problem in verify(dataset).problems] == ["stored_orientation"]
    (sample,) = dataset.samples("test")
    with pytest.raises(BoxError, match="as stored, 480 x 640 pixels"):
        prepare_frames(sample.subject, marking=Marking())


def test_stored_box_without_a_size_is_named_where_only_the_stored_image_contains_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _photo(tmp_path / "phone.jpg", turned=True)
    dataset = _open(_write(tmp_path, ROW | {"image": "phone.jpg", "box": [48, 224, 470, 630]}))
    (problem,) = verify(dataset).problems
    assert problem.kind == "stored_orientation"
    (sample,) = dataset.samples("test")
    prepare_frames(sample.subject, marking=Marking())
    assert "fits" in caplog.text
    assert "only as stored" in caplog.text


def test_a_box_on_the_upright_image_is_used(tmp_path: Path) -> None:
    _photo(tmp_path / "phone.jpg", turned=True)
    dataset = _open(_write(tmp_path, ROW | {"image": "phone.jpg", "box": BOX, "size": [640, 480]}))
    assert verify(dataset).problems == ()
    (sample,) = dataset.samples("test")
    assert prepare_frames(sample.subject, marking=Marking())[0].size == (640, 480)


# --- Cells -------------------------------------------------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize("empty", [NAN, None, "", " "], ids=repr)
@pytest.mark.parametrize("name", ["id", "box", "labels", "dimensions", "valence", "size", "people", "split"])
def test_nan_is_an_empty_cell(tmp_path: Path, name: str, empty: object) -> None:
    dataset = _open(_write(tmp_path, ROW | {name: empty}))
    assert dataset.problems() == []
    assert dataset.splits == (("all",) if name == "split" else ("test",))
    (sample,) = dataset.samples(dataset.splits[0])
    assert sample.subject.id == "ok.jpg#1"
    assert sample.subject.boxes == (None,)


@pytest.mark.parametrize(
    "cells",
    [
        {"box": [NAN] * 4},
        {"box": [None] * 4},
        {"labels": ["Peace", NAN, None]},
        {"labels": {"Peace": 1, "Fear": NAN}},
        {"dimensions": {"valence": NAN, "arousal": None, "dominance": "nan"}},
        {"size": [NAN, NAN]},
    ],
    ids=str,
)
def test_nan_within_a_cell_is_empty(tmp_path: Path, cells: dict[str, Any]) -> None:
    dataset = _open(_write(tmp_path, ROW | cells))
    assert dataset.problems() == []
    (sample,) = dataset.samples("test")
    assert sample.subject.boxes == (None,)
    assert sample.target is not None
    assert dict(sample.target.labels) == {"Peace": 1.0}


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "None", "null", "<NA>", "NaT", "", "  "])
def test_words_of_pandas_for_missing_are_empty_cells_in_csv(tmp_path: Path, word: str) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        f"image,id,box,labels,split,valence,size\nok.jpg,{word},{word},{word},{word},{word},{word}\n"
    )
    dataset = _open(path)
    assert dataset.problems() == []
    assert dataset.splits == ("all",)
    (sample,) = dataset.samples("all")
    assert (sample.subject.id, sample.target) == ("ok.jpg#2", None)


def test_a_label_may_be_called_none(tmp_path: Path) -> None:
    dataset = _open(_write(tmp_path, ROW | {"labels": "None"}), labels=["None", "Some"])
    (sample,) = dataset.samples("test")
    assert sample.target is not None
    assert sample.target.labels == {"None": 1.0}


def test_split_names_are_folded_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["train", "Train", "validation", "valid", "test ", "Testing"]
    dataset = _open(_write(tmp_path, *(ROW | {"id": name, "split": name} for name in names)))
    assert dataset.splits == ("train", "val", "test")
    assert [len(list(dataset.samples(split))) for split in dataset.splits] == [2, 2, 2]
    assert [sample.split for sample in dataset.samples("Validation")] == ["val", "val"]
    assert len(caplog.records) == 1
    assert "'valid' as val" in caplog.text


def test_unicode_forms_of_a_split_are_one_split(tmp_path: Path) -> None:
    composed, decomposed = "\N{LATIN SMALL LETTER E WITH ACUTE}t", "e\N{COMBINING ACUTE ACCENT}t"
    dataset = _open(_write(tmp_path, *(ROW | {"id": name, "split": name} for name in (decomposed, composed))))
    assert dataset.splits == (composed,)
    assert [sample.split for sample in dataset.samples(decomposed)] == [composed, composed]


def test_dev_and_val_in_one_file_stay_two_splits(tmp_path: Path) -> None:
    dataset = _open(_write(tmp_path, ROW | {"id": "a", "split": "Dev"}, ROW | {"id": "b", "split": "val"}))
    assert dataset.splits == ("dev", "val")
    alone = _open(_write(tmp_path, ROW | {"split": "dev"}, name="alone.jsonl"))
    assert alone.splits == ("val",)


# --- CSV ---------------------------------------------------------------------------------------------

COMMA = 'image,box,labels,split\r\nok.jpg,"224,48,416,470",Peace,test\r\n'


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"image;box;labels;split\r\nok.jpg;224,48,416,470;Peace;test\r\n"),
        ("a.csv", b"sep=;\r\nimage;box;labels;split\r\nok.jpg;224,48,416,470;Peace;test\r\n"),
        ("a.tsv", b"image\tbox\tlabels\tsplit\nok.jpg\t224,48,416,470\tPeace\ttest\n"),
        ("a.txt", b"image|box|labels|split\nok.jpg|224 48 416 470|Peace|test\n"),
        ("a.csv", b"\xef\xbb\xbf" + COMMA.encode()),
        ("a.csv", COMMA.encode("utf-16")),
        ("a.csv", COMMA.replace("test\r", "test,\r").encode()),
        ("a.csv", COMMA.replace("\r\n", "\r").encode()),
        ("a.csv", COMMA.replace("\r\n", ",\r\n").encode()),
        ("a.csv", COMMA.replace("image", " Image ").replace("split", "SPLIT").encode()),
    ],
)
def test_semicolons_tabs_and_encodings_are_read(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    dataset = _open(path)
    assert dataset.problems() == []
    (sample,) = dataset.samples("test")
    assert sample.subject.boxes == (Box(left=224, top=48, right=416, bottom=470),)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("image,split\ncafé.jpg,test\n".encode("cp1252"), "line 2 is not UTF-8: byte 0xe9"),
        ("image,split\nok.jpg,test\n".encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        (b"PK\x03\x04" + bytes(40), "Excel workbook"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(data)
    with pytest.raises(ManifestError, match=said):
        _open(path)


def test_decimal_commas_are_refused_clearly(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("image;labels;valence;arousal;dominance\nok.jpg;Peace;0,5;0,5;0,5\n")
    (problem,) = _open(path).problems()
    assert "write a point as the decimal mark" in problem.message


@pytest.mark.parametrize("index", ["", "Unnamed: 0", "index"])
@pytest.mark.parametrize(
    "labels", ["['Peace', 'Fear']", "['Peace' 'Fear']", "('Peace', 'Fear')", "Peace|Fear"]
)
@pytest.mark.parametrize(
    "box", ["[224 48 416 470]", "(224, 48, 416, 470)", "[np.float64(224.0), 48, 416, 470]"]
)
def test_pandas_index_and_python_lists_are_read(tmp_path: Path, index: str, labels: str, box: str) -> None:
    path = tmp_path / "people.csv"
    path.write_text(f'{index},image,labels,box,split\n0,ok.jpg,"{labels}","{box}",test\n')
    dataset = _open(path)
    assert dataset.problems() == []
    (sample,) = dataset.samples("test")
    assert sample.target is not None
    assert dict(sample.target.labels) == {"Peace": 1.0, "Fear": 1.0}
    assert sample.subject.boxes == (Box(left=224, top=48, right=416, bottom=470),)


def test_an_unknown_column_of_a_table_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("image,lables\n" + "ok.jpg,Peace\n" * 20)
    with pytest.raises(ManifestError, match="unknown column 'lables'"):
        _open(path)
    assert len(list(_open(path, ignore=["lables"]).samples("all"))) == 20


def test_the_index_of_parquet_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "people.parquet"
    table = {"__index_level_0__": [7], "image": ["ok.jpg"], "labels": [{"Peace": 0.5, "Fear": None}]}
    parquet.write_table(pa.table(table), path)
    (sample,) = _open(path).samples("all")
    assert sample.target is not None
    assert dict(sample.target.labels) == {"Peace": 0.5}


# --- Paths -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spell",
    [
        lambda path: "sub\\caf\u00e9.jpg",
        lambda path: "./sub/caf\u00e9.jpg",
        lambda path: unicodedata.normalize("NFD", "sub/caf\u00e9.jpg"),
        lambda path: path.as_uri(),
    ],
)
def test_windows_path_and_other_unicode_forms_are_found(tmp_path: Path, spell: Callable[[Path], str]) -> None:
    photo = _photo(tmp_path / "sub" / "caf\u00e9.jpg")
    (sample,) = _open(_write(tmp_path, ROW | {"image": spell(photo)})).samples("test")
    assert sample.subject.images[0].path == photo


def test_forms_that_differ_from_part_to_part_are_found(tmp_path: Path) -> None:
    photo = _photo(tmp_path / unicodedata.normalize("NFD", "\u00e9t\u00e9") / "caf\u00e9.jpg")
    (sample,) = _open(_write(tmp_path, ROW | {"image": "\u00e9t\u00e9\\cafe\u0301.jpg"})).samples("test")
    assert sample.subject.images[0].path == photo
    absolute = str(photo.parent.parent / "\u00e9t\u00e9" / "caf\u00e9.jpg")
    (sample,) = _open(_write(tmp_path, ROW | {"image": absolute})).samples("test")
    assert sample.subject.images[0].path == photo


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("C:\\photos\\ok.jpg", "path of Windows"),
        ("\\\\server\\photos\\ok.jpg", "path of Windows"),
        ("https://example.org/ok.jpg", "download the image"),
    ],
)
def test_paths_of_other_machines_are_named(tmp_path: Path, name: str, said: str) -> None:
    (problem,) = _open(_write(tmp_path, ROW | {"image": name})).problems()
    assert said in problem.message


# --- COCO --------------------------------------------------------------------------------------------


def _coco(folder: Path, image: dict[str, Any] | None = None, **annotation: Any) -> Path:
    document = {
        "images": [{"id": 1, "file_name": "ok.jpg", "width": 640, "height": 480} | (image or {})],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 1, "bbox": [224, 48, 192, 422], "split": "test"}
            | annotation
        ],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    "annotation",
    [
        {"category_id": "1"},
        {"image_id": "1"},
        {"image_id": 1.0},
        {"iscrowd": "0"},
        {"iscrowd": False},
        {"iscrowd": "false"},
        {"iscrowd": None},
        {"bbox": ["224", "48", "192", "422"]},
    ],
)
def test_coco_string_category_and_other_ids_match_as_numbers(
    tmp_path: Path, annotation: dict[str, Any]
) -> None:
    dataset = _open(_coco(tmp_path, **annotation))
    assert dataset.problems() == []
    (sample,) = dataset.samples("test")
    assert sample.subject.id == "ok.jpg#7"
    assert sample.subject.boxes == (Box(left=224, top=48, right=416, bottom=470),)


def test_coco_all_crowds_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="1 person left out: crowd"):
        _open(_coco(tmp_path, iscrowd=1))


@pytest.mark.parametrize(
    ("annotation", "kind", "said"),
    [
        ({"bbox": [0.35, 0.1, 0.3, 0.88]}, "box_normalized", "shares"),
        ({"bbox": None, "segmentation": [[1, 2, 3, 4]]}, "bad_row", "only a segmentation"),
        ({"bbox": [NAN] * 4}, "bad_row", "no bbox"),
        ({"category_id": 9}, "bad_row", "no category has that id"),
        ({"iscrowd": "maybe"}, "bad_row", "neither 0 nor 1"),
        ({"id": [7]}, "bad_row", "a list"),
    ],
)
def test_problems_of_coco_annotations_are_named(
    tmp_path: Path, annotation: dict[str, Any], kind: str, said: str
) -> None:
    (problem,) = _open(_coco(tmp_path, **annotation)).problems()
    assert problem.kind == kind
    assert said in problem.message


def test_a_stored_size_in_coco_is_a_problem(tmp_path: Path) -> None:
    _photo(tmp_path / "ok.jpg", turned=True)
    dataset = _open(_coco(tmp_path, {"width": 480, "height": 640}, bbox=[48, 224, 300, 100]))
    assert [problem.kind for problem in verify(dataset).problems] == ["stored_orientation"]
