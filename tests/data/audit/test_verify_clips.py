"""Verifying clips: they are decoded completely, and boxes are checked in every frame."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.factories.datasets import BOX, clip_record, dataset_of, problem_kinds
from tests.factories.faulty_datasets import clip_of

from mien.data.audit.verify import verify
from mien.playhouse.layouts.bold import write_bold
from mien.types import Box, Problem


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    made = clip_of(0, num_frames=10)
    write_bold(tmp_path, {"train": [made]})
    return tmp_path / "videos" / made.video


def test_frames_are_checked_and_reported_once_per_subject(clip: Path) -> None:
    inside, out = Box.from_tuple(BOX), Box(left=-10, top=0, right=20, bottom=20)
    gone = replace(out, left=200, right=300)
    dataset = dataset_of(
        clip_record("fits", clip, (0, inside), (9, None)),
        clip_record("late", clip, (8, None), (10, None), (11, None)),
        clip_record("sticks out", clip, (2, out), (3, out), (4, inside)),
        clip_record("gone", clip, (2, out), (3, gone)),
    )
    verified = verify(dataset)
    assert [(problem.kind, problem.message.partition(":")[0]) for problem in verified.problems] == [
        *(("frame_range", "late"), ("box_clipped", "sticks out"), ("box_outside", "gone"))
    ]
    assert "2 of 3 frames" in verified.problems[1].message
    assert [(fault.subject_id, fault.frame) for fault in verified.outside_boxes] == [
        ("gone", 3),
        ("sticks out", 2),
    ]
    assert verified.num_images == 1


@pytest.mark.parametrize(
    ("share", "kind"), [(0.0, "empty"), (0.3, "clip_truncated"), (0.9, "clip_truncated")], ids=str
)
def test_a_truncated_clip_is_one_problem(clip: Path, share: float, kind: str) -> None:
    data = clip.read_bytes()
    clip.write_bytes(data[: int(share * len(data))])
    dataset = dataset_of(
        clip_record("a", clip, (0, None)),
        clip_record("b", clip, (20, None)),
        # From a dataset that only counts frames.
        sidecar_problems=[Problem(kind="frame_range", file=str(clip), message="b: the clip has 3 frames")],
    )
    assert problem_kinds(verify(dataset)) == [(kind, "0000.mp4")]


def test_a_file_that_is_not_a_clip_is_unreadable(clip: Path) -> None:
    clip.write_bytes(b"not a clip at all" * 99)
    assert problem_kinds(verify(dataset_of(clip_record("a", clip, (0, None))))) == [
        ("clip_unreadable", "0000.mp4")
    ]


def test_a_clip_damaged_inside_is_not_called_truncated(clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    middle = data.index(b"mdat") + 900
    data[middle : middle + 300] = bytes(300)
    clip.write_bytes(data)
    assert problem_kinds(verify(dataset_of(clip_record("a", clip, (0, None))))) == [
        ("clip_unreadable", "0000.mp4")
    ]


def test_copies_of_a_clip_are_duplicates(clip: Path) -> None:
    again = clip.with_name("again.mp4")
    again.write_bytes(clip.read_bytes())
    verified = verify(
        dataset_of(clip_record("a", clip, (0, None)), clip_record("b", again, (0, None), split="val"))
    )
    assert problem_kinds(verified) == [("duplicate", "again.mp4")]
