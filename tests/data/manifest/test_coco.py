"""COCO's JSON as a manifest."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.factories.shared_data import shared

from mien.data import Dataset, open_dataset
from mien.errors import ManifestError
from mien.recipe import DataOptions
from mien.types import Box

CATEGORIES = [{"id": 1, "name": "Person"}, {"id": 18, "name": "dog"}]
IMAGES = [
    {"id": 5, "file_name": "über all/é 1.jpg", "width": 640, "height": 480, "split": "train"},
    {"id": 6, "file_name": "2.jpg"},
]


def _open(path: Path, *, skip_broken: bool = False, **options: Any) -> Dataset:
    made = DataOptions(name="manifest", root=path, options=options, skip_broken=skip_broken)
    return open_dataset(made, cache=path.parent / "cache")


def _write(folder: Path, annotations: list[Any], **more: Any) -> Path:
    path = folder / "instances.json"
    document = {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations, **more}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _person(**more: Any) -> dict[str, Any]:
    return {
        "id": 9,
        "image_id": 5,
        "category_id": 1,
        "bbox": [10, 20, 30, 40],
        "iscrowd": 0,
        "area": 7,
        **more,
    }


def test_every_annotated_person_is_a_subject(tmp_path: Path) -> None:
    annotations = [
        _person(labels=["Peace"], valence=0.1, arousal=0.2, dominance=0.3),
        _person(id=10, image_id=6, labels={"Pain": 0.5}),
        _person(id="mine", bbox=[0.5, 1, 2, 3], split="test"),
    ]
    dataset = _open(_write(tmp_path, annotations))
    assert dataset.problems() == []
    assert dataset.splits == ("train", "all", "test")
    (first,), (second,), (third,) = (list(dataset.records(split)) for split in dataset.splits)
    assert first.sample.subject.id == "über all/é 1.jpg#9"
    assert first.sample.subject.images[0].path == tmp_path / "über all/é 1.jpg"
    assert first.sample.subject.boxes == (Box(left=10, top=20, right=40, bottom=60),)
    assert first.size == (640, 480)
    assert first.sample.target is not None
    assert first.sample.target.labels == {"Peace": 1.0}
    assert first.sample.target.dimensions == {"valence": 0.1, "arousal": 0.2, "dominance": 0.3}
    assert second.size is None
    assert second.sample.target is not None
    assert third.sample.subject.id == "mine"
    assert third.sample.target is None
    assert third.sample.subject.boxes == (Box(left=0.5, top=1, right=2.5, bottom=4),)


def test_crowds_and_other_categories_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _write(tmp_path, [_person(), _person(iscrowd=1), _person(category_id=18), _person(category_id=18)])
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="mien"):
            assert len(list(_open(path).samples("train"))) == 1
        assert "1 person left out: crowd" in caplog.text
        assert "2 annotations left out: other category" in caplog.text


def test_categories_can_be_chosen_and_all_count_if_none_are_listed(tmp_path: Path) -> None:
    annotations = [_person(), _person(id=10, category_id=18)]
    path = _write(tmp_path, annotations)
    dog = _open(path, categories=["DOG"])
    assert [sample.subject.id[-3:] for sample in dog.samples("train")] == ["#10"]
    with pytest.raises(ManifestError, match="no category cat") as caught:
        _open(path, categories=["cat"])
    assert "dog" in caught.value.hint
    assert len(list(_open(_write(tmp_path, annotations, categories=[])).samples("train"))) == 2


@pytest.mark.parametrize(
    ("annotation", "kind", "place"),
    [
        (7, "bad_row", "annotation 2"),
        (_person(id=1, image_id=99), "bad_row", "annotation 2"),
        (_person(id=1, image_id=[5]), "bad_row", "annotation 2"),
        (_person(id=1, bbox=[1, 2, 3]), "bad_row", "annotation 2"),
        (_person(id=1, bbox=None), "bad_row", "annotation 2"),
        (_person(id=1, bbox=[10**400, 2, 3, 4]), "box_not_finite", "1.jpg"),
        (_person(id=1, bbox=[1, 2, 0, 4]), "box_degenerate", "1.jpg"),
        (_person(id=1, bbox=[1, 2, float("nan"), 4]), "box_not_finite", "1.jpg"),
        (_person(id=1, labels=["Piece"]), "unknown_label", "annotation 2"),
        (_person(id=1, labels=[], valence=3, arousal=3, dominance=3), "dimension_range", "annotation 2"),
        (_person(), "repeated_id", "annotation 2"),
    ],
)
def test_problems_of_annotations(tmp_path: Path, annotation: Any, kind: str, place: str) -> None:
    dataset = _open(_write(tmp_path, [_person(), annotation]), skip_broken=True)
    (problem,) = dataset.problems()
    assert problem.kind == kind
    assert problem.file.endswith(place)
    assert len(list(dataset.samples("train"))) == 1


def test_problems_of_images(tmp_path: Path) -> None:
    images = [*IMAGES, 3, {"file_name": "x.jpg"}, {"id": 5, "file_name": "x.jpg"}]
    dataset = _open(_write(tmp_path, [_person()], images=images))
    assert [problem.file.split(", ")[-1] for problem in dataset.problems()] == [
        f"image {i}" for i in (3, 4, 5)
    ]


def test_a_changed_document_is_read_again(tmp_path: Path) -> None:
    assert len(list(_open(_write(tmp_path, [_person()])).samples("train"))) == 1
    assert len(list(_open(_write(tmp_path, [_person(), _person(id=1)])).samples("train"))) == 2


def test_real_photographs_with_the_boxes_of_coco(tmp_path: Path) -> None:
    rows = (shared("emotic-photos") / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    people = [json.loads(row) for row in rows]
    names = sorted({person["image"] for person in people})
    annotations = [
        {
            "id": person["id"],
            "image_id": names.index(person["image"]),
            "bbox": [left, top, right - left, bottom - top],
            "labels": person["labels"],
            "split": person["split"],
        }
        for person in people
        if person["box"] is not None
        for left, top, right, bottom in [person["box"]]
    ]
    images = [{"id": index, "file_name": name} for index, name in enumerate(names)]
    path = _write(tmp_path, annotations, images=images, categories=[])
    dataset = _open(path, images=str(shared("emotic-photos")))
    samples = [sample for split in dataset.splits for sample in dataset.samples(split)]
    assert len(samples) == 237
    assert all(sample.subject.images[0].path.is_file() for sample in samples)
