"""Reassigned splits: near-duplicates are in one split, and verifying the result finds none."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.factories.faulty_datasets import noise, write_faulty_caers

from mien.data import Dataset, open_dataset
from mien.data.audit.near_duplicate_splits import assign_splits, write_split_file
from mien.data.audit.verify import verify
from mien.data.splits import read_splits
from mien.errors import DataError
from mien.recipe import DataOptions


def _manifest(folder: Path, *rows: dict[str, Any]) -> Dataset:
    path = folder / "people.jsonl"
    path.write_text("".join(json.dumps({"labels": ["Peace"], **row}) + "\n" for row in rows))
    return open_dataset(DataOptions(name="manifest", root=path), cache=folder / "cache")


def _row(name: str, image: str, split: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "image": image, "split": split, **more}


def _save_images(folder: Path) -> None:
    """Four images, each with an exact copy and a near-duplicate."""
    for name in "abcd":
        noise(name).save(folder / f"{name}.png")
        (folder / f"{name}_copy.png").write_bytes((folder / f"{name}.png").read_bytes())
        Image.open(folder / f"{name}.png").save(folder / f"{name}_like.jpg", quality=60)


def _assigned(dataset: Dataset, **options: bool) -> dict[str, str | None]:
    return assign_splits(dataset, verify(dataset).near_duplicates, **options)


def test_a_group_across_splits_moves_toward_train(tmp_path: Path) -> None:
    _save_images(tmp_path)
    dataset = _manifest(
        tmp_path,
        _row("a test", "a.png", "test"),
        _row("a train", "a_like.jpg", "train"),
        _row("a val", "a_copy.png", "val"),
        _row("b test", "b.png", "test"),
        _row("b val", "b_like.jpg", "val"),
        _row("c test", "c.png", "test"),
        _row("c test again", "c_copy.png", "test"),
        _row("d train", "d.png", "train"),
    )
    assert _assigned(dataset) == {
        "a test": "train",
        "a train": "train",
        "a val": "train",
        "b test": "val",
        "b val": "val",
        "c test": "test",
        "c test again": "test",
        "d train": "train",
    }


def test_people_in_one_image_stay_together_also_indirectly(tmp_path: Path) -> None:
    _save_images(tmp_path)
    dataset = _manifest(
        tmp_path,
        _row("one", "a.png", "train"),
        _row("two", "a.png", "test"),
        _row("three", "a_like.jpg", "test"),
        _row("four", "a_like.jpg", "val"),
        _row("five", "b.png", "test"),
    )
    assert _assigned(dataset) == {
        **dict.fromkeys(("one", "two", "three", "four"), "train"),
        "five": "test",
    }


def test_an_unlabeled_subject_is_left_out_instead_of_moved(tmp_path: Path) -> None:
    _save_images(tmp_path)
    dataset = _manifest(
        tmp_path,
        _row("a", "a.png", "train"),
        _row("moves", "a_copy.png", "test", labels=None),
        _row("stays", "b.png", "test", labels=None),
    )
    assert _assigned(dataset) == {"a": "train", "moves": None, "stays": "test"}


def test_exact_copies_can_be_dropped_but_not_near_duplicates(tmp_path: Path) -> None:
    _save_images(tmp_path)
    dataset = _manifest(
        tmp_path,
        _row("copy", "a_copy.png", "test"),
        _row("first", "a.png", "train"),
        _row("second", "a.png", "train"),
        _row("like", "a_like.jpg", "train"),
        _row("b", "b.png", "val"),
        _row("b copy", "b_copy.png", "val"),
    )
    assert _assigned(dataset, drop_copies=True) == {
        "copy": None,
        "first": "train",
        "second": "train",
        "like": "train",
        "b": "val",
        "b copy": None,
    }


def test_with_the_split_file_no_near_duplicates_span_splits(tmp_path: Path) -> None:
    write_faulty_caers(tmp_path / "caers", each=12)
    options = DataOptions(name="caers", root=tmp_path / "caers")
    dataset = open_dataset(options, cache=tmp_path / "cache")
    across = {"duplicate", "near_duplicate", "split_overlap"}
    before = verify(dataset)
    assert len([problem for problem in before.problems if problem.kind in across]) == 24
    out = tmp_path / "splits.jsonl"
    changes = write_split_file(dataset, out)
    resplit = open_dataset(options.model_copy(update={"split_file": out}), cache=tmp_path / "cache")
    after = verify(resplit)
    assert [problem for problem in after.problems if problem.kind in across] == []
    assert after.num_images == before.num_images
    assert changes.to_json() == {
        "subjects": before.num_subjects,
        "near_duplicate_groups": 24,
        "groups_across_splits": 24,
        "moved": {"test to train": 24},
        "left_out": 0,
        "file": str(out),
    }


def test_the_file_lists_every_subject_in_the_datasets_order(tmp_path: Path) -> None:
    _save_images(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"not an image")
    dataset = _manifest(
        tmp_path,
        _row("z", "a.png", "train"),
        _row("broken", "broken.png", "test"),
        _row("y", "a_copy.png", "test"),
    )
    write_split_file(dataset, tmp_path / "splits.jsonl")
    assert list(read_splits(tmp_path / "splits.jsonl").items()) == [
        *(("z", "train"), ("broken", "test"), ("y", "train"))
    ]


def test_val_does_not_gain_from_dev(tmp_path: Path) -> None:
    """A group in both "dev", a part of train, and "val" moves to dev."""
    _save_images(tmp_path)
    rows = [_row("val", "a.png", "val"), _row("dev", "a_like.jpg", "dev"), _row("train", "b.png", "train")]
    dataset = _manifest(tmp_path, *rows)
    assert _assigned(dataset) == {"val": "dev", "dev": "dev", "train": "train"}


def test_a_missing_output_folder_is_reported_before_the_work(tmp_path: Path) -> None:
    _save_images(tmp_path)
    progress: list[object] = []
    with pytest.raises(DataError, match="no folder"):
        write_split_file(
            _manifest(tmp_path, _row("a", "a.png", "train")),
            tmp_path / "nowhere" / "splits.jsonl",
            on_progress=progress.append,
        )
    assert progress == []


def test_an_error_about_a_split_names_the_split_file(tmp_path: Path) -> None:
    _save_images(tmp_path)
    _manifest(tmp_path, _row("a", "a.png", "train"))
    path = tmp_path / "splits.jsonl"
    path.write_text('{"id": "a", "split": "train"}\n')
    options = DataOptions(name="manifest", root=tmp_path / "people.jsonl", split_file=path)
    with pytest.raises(
        DataError, match=r"no split 'val': .*splits\.jsonl assigns no subjects to it"
    ) as caught:
        open_dataset(options, cache=tmp_path / "cache").samples("val")
    assert "dedup" in caught.value.hint
