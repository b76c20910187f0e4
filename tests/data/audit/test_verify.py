"""Verifying: every problem is reported once, in the dataset's order, and every file is opened once."""

from pathlib import Path

import pytest
from PIL import Image
from tests.factories.datasets import dataset_of, problem_kinds, unlabeled_record
from tests.factories.faulty_datasets import noise

from mien.data.audit import verify as module
from mien.data.audit.image_info import inspect_image
from mien.data.audit.verify import VerifyProgress, verify
from mien.types import Problem


def _save_image(folder: Path, name: str, seed: str = "") -> Path:
    noise(seed or name).save(folder / name)
    return folder / name


# --- Files -------------------------------------------------------------------------------------------


def test_a_file_is_opened_once_for_all_its_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def counted(path: Path) -> object:
        opened.append(path.name)
        return inspect_image(path)

    monkeypatch.setattr(module, "inspect_image", counted)
    first, second = _save_image(tmp_path, "a.png"), _save_image(tmp_path, "b.png")
    records = [
        unlabeled_record(f"{path.name}{person}", path) for person in range(3) for path in (first, second)
    ]
    verified = verify(dataset_of(*records))
    assert sorted(opened) == ["a.png", "b.png"]
    assert (verified.num_images, verified.num_subjects, verified.problems) == (2, 6, ())


def test_a_problem_of_a_file_is_reported_once_for_all_its_people(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    (problem,) = verify(dataset_of(*(unlabeled_record(str(person), path) for person in range(3)))).problems
    assert (problem.kind, problem.file) == ("empty", str(path))


def test_damaged_copies_are_not_duplicates(tmp_path: Path) -> None:
    whole = _save_image(tmp_path, "a.png")
    truncated = [tmp_path / f"truncated{index}.png" for index in range(2)]
    for path in truncated:
        path.write_bytes(whole.read_bytes()[:-900])
    records = [
        unlabeled_record("a", whole),
        unlabeled_record("b", truncated[0], split="test"),
        unlabeled_record("c", truncated[1], split="val"),
    ]
    verified = verify(dataset_of(*records))
    assert problem_kinds(verified) == [("truncated", "truncated1.png"), ("truncated", "truncated0.png")]


@pytest.mark.parametrize("orientation", [1, 6], ids=["upright", "on its side"])
@pytest.mark.parametrize(
    ("stated", "is_valid"), [((96, 72), True), ((72, 96), False), ((96, 71), False)], ids=str
)
def test_a_stated_size_may_ignore_the_exif_orientation(
    tmp_path: Path, orientation: int, stated: tuple[int, int], is_valid: bool
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise("turned").save(tmp_path / "a.jpg", exif=exif)
    verified = verify(dataset_of(unlabeled_record("a", tmp_path / "a.jpg", None, size=stated)))
    is_rotated = orientation == 6 and stated == (72, 96)
    assert problem_kinds(verified) == ([] if is_valid or is_rotated else [("image_size", "a.jpg")])


def test_a_grayscale_jpeg_is_not_a_problem(tmp_path: Path) -> None:
    noise("gray").convert("L").save(tmp_path / "a.jpg")
    assert verify(dataset_of(unlabeled_record("a", tmp_path / "a.jpg"))).problems == ()


# --- Boxes -------------------------------------------------------------------------------------------


def test_a_box_problem_names_its_subject_and_the_farthest_box_comes_first(tmp_path: Path) -> None:
    path = _save_image(tmp_path, "a.png")
    dataset = dataset_of(
        unlabeled_record("fits", path, (0, 0, 96, 72)),
        unlabeled_record("rounded", path, (0, 0, 96.0000001, 72)),
        unlabeled_record("half", path, (-20, 10, 20, 30)),
        unlabeled_record("gone", path, (96, 10, 120, 30)),
        unlabeled_record("little", path, (10, 10, 50, 72.5)),
    )
    verified = verify(dataset)
    assert [(problem.kind, problem.message.partition(":")[0]) for problem in verified.problems] == [
        *(("box_clipped", "half"), ("box_outside", "gone"), ("box_clipped", "little"))
    ]
    assert {problem.file for problem in verified.problems} == {str(path)}
    assert [(fault.subject_id, fault.size) for fault in verified.outside_boxes] == [
        *(("gone", (96, 72)), ("half", (96, 72)), ("little", (96, 72)))
    ]
    assert [fault.outside for fault in verified.outside_boxes] == pytest.approx([1, 0.5, 0.008], abs=1e-6)


def test_boxes_refer_to_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise("turned").save(tmp_path / "a.jpg", exif=exif)
    verified = verify(dataset_of(unlabeled_record("a", tmp_path / "a.jpg", (0, 0, 72, 96))))
    assert verified.problems == ()


# --- Near-duplicates ---------------------------------------------------------------------------------


def test_duplicates_across_splits_are_reported_with_the_original(tmp_path: Path) -> None:
    first = _save_image(tmp_path, "first.png")
    again, like, other = (tmp_path / name for name in ("again.png", "like.jpg", "other.png"))
    again.write_bytes(first.read_bytes())
    Image.open(first).save(like, quality=50)
    noise("other").save(other)
    dataset = dataset_of(
        unlabeled_record("a", first),
        unlabeled_record("b", other),
        unlabeled_record("c", like, split="val"),
        unlabeled_record("d", again, split="test"),
    )
    verified = verify(dataset)
    assert problem_kinds(verified) == [("near_duplicate", "like.jpg"), ("duplicate", "again.png")]
    assert all(str(first) in problem.message for problem in verified.problems)
    (group,) = verified.near_duplicates
    assert [(twin.path, twin.split) for twin in group] == [(first, "train"), (like, "val"), (again, "test")]
    assert group[0].digest == group[2].digest != group[1].digest


def test_duplicates_within_a_split_are_grouped_but_not_a_problem(tmp_path: Path) -> None:
    paths = [_save_image(tmp_path, f"{name}.png", "same") for name in "abc"]
    verified = verify(dataset_of(*(unlabeled_record(path.name, path) for path in paths)))
    assert verified.problems == ()
    assert [len(group) for group in verified.near_duplicates] == [3]


def test_a_copy_of_a_copy_is_reported_once(tmp_path: Path) -> None:
    first = _save_image(tmp_path, "first.png")
    twice = [tmp_path / f"{index}.jpg" for index in range(2)]
    for path in twice:
        Image.open(first).save(path, quality=70)
    records = [
        unlabeled_record("a", first),
        *(unlabeled_record(path.name, path, split="test") for path in twice),
    ]
    verified = verify(dataset_of(*records))
    assert problem_kinds(verified) == [("near_duplicate", "0.jpg"), ("near_duplicate", "1.jpg")]


def test_one_file_in_two_splits_is_only_an_overlap(tmp_path: Path) -> None:
    path = _save_image(tmp_path, "a.png")
    verified = verify(
        dataset_of(
            unlabeled_record("a", path),
            unlabeled_record("b", path),
            unlabeled_record("c", path, split="test"),
        )
    )
    assert problem_kinds(verified) == [("split_overlap", "a.png")]
    assert "train and test" in verified.problems[0].message


def test_a_repeated_id_is_reported(tmp_path: Path) -> None:
    paths = [_save_image(tmp_path, f"{name}.png") for name in "ab"]
    verified = verify(
        dataset_of(unlabeled_record("same", paths[0]), unlabeled_record("same", paths[1], split="val"))
    )
    assert problem_kinds(verified) == [("repeated_id", "b.png")]
    assert "'same' is in train and again in val" in verified.problems[0].message


# --- All of it ---------------------------------------------------------------------------------------


def test_the_order_of_problems_does_not_depend_on_threads(tmp_path: Path) -> None:
    records = []
    for index in range(80):
        path = tmp_path / f"{index:02d}.png"
        noise(str(index), (600, 400) if index % 16 == 0 else (60, 40)).save(path)
        box = (-1, 1, 30, 30) if index % 3 else (900, 1, 990, 30)
        records.append(unlabeled_record(f"{index:02d}", path, box, split=("test", "train")[index % 2]))
    alone, together = (verify(dataset_of(*records), workers=workers) for workers in (1, 5))
    assert alone.problems == together.problems
    names = [name for _, name in problem_kinds(alone)]
    odd, even = ([f"{index:02d}.png" for index in range(start, 80, 2)] for start in (1, 0))
    assert names == odd + even


def test_progress_counts_every_file_once(tmp_path: Path) -> None:
    seen: list[VerifyProgress] = []
    paths = [_save_image(tmp_path, f"{index}.png") for index in range(20)]
    verify(
        dataset_of(*(unlabeled_record(path.name, path) for path in paths)), workers=2, on_progress=seen.append
    )
    assert [(item.done, item.total) for item in seen] == [(count, 20) for count in range(1, 21)]


def test_problems_of_the_annotations_come_first_and_are_not_repeated(tmp_path: Path) -> None:
    gone = tmp_path / "gone.png"
    dataset = dataset_of(
        unlabeled_record("a", gone),
        unlabeled_record("b", tmp_path / "too.png"),
        problems=[Problem(kind="missing", file=str(gone), message="listed, but not there")],
        sidecar_problems=[Problem(kind="joints_missing", file="a.npy", message="none")],
    )
    verified = verify(dataset)
    assert problem_kinds(verified) == [
        ("missing", "gone.png"),
        ("joints_missing", "a.npy"),
        ("missing", "too.png"),
    ]


def test_an_empty_dataset_has_no_problems() -> None:
    verified = verify(dataset_of())
    assert (verified.problems, verified.num_images, verified.num_subjects) == ((), 0, 0)
