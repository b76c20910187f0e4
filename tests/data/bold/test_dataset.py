"""BoLD from its files: what is read back, and the pitfalls of its format."""

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.factories.bold_copies import (
    ORDER,
    Joint,
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

from mien.data.bold import dataset as bold
from mien.errors import ConfigError, DataError
from mien.labels import BOLD, EMOTIC
from mien.media.clips import spread_frames

VIDEO = "003/ab-cd_EFGhi.mp4/0001.mp4"

_numbers = st.floats(0, 1000, allow_nan=False, width=32)
_joint = st.tuples(_numbers, _numbers, st.floats(0, 1))
_names = st.text(
    st.characters(exclude_characters='/\0"', exclude_categories=("Cc", "Cs")), min_size=1, max_size=12
)


@st.composite
def _people(draw: st.DrawFn, person_id: int) -> Someone:
    first = draw(st.integers(0, 8))
    frames = draw(st.sets(st.integers(0, 14), min_size=1, max_size=6))
    score = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])
    return Someone(
        person_id=person_id,
        first=first,
        last=first + draw(st.integers(0, 8)),
        scores=draw(st.dictionaries(st.sampled_from(ORDER), score, min_size=1)),
        dimensions=draw(st.none() | st.tuples(*[st.floats(1, 10)] * 3)),
        attributes=(
            draw(st.sampled_from(["Male", "Female"])),
            "Adult",
            draw(st.sampled_from(["White", ""])),
            "0.5",
        ),
        seen={frame: draw(st.lists(_joint, min_size=18, max_size=18)) for frame in frames},
    )


def _extent(joints: list[Joint], least: float) -> tuple[float, float, float, float] | None:
    valid = [(x, y) for x, y, confidence in joints if confidence >= least]
    if not valid:
        return None
    xs, ys = zip(*valid, strict=True)
    return (min(xs), min(ys), max(xs), max(ys)) if min(xs) < max(xs) and min(ys) < max(ys) else None


def _expected(someone: Someone, frame: int, bridge: int, least: float) -> tuple[float, ...] | None:
    """Computed frame by frame, independently of the reader."""
    seen = {at: box for at, joints in someone.seen.items() if (box := _extent(list(joints), least))}
    if not seen or min(abs(at - frame) for at in seen) > bridge:
        return None
    before = max((at for at in seen if at <= frame), default=None)
    after = min((at for at in seen if at >= frame), default=None)
    if before is None or after is None or before == after:
        near = after if before is None else before
        assert near is not None, "the person is seen somewhere"
        return seen[near]
    share = (frame - before) / (after - before)
    return tuple((1 - share) * a + share * b for a, b in zip(seen[before], seen[after], strict=True))


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40)
@given(
    data=st.data(), names=st.tuples(_names, _names), offset=st.integers(0, 100_000), bridge=st.integers(0, 6)
)
def test_every_person_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    names: tuple[str, str],
    offset: int,
    bridge: int,
) -> None:
    root = tmp_path_factory.mktemp("bold")
    folder, name = names[0].strip(" .") or "a b", names[1].strip(" .") or "ü"
    people = [data.draw(_people(person_id)) for person_id in range(data.draw(st.integers(1, 3)))]
    video = f"003/{folder}.mp4/{name}.mp4"
    people[0].seen = {
        0: joints_at(1, 2, 3, 4),
        **people[0].seen,
    }  # so that the first frame of the clip is known
    save_clip(root, video, *people, offset=offset)
    records = list(open_bold(root, bridge=bridge, num_frames=5).records("train"))
    for someone, record in zip(people, records, strict=True):
        subject, target = record.sample.subject, record.sample.target
        frames = spread_frames(someone.first, someone.last, 5)
        assert subject.id == f"{video}#{someone.person_id}@{someone.first}-{someone.last}"
        assert [(ref.path, ref.frame) for ref in subject.images] == [
            (root / "videos" / video, at) for at in frames
        ]
        for box, frame in zip(subject.boxes, frames, strict=True):
            expected = _expected(someone, frame, bridge, least=0.1)
            assert (box is None) == (expected is None)
            assert box is None or box.as_tuple() == pytest.approx(expected, abs=1e-4)
        assert target is not None
        assert target.labels == {label: score for label, score in someone.scores.items() if score > 0}
        if someone.dimensions is None:
            assert target.dimensions is None
        else:
            ratings = zip(("valence", "arousal", "dominance"), someone.dimensions, strict=True)
            assert target.dimensions == {dimension: rating / 10 for dimension, rating in ratings}
        names_of_attributes = ("gender", "age", "ethnicity", "annotation_confidence")
        attributes = zip(names_of_attributes, someone.attributes, strict=True)
        assert record.attributes == {key: value for key, value in attributes if value}


# --- Labels ------------------------------------------------------------------------------------------


def test_scores_are_read_in_bolds_own_order(tmp_path: Path) -> None:
    scores = {label: (index + 1) / 27 for index, label in enumerate(ORDER)}
    save_clip(tmp_path, VIDEO, Someone(scores=scores, seen=everywhere(0, 0, 9, 9)))
    (sample,) = open_bold(tmp_path).samples("train")
    assert sample.target is not None
    assert sample.target.labels == scores
    assert BOLD.encode(sample.target.labels) == list(scores.values())
    assert EMOTIC.encode(sample.target.labels) != list(scores.values())


def test_soft_scores_can_be_thresholded(tmp_path: Path) -> None:
    scores = {"Peace": 0.4999, "Anger": 0.5, "Pain": 1.0, "Fear": 0.0}
    save_clip(tmp_path, VIDEO, Someone(scores=scores, seen=everywhere(0, 0, 9, 9)))
    (sample,) = open_bold(tmp_path, soft=False).samples("train")
    assert sample.target is not None
    assert sample.target.labels == {"Anger": 1.0, "Pain": 1.0}


@pytest.mark.parametrize(
    "rows",
    [
        [[VIDEO, "4", "0", "9"]],
        [["video", "person_id", "min_frame", "max_frame"], [VIDEO, "4", "0", "9"]],
        [["Video", "max_frame", "min_frame", "person_id"], [VIDEO, "9", "0", "4"]],
        [[VIDEO, "4", "0", "9", "and", "further", "columns"]],
    ],
    ids=["plain", "header", "other order", "more columns"],
)
def test_the_test_split_has_no_labels(tmp_path: Path, rows: list[list[str]]) -> None:
    save_annotations(tmp_path, "test_meta.csv", rows)
    save_joints(tmp_path, VIDEO, [Someone(person_id=4, seen=everywhere(1, 2, 3, 4))])
    dataset = open_bold(tmp_path)
    assert dataset.splits == ("test",)
    (sample,) = dataset.samples("test")
    assert sample.target is None
    assert sample.subject.id == f"{VIDEO}#4@0-9"
    assert set(sample.subject.boxes) == {sample.subject.boxes[0]} != {None}
    assert dataset.problems() == []


# --- Boxes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 5173])
def test_frame_numbers_of_joints_are_absolute(tmp_path: Path, offset: int) -> None:
    moving = {frame: joints_at(frame, 0, frame + 10, 10) for frame in range(8)}
    save_clip(tmp_path, VIDEO, Someone(last=7, seen=moving), offset=offset)
    expected = [[(frame, 0, frame + 10, 10) for frame in range(8)]]
    assert boxes(open_bold(tmp_path)) == expected


def test_annotations_may_count_absolutely_as_well(tmp_path: Path) -> None:
    moving = {frame: joints_at(frame, 0, frame + 10, 10) for frame in range(8)}
    save_clip(tmp_path, VIDEO, Someone(first=500, last=507, seen=moving), offset=500)
    dataset = open_bold(tmp_path, frames="absolute")
    assert boxes(dataset) == [[(frame, 0, frame + 10, 10) for frame in range(8)]]
    (sample,) = dataset.samples("train")
    assert [ref.frame for ref in sample.subject.images] == list(range(8))
    (tmp_path / "joints" / VIDEO).with_suffix(".npy").unlink()
    with pytest.raises(DataError, match=r"the first frame of .* is unknown"):
        list(dataset.samples("train"))


def test_missing_frames_are_bridged(tmp_path: Path) -> None:
    seen = {0: joints_at(0, 0, 10, 10), 4: joints_at(4, 8, 14, 18)}
    save_clip(tmp_path, VIDEO, Someone(last=7, seen=seen))
    between = [(frame, 2 * frame, 10 + frame, 10 + 2 * frame) for frame in range(5)]
    assert boxes(open_bold(tmp_path)) == [between + [(4, 8, 14, 18)] * 3]
    assert boxes(open_bold(tmp_path, bridge=1)) == [
        [between[0], between[1], None, between[3], between[4], (4, 8, 14, 18), None, None]
    ]
    assert [box is None for box in boxes(open_bold(tmp_path, bridge=0))[0]] == [
        frame not in seen for frame in range(8)
    ]


def test_joints_of_low_confidence_are_ignored(tmp_path: Path) -> None:
    joints = [*joints_at(10, 20, 30, 40)[:16], (0.0, 0.0, 0.0), (900.0, 900.0, 0.0999)]
    save_clip(tmp_path, VIDEO, Someone(seen=dict.fromkeys(range(10), joints)))
    assert boxes(open_bold(tmp_path))[0][0] == (10, 20, 30, 40)
    assert boxes(open_bold(tmp_path, min_confidence=0.05))[0][0] == (10, 20, 900, 900)


def test_joints_without_an_area_give_no_box(tmp_path: Path) -> None:
    line = [(float(x), 5.0, 0.9) for x in range(18)]
    missing = [(math.nan, math.nan, 0.9)] * 18
    seen = {0: line, 1: [(3.0, 3.0, 0.9)] * 18, 2: missing, 3: joints_at(1, 2, 3, 4)}
    save_clip(tmp_path, VIDEO, Someone(last=3, seen=seen))
    assert boxes(open_bold(tmp_path, bridge=0, num_frames=4)) == [[None, None, None, (1, 2, 3, 4)]]


def test_people_in_a_clip_have_their_own_boxes(tmp_path: Path) -> None:
    people = [Someone(person_id=number, seen=everywhere(number, 0, 50, 50)) for number in (0, 2, 7)]
    save_clip(tmp_path, VIDEO, *people)
    assert [found[0] for found in boxes(open_bold(tmp_path))] == [
        (0, 0, 50, 50),
        (2, 0, 50, 50),
        (7, 0, 50, 50),
    ]


def test_a_margin_expands_boxes(tmp_path: Path) -> None:
    save_clip(tmp_path, VIDEO, Someone(seen=everywhere(100, 200, 120, 240)))
    assert boxes(open_bold(tmp_path, margin=0.1))[0][0] == pytest.approx((98, 196, 122, 244))


def test_the_number_of_frames_is_as_configured(tmp_path: Path) -> None:
    save_clip(tmp_path, VIDEO, Someone(first=3, last=3, seen=everywhere(0, 0, 9, 9)))
    for count in (1, 8):
        (sample,) = open_bold(tmp_path, num_frames=count).samples("train")
        assert [ref.frame for ref in sample.subject.images] == [3] * count


# --- Locating the files ------------------------------------------------------------------------------


def test_the_root_may_contain_the_release(tmp_path: Path) -> None:
    save_clip(tmp_path / "BOLD_public", VIDEO, Someone(seen=everywhere(0, 0, 9, 9)), split="val")
    inside, above = open_bold(tmp_path / "BOLD_public"), open_bold(tmp_path)
    assert above.splits == ("val",)
    assert list(above.samples("val")) == list(inside.samples("val"))


def test_a_folder_without_annotations_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has none of train\.csv") as caught:
        open_bold(tmp_path)
    assert "data.root" in caught.value.hint


def test_unknown_options_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="num_frame"):
        open_bold(tmp_path, num_frame=3)


def test_annotations_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_clip(tmp_path, VIDEO, Someone(seen=everywhere(0, 0, 9, 9)))
    first = list(open_bold(tmp_path).samples("train"))

    def fail(_: object) -> None:
        raise AssertionError("parsed again")

    monkeypatch.setattr(bold, "read_annotations", fail)
    assert list(open_bold(tmp_path).samples("train")) == first
    save_clip(tmp_path, VIDEO, Someone(last=8, seen=everywhere(0, 0, 9, 9)))
    with pytest.raises(AssertionError, match="parsed again"):
        open_bold(tmp_path)


def test_the_copies_in_these_tests_have_no_problems(tmp_path: Path) -> None:
    save_clip(tmp_path, VIDEO, Someone(seen=everywhere(0, 0, 9, 9)))
    dataset = open_bold(tmp_path)
    assert kinds([*dataset.problems(), *dataset.sidecar_problems()]) == []


def test_whole_films_are_held_out_as_dev(tmp_path: Path) -> None:
    videos = [f"003/film{film}.mp4/{clip:04d}.mp4" for film in range(12) for clip in range(2)]
    people = [Someone(0, seen=everywhere(0, 0, 9, 9)), Someone(1, seen=everywhere(0, 0, 9, 9))]
    save_annotations(tmp_path, "train.csv", [person.cells(video) for video in videos for person in people])
    for video in videos:
        save_joints(tmp_path, video, people)
    plain, with_dev = open_bold(tmp_path), open_bold(tmp_path, dev_share=0.3)
    assert (plain.splits, with_dev.splits) == (("train",), ("train", "dev"))
    train, dev = (list(with_dev.samples(split)) for split in with_dev.splits)
    assert len(train) + len(dev) == len(list(plain.samples("train")))
    films = [{sample.subject.images[0].path.parent for sample in samples} for samples in (train, dev)]
    assert films[0]
    assert films[1]
    assert not films[0] & films[1]
    assert {sample.split for sample in dev} == {"dev"}
