"""Statistics of a dataset: counts checked by hand, and the same chance level as the metrics."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.datasets import MOODS, InMemoryDataset, image_record
from tests.factories.shared_data import shared

from mien.data import open_dataset
from mien.data.audit.summary import BOX_SIDES, DimensionStatistics, summarize
from mien.evaluate.metrics.table import load_metric
from mien.evaluate.metrics.targets import POSITIVE
from mien.labels import CAERS
from mien.recipe import DataOptions
from mien.types import Box, ImageRef, Problem, Subject, Target

VAD = {"valence": 0.3, "arousal": 0.5, "dominance": 1.0}


def test_a_small_dataset_has_the_counts_found_by_hand(tmp_path: Path, paint: Callable[..., Path]) -> None:
    one, two = paint("1.png"), paint("2.png")
    people = [
        image_record("a", one, "calm", "glad", dimensions=VAD, attributes={"age": "Kid"}),
        image_record("b", one, "calm", box=None, attributes={"age": "Adult"}),
        image_record("c", two, dimensions={**VAD, "valence": 0.7}, attributes={"age": "Adult"}),
        image_record("d", two, is_labeled=False, box=(0, 0, 40, 90)),
    ]
    found = summarize(InMemoryDataset({"train": people}))
    assert json.loads(json.dumps(found.to_json()))["splits"] == {
        "train": {
            "images": 2,
            "subjects": 4,
            "labels_per_subject": 1.0,  # 3 labels of 3 labeled people
            # The means over all orders of 2 in 3 and of 1 in 3. Nothing counts for sour, which no one has.
            "chance_map": pytest.approx(
                (((1 / 2 + 2 / 3) / 2 + (1 + 2 / 3) / 2 + 1) / 3 + (1 + 1 / 2 + 1 / 3) / 3) / 2
            ),
            "with_dimensions": 2,
        }
    }
    (part,) = found.splits
    assert (part.num_unlabeled, part.num_without_box) == (1, 1)
    assert part.positives == {"calm": 2, "glad": 1, "sour": 0}
    assert part.cooccurrence == ((2, 1, 0), (1, 1, 0), (0, 0, 0))
    assert part.attributes == {"age": {"Adult": 2, "Kid": 1}}
    assert part.dimensions["valence"].mean == pytest.approx(0.5)
    assert (part.dimensions["valence"].low, part.dimensions["valence"].high) == (0.3, 0.7)
    assert part.dimensions["valence"].histogram == [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    assert part.boxes.histogram == [2, 0, 1, 0, 0, 0, 0]  # sides 10, 10 and 60
    assert found.problems == {}


@pytest.mark.parametrize("cached", ["nothing", "one", "all"])
def test_images_that_are_drawn_when_they_are_read_are_not_missing(tmp_path: Path, cached: str) -> None:
    dataset = open_dataset(
        DataOptions(name="playhouse", options={"train": 3, "val": 2, "test": 2}), cache=tmp_path
    )
    for split in {"nothing": (), "one": ("val",), "all": dataset.splits}[cached]:
        list(dataset.records(split))
    found = summarize(dataset)
    assert [split.num_images for split in found.splits] == [3, 2, 2]
    assert (found.problems, found.missing) == ({}, ())


def test_a_file_that_is_gone_is_missing_next_to_one_that_is_there(
    tmp_path: Path, paint: Callable[..., Path]
) -> None:
    people = [image_record("a", paint("1.png")), image_record("b", tmp_path / "2.png")]
    found = summarize(InMemoryDataset({"train": people}))
    assert (found.problems, found.missing) == ({"missing": 1}, (str(tmp_path / "2.png"),))


def test_the_document_starts_with_the_documented_keys(tmp_path: Path, paint: Callable[..., Path]) -> None:
    found = summarize(InMemoryDataset({"train": [image_record("a", paint("a.png"), "calm")]})).to_json()
    assert list(found) == [
        *("schema", "dataset", "splits", "problems"),
        *("label_set", "labels", "details"),
    ]
    assert (found["schema"], found["dataset"], found["problems"]) == (1, "in_memory", {})
    assert (found["label_set"], found["labels"]) == ("moods", ["calm", "glad", "sour"])
    assert found["details"]["train"] == {
        "unlabeled": 0,
        "clips": 0,
        "prevalence": {"calm": 1.0, "glad": 0.0, "sour": 0.0},
        "annotators": {"0": 1},
        "dimensions": {},
        "boxes": {
            "count": 1,
            "min_side": 10.0,
            "max_side": 10.0,
            "sides": {
                "0 to 16": 1,
                **dict.fromkeys(("16 to 32", "32 to 64", "64 to 128", "128 to 256", "256 to 512"), 0),
                "512 and more": 0,
            },
            "subjects_without": 0,
        },
        "attributes": {},
        "cooccurrence": [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
    }


@given(
    rows=st.lists(
        st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), min_size=3, max_size=3), min_size=1, max_size=20
    )
)
def test_chance_equals_that_of_the_metrics(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    people = []
    for index, row in enumerate(rows):
        made = image_record(f"{index}", folder / "x.png")
        target = Target(labels=MOODS.decode(row))
        people.append(dataclasses.replace(made, sample=dataclasses.replace(made.sample, target=target)))
    (part,) = summarize(InMemoryDataset({"train": people})).splits
    targets = np.array(rows)
    if (targets >= POSITIVE).any():
        assert part.chance_map == pytest.approx(load_metric("mAP").chance(targets))
    else:
        assert part.chance_map is None
    assert part.labels_per_subject == pytest.approx((targets >= POSITIVE).sum(axis=1).mean())
    truth = (targets >= POSITIVE).astype(int)
    assert np.array_equal(part.cooccurrence, truth.T @ truth)


def test_chance_of_an_exclusive_set_is_the_most_frequent_label(tmp_path: Path) -> None:
    people = [
        image_record(f"{i}", tmp_path, label) for i, label in enumerate(["Sad", "Happy", "Happy", "Fear"])
    ]
    (part,) = summarize(InMemoryDataset({"train": people}, label_set=CAERS)).splits
    assert part.most_frequent == ("Happy", 0.5)
    targets = np.array([CAERS.encode(item.sample.target.labels) for item in people if item.sample.target])
    assert part.most_frequent[1] == load_metric("accuracy").chance(targets)


def test_a_split_without_labels_has_no_chance(tmp_path: Path, paint: Callable[..., Path]) -> None:
    (part,) = summarize(
        InMemoryDataset({"test": [image_record("a", paint("a.png"), is_labeled=False)]})
    ).splits
    assert part.to_json() == {
        "images": 1,
        "subjects": 1,
        "labels_per_subject": None,
        "chance_map": None,
        "with_dimensions": 0,
    }
    assert part.most_frequent is None


def test_a_split_without_people_is_not_an_error(tmp_path: Path) -> None:
    document = summarize(InMemoryDataset({"train": []})).to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["splits"]["train"] == {
        "images": 0,
        "subjects": 0,
        "labels_per_subject": None,
        "chance_map": None,
        "with_dimensions": 0,
    }
    details = document["details"]["train"]
    assert (details["unlabeled"], details["prevalence"], details["dimensions"]) == (0, {}, {})
    assert (details["boxes"]["count"], details["boxes"]["min_side"]) == (0, None)


def test_problems_are_counted_by_kind(tmp_path: Path, paint: Callable[..., Path]) -> None:
    problems = [Problem(kind="bad_row", file="x.csv, row 2", message="")] * 2
    problems += [Problem(kind="no_label", file="x.csv, row 3", message="")]
    people = {"train": [image_record("a", paint("a.png"), "calm")]}
    assert summarize(InMemoryDataset(people, problems=problems)).problems == {"bad_row": 2, "no_label": 1}


def test_a_missing_file_counts_once_regardless_of_who_uses_or_reports_it(
    tmp_path: Path, paint: Callable[..., Path]
) -> None:
    reported, unreported, folderless = (
        tmp_path / "reported.png",
        tmp_path / "unreported.png",
        tmp_path / "no" / "x.png",
    )
    (tmp_path / "folder.png").mkdir()
    people = [
        image_record("a", paint("there.png")),
        image_record("b", reported),
        image_record("c", unreported),
        image_record("d", unreported),
        image_record("e", folderless),
        image_record("f", tmp_path / "folder.png"),
        image_record("g", Path("nul\0.png")),
    ]
    problems = [Problem(kind="missing", file=str(reported), message="")]
    found = summarize(InMemoryDataset({"train": people, "test": people}, problems=problems))
    assert found.problems == {"missing": 5}
    assert found.missing == (str(unreported), str(folderless), str(tmp_path / "folder.png"), "nul\0.png")


def test_no_image_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paint: Callable[..., Path]
) -> None:
    people = {"train": [image_record("a", paint("a.png"), "calm")]}
    monkeypatch.setattr("PIL.Image.open", None)
    monkeypatch.setattr(Path, "open", None)
    assert summarize(InMemoryDataset(people)).problems == {}


def test_a_clip_is_one_file_with_one_box_per_frame(tmp_path: Path, paint: Callable[..., Path]) -> None:
    made, path = image_record("a", tmp_path, "calm"), paint("clip.png")
    clip = Subject(
        id="a",
        images=tuple(ImageRef(path=path, frame=frame) for frame in (3, 9)),
        boxes=(Box(left=0, top=0, right=5, bottom=5), None),
    )
    record = dataclasses.replace(made, sample=dataclasses.replace(made.sample, subject=clip))
    (part,) = summarize(InMemoryDataset({"train": [record]})).splits
    assert (part.num_images, part.num_subjects, part.num_clips, part.boxes.count, part.num_without_box) == (
        1,
        1,
        1,
        1,
        0,
    )


@given(steps=st.lists(st.integers(0, 10), min_size=1))
def test_every_tenth_has_its_own_bin(steps: list[int]) -> None:
    statistics = DimensionStatistics()
    for step in steps:
        statistics.add(step / 10)
    assert statistics.histogram == [steps.count(step) for step in range(11)]


def test_bins_of_boxes_are_named_by_their_edges(tmp_path: Path) -> None:
    sides = [1, *(edge for edge in BOX_SIDES[1:])]
    people = [image_record(f"{side}", tmp_path, box=(0, 0, side, side)) for side in sides]
    (part,) = summarize(InMemoryDataset({"train": people})).splits
    assert part.boxes.histogram == [1] * len(BOX_SIDES)
    assert part.boxes.bin_names == (
        *("0 to 16", "16 to 32", "32 to 64", "64 to 128", "128 to 256", "256 to 512"),
        "512 and more",
    )


def test_attribute_values_beyond_the_limit_are_counted_together(tmp_path: Path) -> None:
    people = [image_record(f"{i}", tmp_path, attributes={"note": f"value {i}"}) for i in range(500)]
    (part,) = summarize(InMemoryDataset({"train": people})).splits
    kept = {f"value {i}": 1 for i in range(60)}
    assert part.attributes["note"] == {"(other)": 440, **kept}


def test_real_photographs_are_counted(tmp_path: Path) -> None:
    root = shared("emotic-photos", "manifest.jsonl")
    found = summarize(open_dataset(DataOptions(name="manifest", root=root), cache=tmp_path))
    assert sum(part.num_subjects for part in found.splits) == 615
    assert sum(part.num_images for part in found.splits) == 489
    assert found.problems == {}
    rows = [json.loads(line) for line in root.read_text(encoding="utf-8").splitlines()]
    for part in found.splits:
        own = [row["labels"] for row in rows if row["split"] == part.split]
        assert part.labels_per_subject == pytest.approx(sum(map(len, own)) / len(own))
        targets = np.array([[float(label in row) for label in found.labels] for row in own])
        assert part.chance_map == pytest.approx(load_metric("mAP").chance(targets))
