"""The doctor: every copy of a data set, however broken, gets a diagnosis and no exception."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.factories.datasets import MOODS, image_record

from mien.cli.render.diagnosis import render_diagnosis
from mien.data.audit import doctor
from mien.data.audit.doctor import Diagnosis, SubjectCount, diagnose
from mien.data.dataset import Component, Dataset, DatasetCard, Record
from mien.errors import DataError, UnknownNameError
from mien.labels import LabelSet
from mien.playhouse.layouts.emotic import write
from mien.recipe import DataOptions
from mien.types import Problem


class Gated(Dataset):
    """A data set of two parts, of which people.txt names somebody a line."""

    card = DatasetCard(
        name="gated",
        title="a gated set",
        license="research only",
        homepage="https://example.org",
        task="to be asked for",
        access="write to its makers",
        components=(
            Component(name="the list of people", globs=("people.txt", "lists/people.txt")),
            Component(name="the pictures", globs=("pictures/*.png",)),
            Component(name="the joints", globs=("joints/*.npy",), required=False),
        ),
        num_subjects={"train": 2, "test": 5},
    )

    def __init__(self, options: DataOptions, cache: Path) -> None:
        super().__init__(options, cache)
        if options.root is None or not (options.root / "people.txt").is_file():
            raise DataError(f"no people.txt in {options.root}", hint="set data.root")
        self._root = options.root

    @property
    def label_set(self) -> LabelSet:
        return MOODS

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def _records(self, split: str) -> Iterator[Record]:
        for name in (self._root / "people.txt").read_text().split():
            yield image_record(name, self._root / "pictures" / f"{name}.png", "calm")

    def problems(self) -> Sequence[Problem]:
        return ()


NAME = f"{__name__}:Gated"


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "dataset_class", lambda name: Gated if name == NAME else _unknown(name))
    monkeypatch.setattr(doctor, "open_dataset", lambda options, *, cache: Gated(options, cache))


def _unknown(name: str) -> Any:
    raise UnknownNameError(f"unknown dataset {name!r}")


def _fill(root: Path, people: str = "a b", pictures: Sequence[str] = ("a", "b")) -> Path:
    (root / "pictures").mkdir(parents=True)
    (root / "people.txt").write_text(people)
    for name in pictures:
        (root / "pictures" / f"{name}.png").touch()
    return root


def _examine(root: Path | None, cache: Path) -> Diagnosis:
    found = diagnose(NAME, root, cache=cache)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["schema"] == 1
    assert document["ready"] == found.is_ready
    for text in (found.card.license, found.card.access, *found.advice):
        assert text in render_diagnosis(found)
    return found


def test_a_good_copy_is_ready(tmp_path: Path) -> None:
    found = _examine(_fill(tmp_path / "set"), tmp_path)
    assert found.is_ready
    assert [status.num_found for status in found.components] == [1, 2, 0]
    assert found.num_subjects == {
        "train": SubjectCount(found=2, published=2),
        "test": SubjectCount(found=None, published=5),
    }
    (advice,) = found.advice
    assert "test has 0 people instead of 5" in advice


def test_missing_pictures_are_counted(tmp_path: Path) -> None:
    found = _examine(_fill(tmp_path / "set", people="a b c", pictures=["a"]), tmp_path)
    assert not found.is_ready
    assert found.to_json()["problems"] == {"missing": 2}
    assert "2 problems" in render_diagnosis(found)


def test_a_missing_part_is_named_with_where_to_ask_for_it(tmp_path: Path) -> None:
    found = _examine(_fill(tmp_path / "set", pictures=[]), tmp_path)
    assert not found.is_ready
    assert found.suggested_root is None
    assert "Missing: the pictures. How to get it: write to its makers." in found.advice
    assert "- the pictures: not found (pictures/*.png)" in render_diagnosis(found)


@pytest.mark.parametrize("given", [".", "outer", "outer/set/pictures", "outer/set/pictures/deep"])
def test_a_root_that_is_too_high_or_too_deep_is_set_right(tmp_path: Path, given: str) -> None:
    right = _fill(tmp_path / "outer" / "set")
    (right / "pictures" / "deep").mkdir()
    found = _examine(tmp_path / given, tmp_path / "cache")
    assert found.suggested_root == right
    assert any(str(right) in text for text in found.advice)


def test_a_path_that_is_misspelt_at_its_end_is_set_right(tmp_path: Path) -> None:
    right = _fill(tmp_path / "set")
    found = _examine(right / "nothing", tmp_path / "cache")
    assert not found.root_exists
    assert found.suggested_root == right


@pytest.mark.parametrize("root", [None, Path("no/such/place"), Path("nul\0byte")])
def test_no_root_is_a_diagnosis(tmp_path: Path, root: Path | None) -> None:
    found = _examine(root, tmp_path)
    assert not found.is_ready
    assert found.to_json()["root_exists"] is False
    assert found.advice


def test_a_root_that_is_a_file_is_a_diagnosis(tmp_path: Path) -> None:
    file = tmp_path / "people.txt"
    file.write_text("a")
    found = _examine(file, tmp_path)
    assert [status.num_found for status in found.components] == [1, 0, 0]
    assert found.error


def test_a_folder_that_may_not_be_listed_is_a_diagnosis(tmp_path: Path) -> None:
    root = _fill(tmp_path / "set")
    root.chmod(0)
    try:
        assert _examine(root, tmp_path / "cache").advice
    finally:
        root.chmod(0o700)


def test_a_library_that_does_not_import_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_COMMON_LIBRARIES", {"no_such_library.part": "everything"})
    found = _examine(_fill(tmp_path / "set"), tmp_path)
    assert not found.is_ready
    assert "pip install no_such_library" in render_diagnosis(found)


def test_a_copy_of_a_real_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    root = tmp_path / "emotic copy"
    write(root, train=5, val=2, test=3, seed=1)
    found = diagnose("emotic", root, cache=tmp_path / "cache")
    assert found.is_ready
    assert any("not the complete official dataset" in text for text in found.advice)
    assert diagnose("emotic", tmp_path, cache=tmp_path / "cache").suggested_root == root
    shutil.rmtree(root / "emotic" / "mscoco")
    spoiled = diagnose("emotic", root, cache=tmp_path / "cache")
    assert spoiled.missing_components == ("images of mscoco",)
    assert spoiled.to_json()["problems"].keys() == {"missing"}


def test_an_unknown_data_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError):
        diagnose("nobody", None, cache=tmp_path)
