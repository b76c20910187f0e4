"""Playhouse in BoLD's layout: the files are like the release's, and the reader finds what was written."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mien.data import open_dataset
from mien.labels import BOLD
from mien.media.clips import read_frames, verify_clip
from mien.playhouse.draw import SIZE, person_boxes
from mien.playhouse.figure import Figure
from mien.playhouse.layouts.annotated_images import sample_images
from mien.playhouse.layouts.bold import (
    JOINTS,
    MIN_CONFIDENCE,
    Clip,
    figure_joints,
    sample_clips,
    write,
    write_bold,
)
from mien.recipe import DataOptions

FRAMES = 16
COUNTS = {"train": 4, "val": 3, "test": 2}


@pytest.fixture(scope="module")
def clips() -> dict[str, list[Clip]]:
    return {split: list(sample_clips(split, count, 7, num_frames=FRAMES)) for split, count in COUNTS.items()}


@pytest.fixture(scope="module")
def root(clips: dict[str, list[Clip]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bold") / "BOLD_public"
    write_bold(path, clips)
    return path


def _all_clips(clips: dict[str, list[Clip]]) -> list[Clip]:
    return [clip for split in clips.values() for clip in split]


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


# --- Like the release ----------------------------------------------------------------------------------


def test_files_are_where_the_release_has_them(root: Path, clips: dict[str, list[Clip]]) -> None:
    names = {clip.video for clip in _all_clips(clips)}
    assert len(names) == sum(COUNTS.values())
    for name in names:
        collection, film, clip = name.split("/")
        assert (collection, len(film), film[-4:], clip[-4:]) == ("003", 15, ".mp4", ".mp4")
        assert (root / "videos" / name).is_file()
        assert (root / "joints" / collection / film / clip.replace(".mp4", ".npy")).is_file()


def test_annotations_have_37_columns_and_no_header(root: Path) -> None:
    for split in ("train", "val"):
        rows = _rows(root / "annotations" / f"{split}.csv")
        assert rows
        assert {len(row) for row in rows} == {37}
        assert all(0 <= float(cell) <= 1 for row in rows for cell in row[4:30])
        assert all(1 <= float(cell) <= 10 for row in rows for cell in row[30:33])
    assert {len(row) for row in _rows(root / "annotations" / "test_meta.csv")} == {4}


def test_joints_are_rows_of_56_with_absolute_frames(root: Path, clips: dict[str, list[Clip]]) -> None:
    for clip in _all_clips(clips):
        rows = np.load((root / "joints" / clip.video).with_suffix(".npy"))
        assert rows.shape[1] == 2 + 3 * len(JOINTS) == 56
        assert rows[0, 0] == clip.first_frame >= 1000
        assert rows[-1, 0] == clip.first_frame + FRAMES - 1
        assert (np.diff(rows[:, 0]) >= 0).all()


def test_joints_have_the_weaknesses_of_a_detector() -> None:
    clips = list(sample_clips("val", 10, 3, num_frames=60))
    joints = np.concatenate([player.joints for clip in clips for player in clip.people])
    unsure = (joints[..., 2] < MIN_CONFIDENCE).mean(where=~np.isnan(joints[..., 2]))
    assert 0.03 < unsure < 0.15
    missed = [np.isnan(player.joints).all(axis=(1, 2)) for clip in clips for player in clip.people]
    assert 0 < np.mean([gap.any() for gap in missed]) < 1
    assert all(not np.isnan(clip.people[0].joints).any() for clip in clips)


def test_the_clips_show_the_drawings(root: Path, clips: dict[str, list[Clip]]) -> None:
    for clip in _all_clips(clips)[:3]:
        path = root / "videos" / clip.video
        info = verify_clip(path)
        assert (info.num_frames, info.width, info.height, info.rate) == (FRAMES, SIZE, SIZE, 25)
        for frame in (0, 7, FRAMES - 1):
            (image,) = read_frames(path, [frame])
            errors = [_difference(image, drawn) for drawn in clip.frames]
            assert errors[frame] == min(errors) < 8
        assert max(_difference(clip.frames[0], drawn) for drawn in clip.frames) > 1  # people move


def _difference(image: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(image, np.float64) - np.asarray(other, np.float64)).mean())


def test_several_people_share_a_clip(clips: dict[str, list[Clip]]) -> None:
    assert max(len(clip.people) for clip in _all_clips(clips)) > 1


def test_films_do_not_cross_splits(clips: dict[str, list[Clip]]) -> None:
    films = [{clip.video.split("/")[1] for clip in some} for some in clips.values()]
    assert sum(map(len, films)) == len(set.union(*films))


# --- Read back ---------------------------------------------------------------------------------------


def _box(joints: np.ndarray) -> tuple[float, float, float, float]:
    sure = [(x, y) for x, y, confidence in joints.tolist() if confidence >= 0.1]
    xs, ys = zip(*sure, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def test_the_reader_finds_what_was_written(root: Path, clips: dict[str, list[Clip]], tmp_path: Path) -> None:
    dataset = open_dataset(
        DataOptions(name="bold", root=root.parent, options={"num_frames": 6}), cache=tmp_path
    )
    assert dataset.splits == ("train", "val", "test")
    for split, some in clips.items():
        written = [(clip, player) for clip in some for player in clip.people if player.scores is not None]
        records = list(dataset.records(split))
        for (clip, player), record in zip(written, records, strict=True):
            subject, target = record.sample.subject, record.sample.target
            assert subject.id == f"{clip.video}#{player.person_id}@{player.min_frame}-{player.max_frame}"
            assert {ref.path for ref in subject.images} == {root / "videos" / clip.video}
            for ref, box in zip(subject.images, subject.boxes, strict=True):
                assert ref.frame is not None
                assert player.min_frame <= ref.frame <= player.max_frame
                assert box is not None
                if not np.isnan(player.joints[ref.frame]).any():
                    assert box.as_tuple() == pytest.approx(_box(player.joints[ref.frame]))
            if split == "test":
                assert target is None
                continue
            assert target is not None
            assert player.scores is not None
            assert target.labels == {label: score for label, score in player.scores.items() if score > 0}
            assert target.dimensions is not None
            assert player.dimensions is not None
            assert list(target.dimensions.values()) == pytest.approx(
                [step / 10 for step in player.dimensions]
            )
            assert record.attributes["ethnicity"] == player.ethnicity


def test_a_written_copy_has_no_problems(tmp_path: Path) -> None:
    write(tmp_path, train=3, val=2, test=2, seed=11)
    dataset = open_dataset(DataOptions(name="bold", root=tmp_path), cache=tmp_path / "cache")
    assert dataset.problems() == []
    assert list(dataset.sidecar_problems()) == []
    shown = [ref for sample in dataset.samples("val") for ref in sample.subject.images]
    assert max(ref.frame or 0 for ref in shown) > 60  # clips are as long as the release's


# --- Drawn -------------------------------------------------------------------------------------------


def test_scores_are_shares_of_the_annotators(clips: dict[str, list[Clip]]) -> None:
    scores = [player.scores for clip in _all_clips(clips) for player in clip.people if player.scores]
    assert all(set(some) == set(BOLD.labels) for some in scores)
    shares = {score for some in scores for score in some.values()}
    assert shares <= {number / 5 for number in range(6)}
    assert len(shares) > 3


def test_the_same_seed_draws_the_same(clips: dict[str, list[Clip]]) -> None:
    (again,) = sample_clips("val", 1, 7, num_frames=FRAMES)
    first = clips["val"][0]
    assert again.video == first.video
    assert again.first_frame == first.first_frame
    for one, other in zip(again.people, first.people, strict=True):
        np.testing.assert_array_equal(one.joints, other.joints)
        assert one.scores == other.scores
    (different,) = sample_clips("val", 1, 8, num_frames=FRAMES)
    assert different.video != first.video


def test_joints_are_in_the_box_of_the_drawing() -> None:
    blank = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    for annotated in sample_images("val", 20, 4, 1):
        assert annotated.scene is not None
        for person, box in zip(annotated.scene.people, person_boxes(annotated.scene), strict=True):
            points = figure_joints(Figure(blank, person, SIZE)).clip(0, SIZE)
            assert (points >= [box.left, box.top]).all()
            assert (points <= [box.right, box.bottom]).all()
            # From the eyes to the ankles, most of the drawing's height.
            assert np.ptp(points[:, 1]) > 0.6 * box.height


def test_right_and_left_are_the_persons_own() -> None:
    blank = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    names = {name: number for number, name in enumerate(JOINTS)}
    for annotated in sample_images("val", 10, 4, 1):
        assert annotated.scene is not None
        for person in annotated.scene.people:
            points = figure_joints(Figure(blank, person, SIZE))
            for part in ("shoulder", "hip", "knee", "ankle", "eye", "ear"):
                assert points[names[f"right {part}"], 0] < points[names[f"left {part}"], 0]
