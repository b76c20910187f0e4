"""EMOTIC from `.npy` arrays: images are written on demand, and mismatched arrays are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.factories.emotic_copies import copy_in_all_forms, open_emotic, records

from mien.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_in_all_forms(tmp_path)


def test_images_are_written_on_demand_and_only_once(root: Path, tmp_path: Path) -> None:
    dataset = open_emotic(root, form="npy")
    assert not list(tmp_path.rglob("*.png"))
    first = next(dataset.records("val")).sample.subject.images[0].path
    assert list(tmp_path.rglob("*.png")) == [first]
    with Image.open(first) as image:
        assert np.array_equal(np.asarray(image), np.load(root / "val_context_arr.npy")[0])
    modified = first.stat().st_mtime_ns
    assert len(list(dataset.samples("val"))) == 6
    assert first.stat().st_mtime_ns == modified
    assert not list(tmp_path.rglob("*.tmp"))
    assert not list(root.rglob("*.png"))


def test_changed_arrays_give_other_image_files(root: Path) -> None:
    before = records(root, "npy")[0].sample.subject.images[0].path
    np.save(root / "val_context_arr.npy", np.zeros((6, 8, 8, 3), dtype=np.uint8))
    after = records(root, "npy")[0].sample.subject.images[0].path
    assert before != after
    with Image.open(after) as image:
        assert image.size == (8, 8)


def _cell(name: str, row: int, column: int, value: float) -> tuple[str, Any]:
    def change(array: Any) -> Any:
        array[row, column] = value
        return array

    return name, change


@pytest.mark.parametrize(
    ("fault", "kind", "file"),
    [
        pytest.param(_cell("cat", 2, 3, 0.5), "bad_row", "val_cat_arr.npy, row 2", id="label-half"),
        pytest.param(_cell("cat", 2, 3, np.nan), "bad_row", "val_cat_arr.npy, row 2", id="label-nan"),
        pytest.param(_cell("cat", 2, slice(None), 0), "no_label", "val_cat_arr.npy, row 2", id="no-label"),  # type: ignore[arg-type]
        pytest.param(_cell("cont", 2, 1, 10.5), "dimension_range", "val_cont_arr.npy, row 2", id="above"),
        pytest.param(_cell("cont", 2, 1, np.nan), "dimension_range", "val_cont_arr.npy, row 2", id="missing"),
    ],
)
def test_a_faulty_row_is_reported(root: Path, fault: tuple[str, Any], kind: str, file: str) -> None:
    name, change = fault
    path = root / f"val_{name}_arr.npy"
    np.save(path, change(np.load(path)))
    dataset = open_emotic(root, form="npy")
    (problem,) = dataset.problems()
    assert (problem.kind, problem.file) == (kind, file)
    names = [record.sample.subject.id for record in dataset.records("val")]
    assert names == [f"val/{index:05d}" for index in (0, 1, 3, 4, 5)]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        pytest.param("cat", np.zeros((5, 26)), "6 images, 5 rows of labels", id="rows"),
        pytest.param("cat", np.zeros((6, 25)), r"not \(N, 26\)", id="labels"),
        pytest.param("cont", np.zeros((6, 3), dtype="U3"), r"not \(N, 3\)", id="text"),
        pytest.param("context", np.zeros((6, 8, 8)), "not images", id="shape"),
        pytest.param("context", np.zeros((6, 8, 8, 3)), "not images", id="floats"),
        pytest.param("cont", np.array([{}] * 6, dtype=object), "cannot be read", id="pickled"),
        pytest.param("cont", None, "cannot be read", id="damaged"),
    ],
)
def test_mismatched_arrays_are_an_error(root: Path, name: str, array: Any, message: str) -> None:
    path = root / f"val_{name}_arr.npy"
    if array is None:
        path.write_bytes(b"\x93NUMPY and then nothing")
    else:
        np.save(path, array)
    with pytest.raises(DataError, match=message):
        open_emotic(root, form="npy")


@pytest.mark.parametrize("name", ["cont", "context"])
def test_a_missing_array_is_an_error(root: Path, name: str) -> None:
    (root / f"val_{name}_arr.npy").unlink()
    with pytest.raises(DataError, match=f"val_{name}_arr.npy cannot be read"):
        open_emotic(root, form="npy")
