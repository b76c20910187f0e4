"""Faults in a copy of BoLD: each is reported once, with its kind and position."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.factories.bold_copies import (
    ORDER,
    Someone,
    boxes,
    everywhere,
    joints_at,
    kinds,
    open_bold,
    save_annotations,
    save_clip,
    save_joints,
)

from mien.data.audit.verify import verify
from mien.errors import DataError
from mien.playhouse.layouts.bold import sample_clips, write_bold

VIDEO = "003/film.mp4/0001.mp4"
GOOD = Someone(seen=everywhere(0, 0, 9, 9)).cells(VIDEO)


def _with(place: int, value: str) -> list[str]:
    return [*GOOD[:place], value, *GOOD[place + 1 :]]


ROWS: dict[str, tuple[str, list[str]]] = {
    "a column too few": ("bad_row", GOOD[:-1]),
    "a column too many": ("bad_row", [*GOOD, "1"]),
    "one column": ("bad_row", ["garbage"]),
    "no number": ("bad_row", _with(1, "first")),
    "half a person": ("bad_row", _with(1, "0.5")),
    "an infinite number": ("bad_row", _with(3, "inf")),
    "a score above 1": ("bad_row", _with(4, "1.01")),
    "a score below 0": ("bad_row", _with(29, "-0.1")),
    "no score": ("bad_row", _with(10, "nan")),
    "an empty score": ("bad_row", _with(10, "")),
    "no video": ("bad_row", _with(0, "")),
    "a path outside the root": ("bad_row", _with(0, "../../secret.mp4")),
    "an absolute path": ("bad_row", _with(0, "/etc/secret.mp4")),
    "an inverted range": ("frame_range", _with(2, "10")),
    "a negative range": ("frame_range", _with(2, "-1")),
    "valence of 11": ("dimension_range", _with(30, "11")),
    "dominance of 0": ("dimension_range", _with(32, "0")),
    "arousal alone is missing": ("dimension_range", _with(31, "")),
    "arousal is not a number": ("dimension_range", _with(31, "nan")),
    "code": ("bad_row", _with(1, "__import__('os')")),
}


@pytest.mark.parametrize("fault", ROWS)
def test_an_unusable_row_is_reported(tmp_path: Path, fault: str) -> None:
    kind, row = ROWS[fault]
    other = Someone(person_id=3, seen=everywhere(0, 0, 9, 9))
    save_clip(tmp_path, VIDEO, other)
    save_annotations(tmp_path, "train.csv", [other.cells(VIDEO), row])
    dataset = open_bold(tmp_path)
    assert kinds(dataset.problems()) == [(kind, "train.csv, row 2")]
    assert kinds(dataset.unusable_rows("train")) == [(kind, "train.csv, row 2")]
    with pytest.raises(DataError, match="1 rows of split 'train'"):
        dataset.samples("train")
    (sample,) = open_bold(tmp_path, skip_broken=True).samples("train")
    assert sample.subject.id == f"{VIDEO}#3@0-9"


def test_a_repeated_person_is_reported_across_splits(tmp_path: Path) -> None:
    save_clip(tmp_path, VIDEO, Someone(seen=everywhere(0, 0, 9, 9)))
    save_annotations(tmp_path, "train.csv", [GOOD, GOOD])
    save_annotations(tmp_path, "test_meta.csv", [GOOD[:4]])
    dataset = open_bold(tmp_path)
    assert kinds(dataset.problems()) == [
        ("repeated_id", "train.csv, row 2"),
        ("repeated_id", "test_meta.csv, row 1"),
    ]
    assert list(dataset.records("test")) == []


def test_a_row_of_zeros_is_reported_and_used(tmp_path: Path) -> None:
    save_clip(tmp_path, VIDEO, Someone(scores={}, seen=everywhere(0, 0, 9, 9)))
    dataset = open_bold(tmp_path)
    assert kinds(dataset.problems()) == [("no_label", "train.csv, row 1")]
    (sample,) = dataset.samples("train")
    assert sample.target is not None
    assert sample.target.labels == {}


def test_columns_are_found_by_name_if_there_is_a_header(tmp_path: Path) -> None:
    scores = {label: (index + 1) / 27 for index, label in enumerate(ORDER)}
    someone = Someone(scores=scores, seen=everywhere(0, 0, 9, 9))
    save_clip(tmp_path, VIDEO, someone)
    names = ["video", "person_id", "min_frame", "max_frame", *ORDER, "Valence", "Arousal", "Dominance"]
    names += ["Gender", "Age", "Ethnicity", "annotation_confidence"]
    reordered = [[*row[:1], *reversed(row[1:])] for row in (names, someone.cells(VIDEO))]
    save_annotations(tmp_path, "train.csv", reordered)
    (sample,) = open_bold(tmp_path).samples("train")
    assert sample.target is not None
    assert sample.target.labels == scores
    save_annotations(tmp_path, "train.csv", [["video", *names[2:]], GOOD])
    with pytest.raises(DataError, match="has no column 'person_id'"):
        open_bold(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00broken", b"caf\xe9.mp4,0,0,9\n"])
def test_a_file_that_is_not_text_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.csv cannot be read"):
        open_bold(tmp_path)


# --- Joints ------------------------------------------------------------------------------------------


def _pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def _archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, joints=np.zeros((3, 56)))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


JOINTS: dict[str, Callable[[Path], Any]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("joints"),
    "truncated": _truncate,
    "pickled": _pickled,
    "an archive": _archive,
    "too few columns": lambda path: np.save(path, np.zeros((3, 55))),
    "one row": lambda path: np.save(path, np.zeros(56)),
    "no row": lambda path: np.save(path, np.zeros((0, 56))),
    "no frame numbers": lambda path: np.save(path, np.full((3, 56), np.nan)),
    "words": lambda path: np.save(path, np.full((3, 56), "x")),
}


@pytest.mark.parametrize("fault", JOINTS)
def test_unreadable_joints_give_no_box_and_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    people = [Someone(person_id=number, seen=everywhere(0, 0, 9, 9)) for number in (0, 1)]
    JOINTS[fault](save_clip(tmp_path, VIDEO, *people))
    dataset = open_bold(tmp_path)
    assert dataset.problems() == []
    assert kinds(list(dataset.sidecar_problems())) == [("joints_missing", "0001.npy")]
    with caplog.at_level(logging.WARNING):
        assert boxes(dataset) == [[None] * 8] * 2
        assert boxes(dataset) == [[None] * 8] * 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "0001.npy" in caplog.text


def test_a_person_without_joints_is_reported(tmp_path: Path) -> None:
    seen, late = (
        Someone(seen=everywhere(0, 0, 9, 9)),
        Someone(person_id=1, seen=everywhere(0, 0, 9, 9, frames=[40])),
    )
    save_clip(tmp_path, VIDEO, seen, late, Someone(person_id=2))
    problems = list(open_bold(tmp_path).sidecar_problems())
    assert kinds(problems) == [("no_person", "0001.npy")] * 2
    assert [
        f"#{number}@0-9" in problem.message for number, problem in zip((1, 2), problems, strict=True)
    ] == [True] * 2


def test_a_gap_wider_than_the_bridge_is_reported(tmp_path: Path) -> None:
    seen = {frame: joints_at(0, 0, 9, 9) for frame in (0, 99)}
    save_clip(tmp_path, VIDEO, Someone(last=99, seen=seen))
    (problem,) = open_bold(tmp_path).sidecar_problems()
    assert problem.kind == "joints_gap"
    assert problem.message.endswith("frames 31, 43, 56, 68")
    assert list(open_bold(tmp_path, bridge=50).sidecar_problems()) == []


# --- Clips -------------------------------------------------------------------------------------------


def test_frames_beyond_the_end_of_a_clip_are_reported(tmp_path: Path) -> None:
    (clip,) = sample_clips("val", 1, 5, num_frames=16)
    write_bold(tmp_path, {"val": [clip]})
    path = tmp_path / "videos" / clip.video
    someone = Someone(person_id=0, seen=everywhere(0, 0, 9, 9, frames=range(30)))
    for last, expected in ((15, []), (16, []), (17, [("frame_range", path.name)])):
        someone.last = last
        save_annotations(tmp_path, "val.csv", [someone.cells(clip.video)])
        assert kinds(list(open_bold(tmp_path).sidecar_problems())) == expected
    path.write_bytes(b"no clip")
    assert list(open_bold(tmp_path).sidecar_problems()) == []  # reported by verify
    assert kinds(list(verify(open_bold(tmp_path)).problems)) == [("clip_unreadable", path.name)]


def test_missing_joints_are_reported_and_fatal_with_absolute_frames(tmp_path: Path) -> None:
    someone = Someone(first=1000, last=1009, seen=everywhere(0, 0, 9, 9))
    save_clip(tmp_path, VIDEO, someone, offset=1000).unlink()
    dataset = open_bold(tmp_path, frames="absolute")
    assert [problem.kind for problem in dataset.sidecar_problems()] == ["joints_missing"]
    with pytest.raises(DataError, match=r"the first frame of .* is unknown"):
        list(dataset.samples("train"))


def test_missing_joints_are_reported_once_per_clip(tmp_path: Path) -> None:
    other = "003/film.mp4/0002.mp4"
    people = [Someone(0, seen=everywhere(0, 0, 9, 9)), Someone(1, seen=everywhere(0, 0, 9, 9))]
    rows = [people[0].cells(VIDEO), people[0].cells(other), people[1].cells(VIDEO)]
    save_annotations(tmp_path, "train.csv", rows)
    save_annotations(tmp_path, "val.csv", [[*people[1].cells(VIDEO)[:1], "2", "0", "9", *GOOD[4:]]])
    save_joints(tmp_path, other, people[:1])
    kinds_found = [problem.kind for problem in open_bold(tmp_path).sidecar_problems()]
    assert kinds_found.count("joints_missing") == 1
