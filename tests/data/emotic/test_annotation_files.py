"""EMOTIC in all formats: the same people, as far as a format can represent them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from tests.factories.emotic_copies import (
    Population,
    annotated_image,
    copy_in_all_forms,
    open_emotic,
    populations,
    records,
    ticked,
)

from mien.errors import ConfigError, DataError
from mien.playhouse.layouts.emotic import write_emotic

SPLITS = ("train", "val", "test")


@settings(max_examples=20)
@given(population=populations)
def test_all_formats_have_the_same_people(population: Population) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "copy"
        write_emotic(root, population, forms=("mat", "csv", "npy"))
        official, table, arrays = (open_emotic(root, form=form) for form in ("mat", "csv", "npy"))
        assert table.problems() == arrays.problems() == []
        for split in SPLITS:
            people = [record.sample for record in official.records(split)]
            assert [record.sample for record in table.records(split)] == people
            from_arrays = [record.sample for record in arrays.records(split)]
            assert [sample.target for sample in from_arrays] == [sample.target for sample in people]
            assert [sample.subject.id for sample in from_arrays] == [
                f"{split}/{i:05d}" for i in range(len(people))
            ]
            assert all(sample.subject.boxes == (None,) for sample in from_arrays)
        for record in official.records("test"):
            assert record.attributes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_in_all_forms(tmp_path)


def test_the_most_complete_format_is_read(root: Path) -> None:
    assert len(next(open_emotic(root).records("val")).annotations) == 2
    (root / "Annotations" / "Annotations.mat").unlink()
    assert next(open_emotic(root).records("val")).sample.subject.boxes != (None,)
    (root / "val.csv").unlink()
    assert next(open_emotic(root).records("val")).sample.subject.boxes == (None,)
    for path in root.glob("*.npy"):
        path.unlink()
    with pytest.raises(DataError, match="no EMOTIC annotations"):
        open_emotic(root)


@pytest.mark.parametrize("folder", ["Annotations", "annots_arrs", "emotic_pre"])
@pytest.mark.parametrize("form", ["csv", "npy"])
def test_files_are_found_where_scripts_put_them(root: Path, folder: str, form: str) -> None:
    before = [record.sample.target for record in records(root, form)]
    (root / folder).mkdir(exist_ok=True)
    for path in root.glob(f"*.{form}"):
        path.rename(root / folder / path.name)
    assert [record.sample.target for record in records(root, form)] == before


@pytest.mark.parametrize("form", ["csv", "npy"])
@pytest.mark.parametrize("target", ["majority", "soft", "annotator"])
def test_formats_with_the_union_only_cannot_separate_annotators(root: Path, form: str, target: str) -> None:
    with pytest.raises(ConfigError, match=f"'{target}' needs the labels of every annotator") as caught:
        open_emotic(root, form=form, target=target)
    assert "Annotations.mat" in caught.value.hint


def test_only_in_train_is_the_union_one_annotators_annotation(tmp_path: Path) -> None:
    shown = {split: [annotated_image("a.jpg", [ticked("Peace")])] for split in ("train", "test")}
    write_emotic(tmp_path / "copy", shown, forms=["csv"])
    assert [len(records(tmp_path / "copy", "csv", split)[0].annotations) for split in shown] == [1, 0]
