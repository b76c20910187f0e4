"""The export: one line per subject with everything in a sample, written atomically."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.datasets import MOODS, InMemoryDataset, image_record

from mien.data import open_dataset
from mien.data.export import export_split
from mien.errors import DataError
from mien.recipe import DataOptions
from mien.types import DIMENSIONS, Box, ImageRef, Problem, Sample, Subject, Target

_KEYS = ["id", "images", "frames", "boxes", "labels", "dimensions", "split", "size"]


def _read(path: Path) -> list[Sample]:
    """The samples in the file, parsed without mien."""
    return [_sample(json.loads(line)) for line in path.read_bytes().decode("ascii").splitlines()]


def _sample(row: dict[str, object]) -> Sample:
    assert list(row) == _KEYS
    images, frames, boxes = row["images"], row["frames"], row["boxes"]
    labels, dimensions = row["labels"], row["dimensions"]
    assert isinstance(images, list)
    assert isinstance(frames, list)
    assert isinstance(boxes, list)
    assert labels is None or isinstance(labels, dict)
    assert dimensions is None or isinstance(dimensions, dict)
    subject = Subject(
        id=str(row["id"]),
        images=tuple(ImageRef(path=Path(p), frame=f) for p, f in zip(images, frames, strict=True)),
        boxes=tuple(None if box is None else Box.from_tuple(tuple(box)) for box in boxes),
    )
    return Sample(
        subject=subject,
        target=None if labels is None else Target(labels=labels, dimensions=dimensions),
        split=str(row["split"]),
    )


_NAMES = st.text(st.characters(exclude_characters="\0/"), min_size=1, max_size=12)
_UNIT = st.floats(0, 1)
_EDGE = st.floats(-1e4, 1e4)


@st.composite
def _subjects(draw: st.DrawFn) -> Subject:
    count = draw(st.integers(1, 3))
    clip = draw(st.booleans())
    images, boxes = [], []
    for index in range(count):
        images.append(ImageRef(path=Path("/photos") / draw(_NAMES), frame=index if clip else None))
        left, top, width, height = draw(st.tuples(_EDGE, _EDGE, st.floats(1, 500), st.floats(1, 500)))
        box = Box(left=left, top=top, right=left + width, bottom=top + height)
        boxes.append(draw(st.sampled_from([box, None])))
    return Subject(id=draw(_NAMES), images=tuple(images), boxes=tuple(boxes))


@given(
    subjects=st.lists(_subjects(), max_size=4),
    labels=st.dictionaries(st.sampled_from(MOODS.labels), _UNIT),
    dimensions=st.none() | st.fixed_dictionaries(dict.fromkeys(DIMENSIONS, _UNIT)),
)
def test_samples_are_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory,
    subjects: list[Subject],
    labels: dict[str, float],
    dimensions: dict[str, float] | None,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    blank = image_record("x", folder)
    target = Target(labels=labels, dimensions=dimensions)
    samples = [Sample(subject=subject, target=target, split="val") for subject in subjects]
    # Without "." and "..", which the export resolves.
    samples = [s for s in samples if all(i.path.name not in {".", ".."} for i in s.subject.images)]
    records = [dataclasses.replace(blank, sample=sample) for sample in samples]
    path = folder / "people.jsonl"
    assert export_split(InMemoryDataset({"val": records}), "val", path) == len(samples)
    assert _read(path) == samples


def test_labels_have_the_order_of_the_label_set(tmp_path: Path) -> None:
    record = image_record("a", tmp_path, "sour", "calm", dimensions=dict.fromkeys(reversed(DIMENSIONS), 0.5))
    export_split(InMemoryDataset({"train": [record]}), "train", tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert list(row["labels"]) == ["calm", "sour"]
    assert list(row["dimensions"]) == list(DIMENSIONS)


def test_a_person_without_annotations_has_no_labels(tmp_path: Path) -> None:
    dataset = InMemoryDataset(
        {"test": [image_record("a", tmp_path / "a.png", is_labeled=False, box=None, split="test")]}
    )
    assert export_split(dataset, "test", tmp_path / "out.jsonl") == 1
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {
        "id": "a",
        "images": [str(tmp_path / "a.png")],
        "frames": [None],
        "boxes": [None],
        "labels": None,
        "dimensions": None,
        "split": "test",
        "size": None,
    }


def test_paths_are_absolute_and_keep_bytes_that_are_not_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = InMemoryDataset({"train": [image_record("a", Path("sub/\udcff.png"))]})
    export_split(dataset, "train", Path("out.jsonl"))
    assert _read(tmp_path / "out.jsonl")[0].subject.images[0].path == tmp_path / "sub" / "\udcff.png"


def test_two_exports_are_identical(tmp_path: Path) -> None:
    dataset = open_dataset(
        DataOptions(name="playhouse", options={"train": 2, "val": 3, "test": 1}), cache=tmp_path / "cache"
    )
    assert (
        export_split(dataset, "val", tmp_path / "1.jsonl")
        == export_split(dataset, "val", tmp_path / "2.jsonl")
        == 3
    )
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert _read(tmp_path / "1.jsonl") == list(dataset.samples("val"))


def test_a_failing_export_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")

    class Breaking(InMemoryDataset):
        def _records(self, split: str):  # type: ignore[no-untyped-def]
            yield image_record("a", tmp_path)
            raise DataError("the disk is gone")

    with pytest.raises(DataError, match="the disk is gone"):
        export_split(Breaking({"train": []}), "train", path)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("target", ["folder", "no/such/file.jsonl", "file/out.jsonl"])
def test_a_target_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"folder|no/such|file/out") as caught:
        export_split(InMemoryDataset({"train": [image_record("a", tmp_path)]}), "train", tmp_path / target)
    assert caught.value.hint


def test_unusable_rows_and_unknown_splits_are_errors_before_anything_is_written(
    tmp_path: Path, paint: Callable[..., Path]
) -> None:
    broken = [Problem(kind="bad_row", file="x.csv, row 2", message="no box")]
    dataset = InMemoryDataset({"train": [image_record("a", paint("a.png"))]}, unusable_rows=broken)
    with pytest.raises(DataError, match=r"x\.csv, row 2"):
        export_split(dataset, "train", tmp_path / "out.jsonl")
    with pytest.raises(DataError, match="no split"):
        export_split(dataset, "tset", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
