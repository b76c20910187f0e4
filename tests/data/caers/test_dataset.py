"""CAER-S from its folders: class names, both protocols, and unexpected files."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.data import open_dataset
from mien.data.caers.dataset import Caers, choose_val_images
from mien.data.caers.folders import class_from_name
from mien.errors import ConfigError, DataError
from mien.labels import CAERS
from mien.playhouse.layouts.caers import Frame, write, write_caers
from mien.recipe import DataOptions

DOT = Image.new("RGB", (4, 4), "white")
ALIASES = {
    "Anger": ("Anger", "Angry", "ANGRY"),
    "Disgust": ("Disgust", "disgusted"),
    "Fear": ("Fear", "Fearful"),
    "Happy": ("Happy", "Happiness"),
    "Neutral": ("Neutral", "neutral"),
    "Sad": ("Sad", "Sadness"),
    "Surprise": ("Surprise", "Surprised"),
}


def _open(root: Path, **options: Any) -> Caers:
    made = open_dataset(DataOptions(name="caers", root=root, options=options), cache=root / ".cache")
    assert isinstance(made, Caers)
    return made


def _open_7_1_2(root: Path, groups: Sequence[Sequence[str]] = ()) -> Caers:
    """In the protocol 7:1:2, where the subjects of each of these groups are near-duplicates."""
    number = {item: index for index, group in enumerate(groups) for item in group}

    def grouped(paths: Sequence[Path]) -> list[int]:
        ids = [path.relative_to(root).as_posix() for path in paths]
        return [number.get(item, len(groups) + index) for index, item in enumerate(ids)]

    options = DataOptions(name="caers", root=root, options={"protocol": "7:1:2"})
    return Caers(options, root / ".cache", group_images=grouped)


def _touch(root: Path, *paths: str) -> None:
    """Creates empty files, because listing opens none."""
    for label in CAERS.labels:
        for split in ("train", "test"):
            if not any(path.startswith(f"{split}/{alias}/") for path in paths for alias in ALIASES[label]):
                (root / split / label).mkdir(parents=True, exist_ok=True)
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def _ids(dataset: Caers, split: str) -> list[str]:
    return [record.sample.subject.id for record in dataset.records(split)]


def _kinds(dataset: Caers) -> list[tuple[str, str]]:
    return [(problem.kind, Path(problem.file).name) for problem in dataset.problems()]


# --- Reading back ------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_characters="/\\\0.", exclude_categories=("Cs", "Cc")), max_size=8)
frames = st.sampled_from(CAERS.labels).flatmap(
    lambda label: st.builds(
        Frame,
        label=st.just(label),
        image=st.just(DOT),
        name=st.builds(lambda stem, end: f"a{stem}{end}", names, st.sampled_from([".png", ".PNG", ".webp"])),
        folder=st.sampled_from(ALIASES[label]),
    )
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    frames=st.lists(
        st.tuples(st.sampled_from(["train", "test"]), frames),
        max_size=12,
        unique_by=lambda item: (item[0], item[1].folder, item[1].name.casefold()),
    )
)
def test_any_tree_is_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[str, Frame]]
) -> None:
    root = tmp_path_factory.mktemp("caers")
    write_caers(root, {split: [f for s, f in frames if s == split] for split in ("train", "test")})
    dataset = _open(root)
    for split in dataset.splits:
        expected = {f"{split}/{f.folder}/{f.name}": f.label for s, f in frames if s == split}
        samples = list(dataset.samples(split))
        found = {sample.subject.id: sample.target and dict(sample.target.labels) for sample in samples}
        assert found == {name: {label: 1.0} for name, label in expected.items()}
        assert all(sample.subject.images[0].path == root / sample.subject.id for sample in samples)
        assert all(sample.subject.boxes == (None,) for sample in samples)


def test_two_folders_of_one_class_keep_their_subjects_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "train/Angry/0001.png", "train/Anger/0001.png", "train/Anger/0002.png")
    dataset = _open(tmp_path)
    samples = list(dataset.samples("train"))  # the problem does not prevent training
    assert [sample.subject.id for sample in samples] == [
        "train/Anger/0001.png",
        "train/Anger/0002.png",
        "train/Angry/0001.png",
    ]
    assert all(sample.target and sample.target.labels == {"Anger": 1.0} for sample in samples)
    assert _kinds(dataset) == [("name_collision", "0001.png")]
    assert dataset.unusable_rows("train") == []


def test_train_and_test_may_use_different_class_names(tmp_path: Path) -> None:
    _touch(tmp_path, "train/Angry/0001.png", "test/Anger/0001.png")
    dataset = _open(tmp_path)
    assert dataset.problems() == []
    targets = [sample.target for split in dataset.splits for sample in dataset.samples(split)]
    assert [target and target.labels for target in targets] == [{"Anger": 1.0}] * 2


def test_equal_file_names_in_several_classes_are_different_subjects(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"{s}/{label}/0001.png" for s in ("train", "test") for label in CAERS.labels))
    dataset = _open(tmp_path)
    ids = [name for split in dataset.splits for name in _ids(dataset, split)]
    assert len(set(ids)) == 14
    assert dataset.problems() == []


def test_every_alias_refers_to_its_class() -> None:
    assert {alias: class_from_name(alias) for own in ALIASES.values() for alias in own} == {
        alias: label for label, own in ALIASES.items() for alias in own
    }
    assert class_from_name("Contempt") is None


def test_system_files_are_ignored_and_other_files_are_reported(tmp_path: Path) -> None:
    _touch(
        tmp_path,
        *("train/Happy/0001.png", "train/Happy/Thumbs.db", "train/.DS_Store", "train/Happy/._0001.png"),
        *("train/Happy/0002.bmp", "train/Contempt/0001.png", "train/Sad/more/0001.png", "test/0003.png"),
        "test/readme.txt",
    )
    dataset = _open(tmp_path)
    assert _kinds(dataset) == [
        ("unknown_folder", "Contempt"),
        ("unreadable", "0002.bmp"),
        ("unknown_folder", "more"),
        ("no_label", "0003.png"),
    ]
    assert _ids(dataset, "train") == ["train/Happy/0001.png"]
    with pytest.raises(DataError, match="3 rows of split 'train'"):
        dataset.samples("train")
    skipping = DataOptions(name="caers", root=tmp_path, skip_broken=True)
    assert len(list(open_dataset(skipping, cache=tmp_path).samples("train"))) == 1


def test_a_missing_class_is_reported(tmp_path: Path) -> None:
    (tmp_path / "train" / "Happy").mkdir(parents=True)
    kinds = Counter(_kinds(_open(tmp_path)))
    assert kinds == {("missing", label): 1 for label in CAERS.labels if label != "Happy"}


def test_a_file_name_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    _touch(tmp_path, "test/Sad/0001.png")
    try:
        (tmp_path / "test" / "Sad" / os.fsdecode(b"\xff.png")).touch()
    except OSError:
        pytest.skip("this file system only accepts UTF-8 names")
    dataset = _open(tmp_path)
    assert _kinds(dataset) == [("unreadable", "\\udcff.png")]
    assert _ids(dataset, "test") == ["test/Sad/0001.png"]


@pytest.mark.parametrize("root", [None, Path("nothing/here")])
def test_a_root_without_a_copy_is_an_error_that_says_how_to_request_it(
    root: Path | None, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(DataOptions(name="caers", root=root and tmp_path / root), cache=tmp_path)
    assert "request it at" in caught.value.hint


def test_a_partial_copy_has_the_splits_it_contains(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    assert _open(tmp_path).splits == ("test",)
    assert _open(tmp_path, protocol="7:1:2").splits == ("val", "test")


def test_an_unknown_protocol_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="protocol"):
        _open(tmp_path, protocol="8:1:1")


# --- The protocol 7:1:2 ------------------------------------------------------------------------------


def test_val_is_a_third_of_each_class_of_the_test_folder(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"test/{label}/{i}.png" for label in CAERS.labels for i in range(12)))
    dataset = _open_7_1_2(tmp_path)
    assert dataset.splits == ("train", "val", "test")
    val, test = _ids(dataset, "val"), _ids(dataset, "test")
    assert Counter(name.split("/")[1] for name in val) == dict.fromkeys(CAERS.labels, 4)
    assert sorted(val + test) == sorted(_ids(_open(tmp_path), "test"))
    assert [sample.split for sample in dataset.samples("val")] == ["val"] * 28


def test_val_does_not_depend_on_train_or_other_classes_or_folder_names(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    _touch(few, *(f"test/Anger/{i}.png" for i in range(20)))
    _touch(many, *(f"test/Angry/{i}.png" for i in range(20)), "test/Sad/1.png", "train/Sad/1.png")
    val = [
        {name.split("/")[2] for name in _ids(_open_7_1_2(root), "val") if "/Ang" in name}
        for root in (few, many)
    ]
    assert val[0] == val[1]


def test_near_duplicates_stay_in_one_split(tmp_path: Path) -> None:
    ids = [f"test/{label}/{i}.png" for label in ("Happy", "Sad") for i in range(30)]
    _touch(tmp_path, *ids)
    groups = [ids[0:5], ids[5:7], [ids[10], ids[40]], ids[50:53]]  # one spans both classes
    dataset = _open_7_1_2(tmp_path, groups)
    val = set(_ids(dataset, "val"))
    assert all(len({item in val for item in group}) == 1 for group in groups)
    assert abs(len(val) - 20) <= 2


@given(st.data())
def test_val_does_not_depend_on_the_order_of_images(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 25))
    items = [
        (data.draw(st.sampled_from(("Sad", "Fear"))), f"{index}.png", data.draw(st.integers(0, 12)))
        for index in range(size)
    ]
    shuffled = data.draw(st.permutations(items))

    def val(rows: Sequence[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
        inside = choose_val_images(
            [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
        )
        return {row for row, is_val in zip(rows, inside, strict=True) if is_val}

    first, second = val(items), val(shuffled)
    assert first == second
    assert not {row[2] for row in first} & {row[2] for row in set(items) - first}  # no group in both splits


def test_without_duplicates_val_is_exactly_a_third() -> None:
    for size in range(1, 40):
        names = [f"{index}.png" for index in range(size)]
        assert sum(choose_val_images(["Sad"] * size, names, range(size))) == round(size / 3)


def test_a_reencoded_duplicate_stays_with_its_original(tmp_path: Path) -> None:
    write(tmp_path, train=1, val=0, test=12, seed=3)
    originals = sorted((tmp_path / "test").rglob("*.png"))
    for path in originals:
        with Image.open(path) as image:
            image.save(path.with_name(f"again {path.stem}.jpg"), quality=80)
    dataset = _open(tmp_path, protocol="7:1:2")
    val, test = set(_ids(dataset, "val")), set(_ids(dataset, "test"))
    assert val
    assert len(val | test) == 2 * len(originals)
    for path in originals:
        folder = path.relative_to(tmp_path).parent.as_posix()
        pair = {f"{folder}/{path.name}", f"{folder}/again {path.stem}.jpg"}
        assert pair <= val or pair <= test
