"""The doctor: every copy of a dataset, however broken, gets a diagnosis and no exception."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
    """A dataset with two required components; people.txt names one person per line."""

    card = DatasetCard(
        name="gated",
        title="a gated dataset",
        license="research only",
        homepage="https://example.org",
        task="tests",
        access="write to its authors",
        components=(
            Component(name="the list of people", globs=("people.txt", "lists/people.txt")),
            Component(name="the images", globs=("images/*.png",)),
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
            yield image_record(name, self._root / "images" / f"{name}.png", "calm")

    def problems(self) -> Sequence[Problem]:
        return ()


NAME = f"{__name__}:Gated"
INCOMPLETE = (
    "This is not the complete official dataset: test has 0 people instead of 5. Its scores cannot be "
    "compared with published ones."
)


@pytest.fixture(autouse=True)
def _register_gated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "dataset_class", lambda name: Gated if name == NAME else _raise_unknown(name))
    monkeypatch.setattr(doctor, "open_dataset", lambda options, *, cache: Gated(options, cache))


def _raise_unknown(name: str) -> Any:
    raise UnknownNameError(f"unknown dataset {name!r}")


def _write_copy(root: Path, people: str = "a b", images: Sequence[str] = ("a", "b")) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "people.txt").write_text(people)
    for name in images:
        (root / "images" / f"{name}.png").touch()
    return root


def _diagnose(root: Path | None, cache: Path, *, fast_bfloat16: str | None = None) -> Diagnosis:
    diagnosis = replace(diagnose(NAME, root, cache=cache), fast_bfloat16=fast_bfloat16)  # on any machine
    document = json.loads(json.dumps(diagnosis.to_json(), allow_nan=False))
    assert document["schema"] == 1
    assert document["ready"] == diagnosis.is_ready
    assert document["advice"] == list(diagnosis.advice)
    return diagnosis


def test_a_good_copy_is_ready(tmp_path: Path) -> None:
    diagnosis = _diagnose(_write_copy(tmp_path / "set"), tmp_path)
    assert diagnosis.is_ready
    assert [status.num_found for status in diagnosis.components] == [1, 2, 0]
    assert diagnosis.num_subjects == {
        "train": SubjectCount(found=2, published=2),
        "test": SubjectCount(found=None, published=5),
    }
    assert diagnosis.advice == (INCOMPLETE,)


def test_the_document_lists_everything(tmp_path: Path) -> None:
    root = _write_copy(tmp_path / "set")
    assert _diagnose(root, tmp_path).to_json() == {
        "schema": 1,
        "dataset": "gated",
        "title": "a gated dataset",
        "ready": True,
        "root": str(root),
        "root_exists": True,
        "suggested_root": None,
        "components": [
            {
                "name": "the list of people",
                "globs": ["people.txt", "lists/people.txt"],
                "required": True,
                "found": 1,
            },
            {"name": "the images", "globs": ["images/*.png"], "required": True, "found": 2},
            {"name": "the joints", "globs": ["joints/*.npy"], "required": False, "found": 0},
        ],
        "splits": {
            "train": {"subjects": 2, "official": 2},
            "test": {"subjects": None, "official": 5},
        },
        "problems": {},
        "error": None,
        "libraries_missing": {},
        "machine": {"fast_bfloat16": None, "auto_dtype": "float32"},
        "advice": [INCOMPLETE],
        "license": "research only",
        "access": "write to its authors",
        "homepage": "https://example.org",
    }


def test_what_the_processor_can_do_is_said(tmp_path: Path) -> None:
    diagnosis = _diagnose(_write_copy(tmp_path / "set"), tmp_path, fast_bfloat16="AMX")
    assert diagnosis.to_json()["machine"] == {"fast_bfloat16": "AMX", "auto_dtype": "bfloat16"}
    last = render_diagnosis(diagnosis).splitlines()[-1]
    assert last == 'Processor AMX, which makes bfloat16 fast; dtype "auto" is bfloat16'


def test_the_terminal_shows_everything(tmp_path: Path) -> None:
    diagnosis = _diagnose(_write_copy(tmp_path / "set", people="a b c", images=["a"]), tmp_path)
    assert render_diagnosis(diagnosis).splitlines() == [
        "gated: a gated dataset",
        "  can be read, but: 2 problems",
        "  + the list of people: 1 found",
        "  + the images: 1 found",
        "    the joints: not found (joints/*.npy); optional",
        "    train: 3 people; 2 in a complete copy",
        "    test: no people; 5 in a complete copy",
        "  ! missing: 2",
        "",
        "What to do",
        "  1. List each problem with its file: mien data verify.",
        "  2. This is not the complete official dataset: train has 3 people instead of 2; test has 0 people "
        "instead of 5. Its scores cannot be compared with published ones.",
        "",
        "License   research only",
        "Access    write to its authors",
        "Homepage  https://example.org",
        'Processor bfloat16 is not fast here; dtype "auto" is float32',
    ]


def test_missing_images_are_counted(tmp_path: Path) -> None:
    diagnosis = _diagnose(_write_copy(tmp_path / "set", people="a b c", images=["a"]), tmp_path)
    assert not diagnosis.is_ready
    assert diagnosis.to_json()["problems"] == {"missing": 2}


def test_a_missing_component_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    diagnosis = _diagnose(_write_copy(tmp_path / "set", images=[]), tmp_path)
    assert not diagnosis.is_ready
    assert diagnosis.suggested_root is None
    assert diagnosis.advice == (
        "Missing: the images. How to get it: write to its authors.",
        "List each problem with its file: mien data verify.",
        INCOMPLETE,
    )
    assert "  - the images: not found (images/*.png)" in render_diagnosis(diagnosis).splitlines()


@pytest.mark.parametrize("given", [".", "outer", "outer/set/images", "outer/set/images/deep"])
def test_a_root_that_is_too_high_or_too_deep_is_corrected(tmp_path: Path, given: str) -> None:
    root = _write_copy(tmp_path / "outer" / "set")
    (root / "images" / "deep").mkdir()
    diagnosis = _diagnose(tmp_path / given, tmp_path / "cache")
    assert diagnosis.suggested_root == root
    assert diagnosis.advice == (f"The dataset seems to be in {root}. Use it as the root.",)


def test_a_root_that_is_misspelled_at_its_end_is_corrected(tmp_path: Path) -> None:
    root = _write_copy(tmp_path / "set")
    diagnosis = _diagnose(root / "nothing", tmp_path / "cache")
    assert not diagnosis.root_exists
    assert diagnosis.suggested_root == root
    assert diagnosis.advice[0] == f"{root / 'nothing'} does not exist. Check the path."


@pytest.mark.parametrize(
    ("root", "advice"),
    [
        (None, "Give the folder of the dataset."),
        (Path("no/such/place"), "no/such/place does not exist. Check the path."),
        (Path("nul\0byte"), "nul\0byte does not exist. Check the path."),
    ],
)
def test_a_root_that_does_not_exist_gives_a_diagnosis(tmp_path: Path, root: Path | None, advice: str) -> None:
    diagnosis = _diagnose(root, tmp_path)
    assert not diagnosis.is_ready
    assert diagnosis.to_json()["root_exists"] is False
    assert diagnosis.advice == (
        advice,
        "Missing: the list of people, the images. How to get it: write to its authors.",
    )


def test_a_root_that_is_a_file_gives_a_diagnosis(tmp_path: Path) -> None:
    file = tmp_path / "people.txt"
    file.write_text("a")
    diagnosis = _diagnose(file, tmp_path)
    assert [status.num_found for status in diagnosis.components] == [1, 0, 0]
    assert diagnosis.error == f"no people.txt in {file}"
    assert diagnosis.hint == "set data.root"


def test_a_folder_without_permissions_gives_a_diagnosis(tmp_path: Path) -> None:
    root = _write_copy(tmp_path / "set")
    root.chmod(0)
    try:
        assert _diagnose(root, tmp_path / "cache").advice
    finally:
        root.chmod(0o700)


def test_a_library_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_COMMON_LIBRARIES", {"no_such_library.part": "everything"})
    diagnosis = _diagnose(_write_copy(tmp_path / "set"), tmp_path)
    assert not diagnosis.is_ready
    assert diagnosis.advice[0] == (
        "no_such_library cannot be imported (ModuleNotFoundError: No module named 'no_such_library'; needed "
        "for everything). Install it with pip install no_such_library."
    )
    assert render_diagnosis(diagnosis).splitlines()[1] == "  can be read, but: libraries are missing"


def test_a_copy_in_the_official_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    root = tmp_path / "emotic copy"
    write(root, train=5, val=2, test=3, seed=1)
    diagnosis = diagnose("emotic", root, cache=tmp_path / "cache")
    assert diagnosis.is_ready
    assert any("not the complete official dataset" in text for text in diagnosis.advice)
    assert diagnose("emotic", tmp_path, cache=tmp_path / "cache").suggested_root == root
    shutil.rmtree(root / "emotic" / "mscoco")
    incomplete = diagnose("emotic", root, cache=tmp_path / "cache")
    assert incomplete.missing_components == ("images of mscoco",)
    assert incomplete.to_json()["problems"].keys() == {"missing"}


def test_an_unknown_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown dataset 'unheard_of'"):
        diagnose("unheard_of", None, cache=tmp_path)
