"""Lists of face boxes for CAER-S, valid and faulty."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.data import Dataset, open_dataset
from mien.errors import DataError
from mien.labels import CAERS
from mien.playhouse.layouts.caers import Frame, write_caers
from mien.recipe import DataOptions
from mien.types import Box

DOT = Image.new("RGB", (4, 4), "white")


def _open(root: Path, faces: Any = "faces", **more: Any) -> Dataset:
    options = DataOptions(name="caers", root=root, options={"faces": faces}, **more)
    return open_dataset(options, cache=root / ".cache")


def _boxes(dataset: Dataset, split: str) -> dict[str, Box | None]:
    return {record.sample.subject.id: record.sample.subject.boxes[0] for record in dataset.records(split)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of Sad in train, and one of Anger in test, in a folder named Angry."""
    sad = [Frame(label="Sad", image=DOT) for _ in range(2)]
    write_caers(tmp_path, {"train": sad, "test": [Frame(label="Anger", image=DOT, folder="Angry")]})
    (tmp_path / "test" / "Anger").rmdir()
    return tmp_path


def _list(root: Path, *lines: str, name: str = "list.txt") -> str:
    (root / name).write_text("\n".join(lines), encoding="utf-8")
    return name


# Not within the first pixels of the corner, where a box is taken for shares.
edges = st.floats(2, 5000, allow_nan=False).map(lambda edge: round(edge, 3))
boxes = st.builds(
    lambda left, top, width, height: Box(left=left, top=top, right=left + width, bottom=top + height),
    *(edges, edges, st.floats(0.5, 900), st.floats(0.5, 900)),
)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(CAERS.labels), st.none() | boxes), max_size=8))
def test_boxes_are_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, Box | None]]
) -> None:
    root = tmp_path_factory.mktemp("caers")
    frames = [
        Frame(label=label, image=DOT, face=box, name=f"é, {index}.png")
        for index, (label, box) in enumerate(rows)
    ]
    write_caers(root, {"train": frames, "test": frames})
    dataset = _open(root)
    assert dataset.problems() == []
    for split in ("train", "test"):
        assert _boxes(dataset, split) == {f"{split}/{f.label}/{f.name}": f.face for f in frames}


@pytest.mark.parametrize(
    "line",
    [
        "train/Sad/0001.png,5,1,2,30,40",
        "train/Sadness/0001.png,Sad,1,2,30,40",
        "./train\\sad\\0001.png, sadness, 1.0, 2, 30, 4e1",
    ],
)
def test_a_line_may_be_written_in_several_ways(root: Path, line: str) -> None:
    dataset = _open(root, _list(root, line))
    assert dataset.problems() == []
    box = Box(left=1, top=2, right=30, bottom=40)
    assert _boxes(dataset, "train") == {"train/Sad/0001.png": box, "train/Sad/0002.png": None}


def test_paths_may_be_relative_to_the_folder_that_the_list_is_named_after(root: Path) -> None:
    name = _list(root, "Anger/0001.png,0,1,2,30,40", name="test.txt")
    assert _boxes(_open(root, [name]), "test")["test/Angry/0001.png"] is not None
    (root / name).rename(root / "other.txt")
    assert [problem.kind for problem in _open(root, "other.txt").problems()] == ["missing"]


def test_the_folder_with_exactly_this_name_comes_first(root: Path) -> None:
    (root / "test" / "Anger").mkdir()
    (root / "test" / "Anger" / "0001.png").touch()
    lines = ("test/Angry/0001.png,0,1,1,5,5", "test/Anger/0001.png,0,2,2,5,5")
    left = {name: box and box.left for name, box in _boxes(_open(root, _list(root, *lines)), "test").items()}
    assert left == {"test/Angry/0001.png": 1, "test/Anger/0001.png": 2}


@pytest.mark.parametrize(
    ("line", "kind", "file"),
    [
        ("train/Sad/0001.png,5,1,2,30", "bad_row", "list.txt, row 2"),
        ("train/Sad/0001.png,5,1,2,30,wide", "bad_row", "list.txt, row 2"),
        ("train/Sad/0001.png,Fear,1,2,30,40", "bad_row", "list.txt, row 2"),
        ("train/Sad/0001.png,9,1,2,30,40", "bad_row", "list.txt, row 2"),
        ("train/Sad/0001.png,5,30,2,30,40", "box_degenerate", "train/Sad/0001.png"),
        ("train/Sad/0001.png,5,1,nan,30,40", "box_not_finite", "train/Sad/0001.png"),
    ],
)
def test_an_unusable_line_makes_its_image_unusable(root: Path, line: str, kind: str, file: str) -> None:
    name = _list(root, "train/Sad/0002.png,5,1,2,30,40", line)
    dataset = _open(root, name)
    (problem,) = dataset.problems()
    assert (problem.kind, problem.file) == (kind, str(root / file))
    with pytest.raises(DataError, match="1 rows of split 'train'"):
        dataset.samples("train")
    assert len(list(dataset.samples("test"))) == 1  # the other folder is not affected
    lenient = _open(root, name, skip_broken=True)
    assert [sample.subject.id for sample in lenient.samples("train")] == ["train/Sad/0002.png"]


def test_a_line_for_a_missing_image_is_reported_and_affects_no_other(root: Path) -> None:
    dataset = _open(root, _list(root, "train/Sad/0009.png,5,1,2,30,40"))
    (problem,) = dataset.problems()
    assert (problem.kind, problem.file) == ("missing", str(root / "train/Sad/0009.png"))
    assert "list.txt, row 1" in problem.message
    assert len(list(dataset.samples("train"))) == 2


def test_a_line_without_an_image_counts_for_every_split(root: Path) -> None:
    dataset = _open(root, _list(root, "what is this"))
    assert [len(dataset.unusable_rows(split)) for split in dataset.splits] == [1, 1]


def test_the_largest_of_several_boxes_is_used(root: Path) -> None:
    lines = [f"train/Sad/0001.png,5,0,0,{side},{side}" for side in (10, 30, 20)]
    dataset = _open(root, _list(root, *lines))
    box = _boxes(dataset, "train")["train/Sad/0001.png"]
    assert box is not None
    assert box.width == 30
    assert [(problem.kind, problem.file[-5:]) for problem in dataset.problems()] == [
        ("repeated_id", "row 2"),
        ("repeated_id", "row 3"),
    ]
    assert len(list(dataset.samples("train"))) == 2


def test_an_unreadable_list_is_an_error(root: Path) -> None:
    with pytest.raises(DataError, match="nothing"):
        _open(root, "nothing.txt").problems()
    (root / "latin.txt").write_bytes("train/Sad/caf\u00e9.png,5,1,2,3,4".encode("cp1252"))
    with pytest.raises(DataError, match="latin"):
        _open(root, "latin.txt").problems()
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="contains no face-box list"):
        _open(root, "empty").problems()
