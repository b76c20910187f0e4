"""EMOTIC from CSV files: valid cells and lines, and the problems reported for faulty ones."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.factories.emotic_copies import (
    annotated_image,
    copy_in_all_forms,
    open_emotic,
    records,
    ticked,
)

from mien.errors import DataError
from mien.playhouse.layouts.emotic import CSV_HEADER, write_emotic
from mien.types import Box


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_in_all_forms(tmp_path)


def test_the_image_size_in_the_csv_is_not_used(tmp_path: Path) -> None:
    box = Box(left=146, top=76, right=379, bottom=317)
    shown = [annotated_image(f"{i}.jpg", [ticked("Peace")], size=(380, 317), box=box) for i in range(4)]
    write_emotic(tmp_path / "copy", {"val": shown}, forms=["csv"])
    assert "[317, 380]" in (tmp_path / "copy" / "val.csv").read_text()
    for record in records(tmp_path / "copy", "csv"):
        assert record.size is None
        assert record.sample.subject.boxes == (box,)


# Row 4 of the file: the first person in the second image.
ROW = {
    "Folder": "framesdb/images",
    "Filename": "b.jpg",
    "Image Size": "[60, 30]",
    "BBox": "[0, 1, 20, 25]",
    "Categorical_Labels": "['Peace', 'Pain', 'Fear']",
    "Continuous_Labels": "[5.0, 6.0, 7.0]",
    "Gender": "Female",
    "Age": "Adult",
}
IMAGE = "emotic/framesdb/images/b.jpg"


def _rewrite(root: Path, **cells: str) -> None:
    path = root / "val.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    changed = {name.replace("_", " ") if name == "Image_Size" else name: cell for name, cell in cells.items()}
    assert dict(zip(rows[0], rows[3], strict=True)) == {"Index": "2"} | ROW
    rows[3] = [{"Index": "2", **ROW, **changed}[name] for name in rows[0]]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        pytest.param({"BBox": "[30, 1, 20, 25]"}, "box_degenerate", id="box-inverted"),
        pytest.param({"BBox": "[nan, 1, 20, 25]"}, "box_not_finite", id="box-nan"),
        pytest.param({"BBox": "[1e999, 1, 20, 25]"}, "box_not_finite", id="box-infinite"),
        pytest.param({"BBox": "[0, 1, 20]"}, "bad_row", id="box-of-three"),
        pytest.param({"BBox": "[0, 1, 20, '25']"}, "bad_row", id="box-of-text"),
        pytest.param({"BBox": "0 1 20 25"}, "bad_row", id="box-not-a-list"),
        pytest.param({"BBox": ""}, "bad_row", id="box-empty"),
        pytest.param({"BBox": f"[{'9' * 400}, 1, 20, 25]"}, "bad_row", id="box-overflow"),
        pytest.param({"BBox": "[" * 5000}, "bad_row", id="box-nested"),
        pytest.param({"Categorical_Labels": "['Joy']"}, "unknown_label", id="label-unknown"),
        pytest.param({"Categorical_Labels": "['peace']"}, "unknown_label", id="label-lower-case"),
        pytest.param({"Categorical_Labels": "[' Peace']"}, "unknown_label", id="label-with-space"),
        pytest.param({"Categorical_Labels": "[]"}, "no_label", id="no-label"),
        pytest.param({"Categorical_Labels": "'Peace'"}, "bad_row", id="label-not-a-list"),
        pytest.param({"Categorical_Labels": "[3]"}, "bad_row", id="label-number"),
        pytest.param({"Categorical_Labels": "['Peace'"}, "bad_row", id="label-truncated"),
        pytest.param({"Continuous_Labels": "[5.0, 11.0, 7.0]"}, "dimension_range", id="dimension-above"),
        pytest.param({"Continuous_Labels": "[5.0, nan, 7.0]"}, "dimension_range", id="dimension-missing"),
        pytest.param({"Continuous_Labels": "[5.0, 7.0]"}, "bad_row", id="dimensions-two"),
        pytest.param({"Filename": ""}, "bad_row", id="name-empty"),
        pytest.param({"Filename": "../../../etc/passwd"}, "bad_row", id="name-outside"),
        pytest.param({"Folder": "/etc"}, "bad_row", id="folder-absolute"),
    ],
)
def test_a_faulty_row_is_reported_and_the_others_are_read(
    root: Path, cells: dict[str, str], kind: str
) -> None:
    all_ids = {record.sample.subject.id for record in records(root, "csv")}
    _rewrite(root, **cells)
    dataset = open_emotic(root, form="csv")
    (problem,) = dataset.problems()
    assert problem.kind == kind
    assert problem.file == (str(root / IMAGE) if kind.startswith("box_") else "val.csv, row 4")
    remaining = {record.sample.subject.id for record in dataset.records("val")}
    # A row without an image name is not counted among that image's people.
    removed = "#1" if {"Filename", "Folder"} & set(cells) else "#0"
    assert remaining == all_ids - {f"val/framesdb/images/b.jpg{removed}"}
    with pytest.raises(DataError, match="1 rows of split 'val'"):
        dataset.samples("val")


def test_cells_are_parsed_but_not_executed(root: Path, tmp_path: Path) -> None:
    _rewrite(root, BBox=f"[__import__('pathlib').Path({str(tmp_path / 'executed')!r}).touch(), 1, 2, 3]")
    assert [problem.kind for problem in open_emotic(root, form="csv").problems()] == ["bad_row"]
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("cell", ["[nan, nan, nan]", "[NaN, NaN, NaN]", ""])
def test_a_person_without_dimensions_is_kept(root: Path, cell: str) -> None:
    _rewrite(root, Continuous_Labels=cell)
    dataset = open_emotic(root, form="csv")
    assert dataset.problems() == []
    without = [s.subject.id for s in dataset.samples("val") if s.target and s.target.dimensions is None]
    assert without == ["val/framesdb/images/b.jpg#0"]
    assert len(list(open_emotic(root, form="csv", drop_without_vad=True).samples("val"))) == 5


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        pytest.param("6,mscoco/images,x.jpg", "bad_row", id="too-few"),
        pytest.param('6,mscoco/images,x.jpg,"[1, 2]",,,,,,,,', "bad_row", id="too-many"),
        pytest.param(
            "6,mscoco/images,a.jpg,\"[60, 30]\",\"[0, 1, 20, 25]\",\"['Peace', 'Pain', 'Fear']\","
            '"[5.0, 6.0, 7.0]",Female,Adult',
            "repeated_id",
            id="repeated",
        ),
    ],
)
def test_a_faulty_line_is_reported(root: Path, line: str, kind: str) -> None:
    with (root / "val.csv").open("a", encoding="utf-8") as file:
        file.write(line + "\n\n")
    dataset = open_emotic(root, form="csv")
    (problem,) = dataset.problems()
    assert (problem.kind, problem.file) == (kind, "val.csv, row 8")
    assert len(list(dataset.records("val"))) == 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "has no rows", id="empty"),
        pytest.param(
            ",".join(CSV_HEADER).replace("BBox", "Box").encode(), "has no column 'BBox'", id="header"
        ),
        pytest.param(",".join(CSV_HEADER).encode() + b"\n\xe9", "cannot be read", id="latin-1"),
    ],
)
def test_a_file_without_the_columns_is_an_error(root: Path, content: bytes, message: str) -> None:
    (root / "val.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_emotic(root, form="csv")
    assert caught.value.hint
