"""Rows with several people, and rows of clips."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from mien.data import Dataset, open_dataset
from mien.media.clips import spread_frames
from mien.recipe import DataOptions
from mien.types import Box, Subject, Target

BOX = [1, 2, 30, 40]


def _open(path: Path, **options: Any) -> Dataset:
    return open_dataset(DataOptions(name="manifest", root=path, options=options), cache=path.parent)


def _write(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "people.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def _subject(folder: Path, row: dict[str, Any], **options: Any) -> Subject:
    dataset = _open(_write(folder, row), **options)
    assert dataset.problems() == []
    (sample,) = dataset.samples("all")
    return sample.subject


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """24 frames of 32 x 32 pixels."""
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for index in range(24):
            pixels = np.full((32, 32, 3), index * 10, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


# --- People ------------------------------------------------------------------------------------------

PEOPLE: list[dict[str, Any]] = [
    {"box": BOX, "labels": ["Peace"]},
    {"id": "me", "labels": ["Pain"], "valence": 0.1, "arousal": 0.2, "dominance": 0.3},
    {"box": [5, 5, 9, 9]},
]


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_each_of_several_people_is_a_subject(tmp_path: Path, file_format: str) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "beach", "image": "1.jpg", "split": "test", "people": PEOPLE},
        {"image": "2.jpg", "split": "test", "people": [{"box": BOX}]},
        {"image": "3.jpg", "split": "test", "people": []},
        {"id": "alone", "image": "3.jpg", "split": "test"},
    ]
    path = _write(tmp_path, *rows)
    if file_format == "parquet":
        path = tmp_path / "people.parquet"
        parquet.write_table(pa.Table.from_pylist(rows), path)
    samples = list(_open(path).samples("test"))
    assert [sample.subject.id for sample in samples] == ["beach.0", "me", "beach.2", "2.jpg#2.0", "alone"]
    assert [sample.subject.images[0].path.name for sample in samples] == [f"{i}.jpg" for i in (1, 1, 1, 2, 3)]
    first, second, third, *_ = samples
    assert first.subject.boxes == (Box(left=1, top=2, right=30, bottom=40),)
    assert second.subject.boxes == (None,)
    assert third.target is None
    assert second.target is not None
    assert second.target.labels == {"Pain": 1.0}
    assert second.target.dimensions == {"valence": 0.1, "arousal": 0.2, "dominance": 0.3}


def test_an_invalid_person_does_not_affect_the_others(tmp_path: Path) -> None:
    people = [{"box": BOX}, {"labels": ["Piece"]}, {"box": BOX, "id": "x.0"}]
    path = _write(tmp_path, {"id": "x", "image": "1.jpg", "people": people})
    options = DataOptions(name="manifest", root=path, skip_broken=True)
    dataset = open_dataset(options, cache=tmp_path)
    assert [(problem.kind, problem.file) for problem in dataset.problems()] == [
        ("unknown_label", f"{path}, row 1, person 2"),
        ("repeated_id", f"{path}, row 1, person 3"),
    ]
    assert [sample.subject.id for sample in dataset.samples("all")] == ["x.0"]


def test_people_in_one_image_stay_together_when_val_is_held_out(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"image": f"{i}.jpg", "split": "train", "people": [{}, {}]} for i in range(60)
    ]
    dataset = _open(_write(tmp_path, *rows), val_share=0.3)
    images = [{s.subject.images[0].path for s in dataset.samples(split)} for split in ("train", "val")]
    assert len(images[0] | images[1]) == 60
    assert not images[0] & images[1]


# --- Clips -------------------------------------------------------------------------------------------


def test_frames_can_be_listed(tmp_path: Path) -> None:
    subject = _subject(tmp_path, {"image": "a/b.MKV", "frames": [7, 3, 3], "box": BOX})
    assert [(ref.path, ref.frame) for ref in subject.images] == [
        (tmp_path / "a/b.MKV", frame) for frame in (7, 3, 3)
    ]
    assert subject.boxes == (Box(left=1, top=2, right=30, bottom=40),) * 3
    assert subject.id == "a/b.MKV#1"


def test_each_listed_frame_can_have_a_box(tmp_path: Path) -> None:
    subject = _subject(tmp_path, {"clip": "b.mp4", "frames": [7, 3], "boxes": [BOX, None]})
    assert subject.boxes == (Box(left=1, top=2, right=30, bottom=40), None)


@pytest.mark.parametrize("first", [0, 5])
def test_frames_and_their_boxes_are_spread_over_a_range(tmp_path: Path, first: int) -> None:
    boxes = [[i, i, i + 1, i + 1] for i in range(first, 41)]
    row = {"clip": "b.mp4", "first_frame": first, "last_frame": 40, "boxes": boxes}
    subject = _subject(tmp_path, row, num_frames=5)
    assert [ref.frame for ref in subject.images] == list(spread_frames(first, 40, 5))
    assert [box and box.left for box in subject.boxes] == [ref.frame for ref in subject.images]


def test_without_a_range_the_whole_clip_is_used(tmp_path: Path, clip: Path) -> None:
    for row, first in (({"clip": clip.name}, 0), ({"image": clip.name, "first_frame": 10}, 10)):
        subject = _subject(tmp_path, row)
        assert [ref.frame for ref in subject.images] == list(spread_frames(first, 23, 8))
        assert subject.boxes == (None,) * 8


def test_a_clip_of_unknown_length_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no clip")
    dataset = _open(_write(tmp_path, {"clip": "bad.mp4"}, {"clip": "none.mp4"}))
    assert [problem.kind for problem in dataset.problems()] == ["clip_unreadable", "missing"]


def test_several_people_in_a_clip(tmp_path: Path) -> None:
    people = [{"box": BOX}, {"boxes": [None, BOX], "frames": [1, 2]}]
    row = {"clip": "b.mp4", "first_frame": 0, "last_frame": 9, "people": people}
    dataset = _open(_write(tmp_path, row))
    # Ambiguous: the second person has frames, and the row has a range.
    assert [(problem.kind, problem.file[-8:]) for problem in dataset.problems()] == [("bad_row", "person 2")]
    del row["first_frame"], row["last_frame"]
    row["frames"], people[1] = [4, 5], {"boxes": [None, BOX]}
    subjects = [sample.subject for sample in _open(_write(tmp_path, row)).samples("all")]
    assert [[ref.frame for ref in subject.images] for subject in subjects] == [[4, 5], [4, 5]]
    assert subjects[1].boxes[0] is None


def test_csv_cells_can_contain_frames(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('clip,first_frame,last_frame,frames\nb.mp4,3,3,\nb.mp4,,,"[5, 6]"\n')
    first, second = _open(path, num_frames=2).samples("all")
    assert [ref.frame for ref in first.subject.images] == [3, 3]
    assert [ref.frame for ref in second.subject.images] == [5, 6]


def test_an_export_is_a_valid_manifest(tmp_path: Path) -> None:
    rows = [
        {
            "id": "still",
            "images": ["/photos/a.png"],
            "frames": [None],
            "boxes": [[1.0, 2.0, 30.0, 40.0]],
            "labels": {"Peace": 0.75},
            "dimensions": {"valence": 0.5, "arousal": 0.25, "dominance": 1.0},
            "split": "test",
        },
        {
            "id": "clip",
            "images": ["/clips/a.mp4"] * 2,
            "frames": [3, 9],
            "boxes": [None, [1.0, 2.0, 30.0, 40.0]],
            "labels": {},
            "dimensions": None,
            "split": "test",
        },
    ]
    path = tmp_path / "export.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    dataset = open_dataset(DataOptions(name="manifest", root=path), cache=tmp_path)
    still, clip = dataset.samples("test")
    box = Box(left=1, top=2, right=30, bottom=40)
    assert still.subject == Subject.still("still", Path("/photos/a.png"), box)
    vad = {"valence": 0.5, "arousal": 0.25, "dominance": 1.0}
    assert still.target == Target(labels={"Peace": 0.75}, dimensions=vad)
    assert [(image.path, image.frame) for image in clip.subject.images] == [
        (Path("/clips/a.mp4"), 3),
        (Path("/clips/a.mp4"), 9),
    ]
    assert (clip.subject.boxes, clip.target) == ((None, box), None)


def test_an_exported_row_with_several_images_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    path.write_text(json.dumps({"id": "a", "images": ["a.png", "b.png"], "frames": [None, None]}))
    (problem,) = open_dataset(DataOptions(name="manifest", root=path), cache=tmp_path).problems()
    assert problem.kind == "bad_row"
    assert "images" in problem.message
