"""Faults in EMOTIC's official file: each is reported once, with its kind and position."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.factories.emotic_copies import MAT, annotated_image, open_emotic, tamper, ticked

from mien.errors import DataError
from mien.playhouse.layouts.emotic import write_emotic

# The second person in the second image of val has the fault.
PLACE = "Annotations/Annotations.mat, val(2).person(2)"
ENTRY = "Annotations/Annotations.mat, val(2)"
IMAGE = "emotic/framesdb/images/b.jpg"
VICTIM = "val/framesdb/images/b.jpg#1"
Change = Callable[[Any], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    opinions = [ticked("Peace|Pain", (4, 5, 6)), ticked("Fear", (6, 7, 8))]
    shown = [annotated_image(f"{name}.jpg", opinions, opinions) for name in "abc"]
    write_emotic(tmp_path / "copy", {"train": [annotated_image("t.jpg", [ticked("Anger")])], "val": shown})
    return tmp_path / "copy"


def _person(change: Change) -> Change:
    return lambda variables: change(variables["val"][0, 1]["person"][0, 1])


def _entry(change: Change) -> Change:
    return lambda variables: change(variables["val"][0, 1])


def _put(*places: Any) -> Change:
    """Sets a key in a nested value. The arguments are the path to the value, the key, and its new value."""
    *path, key, value = places

    def put(person: Any) -> None:
        for place in path:
            person = person[place]
        person[key] = value

    return put


def _box(*edges: float) -> Change:
    return _put("body_bbox", np.array([edges], dtype=np.float64))


def _label(text: str) -> Change:
    """The first annotator's second label."""
    labels = np.empty((1, 2), dtype=object)
    labels[0, :] = ["Peace", text]

    return _put("annotations_categories", (0, 0), "categories", labels)


def _without_labels(*annotators: int) -> Change:
    def put(person: Any) -> None:
        for annotator in annotators:
            person["annotations_categories"][0, annotator]["categories"] = np.zeros((0, 0))

    return put


def _valence(value: Any) -> Change:
    return _put("annotations_continuous", (0, 0), "valence", value)


def _copy_of(index: int) -> Change:
    def put(variables: Any) -> None:
        variables["val"][0, 1] = variables["val"][0, index]

    return put


PERSON_FAULTS: dict[str, tuple[Change, str, str]] = {
    "box-inverted": (_person(_box(30, 5, 10, 20)), "box_degenerate", IMAGE),
    "box-flat": (_person(_box(10, 20, 30, 20)), "box_degenerate", IMAGE),
    "box-nan": (_person(_box(math.nan, 5, 10, 20)), "box_not_finite", IMAGE),
    "box-infinite": (_person(_box(1, 5, math.inf, 20)), "box_not_finite", IMAGE),
    "box-of-three": (_person(_box(1, 5, 10)), "bad_row", PLACE),
    "box-empty": (_person(_put("body_bbox", np.zeros((0, 0)))), "bad_row", PLACE),
    "box-text": (_person(_put("body_bbox", "1 2 3 4")), "bad_row", PLACE),
    "label-unknown": (_person(_label("Joy")), "unknown_label", PLACE),
    "label-lower-case": (_person(_label("peace")), "unknown_label", PLACE),
    "label-with-space": (_person(_label("Peace ")), "unknown_label", PLACE),
    "label-misspelled": (_person(_label("Disquitement")), "unknown_label", PLACE),
    "label-empty": (_person(_label("")), "unknown_label", PLACE),
    "label-number": (
        _person(_put("annotations_categories", (0, 0), "categories", np.array([[7.0]]))),
        "bad_row",
        PLACE,
    ),
    "no-label": (_person(_without_labels(0, 1)), "no_label", PLACE),
    "no-annotator": (_person(_put("annotations_categories", np.zeros((0, 0)))), "bad_row", PLACE),
    "dimension-above": (_person(_valence(11.0)), "dimension_range", PLACE),
    "dimension-below": (_person(_valence(0.0)), "dimension_range", PLACE),
    "dimension-infinite": (_person(_valence(math.inf)), "dimension_range", PLACE),
    "dimension-missing": (_person(_valence(math.nan)), "dimension_range", PLACE),
    "dimension-empty": (_person(_valence(np.zeros((0, 0)))), "dimension_range", PLACE),
    "dimension-text": (_person(_valence("much")), "bad_row", PLACE),
    "annotators-differ": (
        _person(
            lambda person: _put("annotations_continuous", person["annotations_continuous"][:, :1])(person)
        ),
        "bad_row",
        PLACE,
    ),
    "gender-number": (_person(_put("gender", np.array([[1.0]]))), "bad_row", PLACE),
}
IMAGE_FAULTS: dict[str, tuple[Change, str]] = {
    "name-empty": (_entry(_put("filename", "")), "bad_row"),
    "name-number": (_entry(_put("filename", np.array([[1.0]]))), "bad_row"),
    "name-absolute": (_entry(_put("filename", "/etc/passwd")), "bad_row"),
    "folder-outside": (_entry(_put("folder", "../../other")), "bad_row"),
    "person-not-a-struct": (_entry(_put("person", np.array([[1.0]]))), "bad_row"),
    "entry-twice": (_copy_of(0), "repeated_id"),
}


def _usable(root: Path, **options: Any) -> set[str]:
    records = open_emotic(root, **options).records("val")
    return {record.sample.subject.id for record in records}


@pytest.mark.parametrize("fault", list(PERSON_FAULTS))
def test_a_faulty_person_is_reported(root: Path, fault: str) -> None:
    all_ids = _usable(root)
    assert len(all_ids) == 6
    change, kind, place = PERSON_FAULTS[fault]
    tamper(root, change)
    dataset = open_emotic(root)
    (problem,) = dataset.problems()
    assert problem.kind == kind
    assert problem.file == (str(root / place) if place == IMAGE else place)
    assert _usable(root) == all_ids - {VICTIM}
    assert dataset.unusable_rows("val") == [problem]
    assert dataset.unusable_rows("train") == []
    with pytest.raises(DataError, match="1 rows of split 'val'"):
        dataset.samples("val")
    assert len(list(dataset.samples("train"))) == 1
    assert len(list(open_emotic(root, skip_broken=True).samples("val"))) == 5


@pytest.mark.parametrize("fault", list(IMAGE_FAULTS))
def test_a_faulty_image_is_reported(root: Path, fault: str) -> None:
    all_ids = _usable(root)
    change, kind = IMAGE_FAULTS[fault]
    tamper(root, change)
    (problem,) = open_emotic(root).problems()
    assert (problem.kind, problem.file) == (kind, ENTRY)
    assert _usable(root) == {name for name in all_ids if "/b.jpg" not in name}


@pytest.mark.parametrize(
    ("change", "kind", "place", "in_message"),
    [
        pytest.param(_person(_without_labels(0)), "no_label", PLACE, "annotators [0]", id="annotator-silent"),
        pytest.param(
            _person(_put("combined_categories", np.array([["Peace"]], dtype=object))),
            "bad_row",
            PLACE,
            "combined_categories",
            id="union-differs",
        ),
        pytest.param(
            _person(_put("combined_continuous", (0, 0), "arousal", 9.0)),
            "bad_row",
            PLACE,
            "combined_continuous",
            id="mean-differs",
        ),
        pytest.param(_entry(_put("person", np.zeros((0, 0)))), "bad_row", ENTRY, "no person", id="no-person"),
    ],
)
def test_some_faults_are_reported_but_the_person_is_used(
    root: Path, change: Change, kind: str, place: str, in_message: str
) -> None:
    tamper(root, change)
    dataset = open_emotic(root)
    (problem,) = dataset.problems()
    assert (problem.kind, problem.file) == (kind, place)
    assert in_message in problem.message
    assert dataset.unusable_rows("val") == []
    assert len(list(dataset.samples("val"))) == (4 if place == ENTRY else 6)


def test_an_annotator_without_labels_gives_no_sample(root: Path) -> None:
    tamper(root, _person(_without_labels(0)))
    names = _usable(root, target="annotator")
    assert f"{VICTIM}@annotator-1" in names
    assert f"{VICTIM}@annotator-0" not in names


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_person(_put("combined_continuous", (0, 0), "arousal", 6.4)), id="mean-rounded"),
        pytest.param(_person(_put("combined_continuous", (0, 0), "arousal", math.nan)), id="mean-missing"),
        pytest.param(_person(_put("annotations_continuous", np.zeros((0, 0)))), id="dimensions-absent"),
        pytest.param(_person(_put("annotations_continuous", np.array([[math.nan]]))), id="dimensions-nan"),
        pytest.param(_person(_put("gender", np.zeros((0, 0)))), id="gender-absent"),
        pytest.param(_entry(_put("image_size", np.zeros((0, 0)))), id="size-absent"),
        pytest.param(_entry(_put("original_database", np.zeros((0, 0)))), id="source-absent"),
    ],
)
def test_acceptable_deviations_are_not_problems(root: Path, change: Change) -> None:
    tamper(root, change)
    dataset = open_emotic(root)
    assert dataset.problems() == []
    assert len(list(dataset.samples("val"))) == 6


def test_each_fault_of_a_person_is_a_problem(root: Path) -> None:
    for change in (_box(9, 9, 1, 1), _label("Joy"), _valence(12.0)):
        tamper(root, _person(change))
    kinds = [problem.kind for problem in open_emotic(root).problems()]
    assert sorted(kinds) == ["box_degenerate", "dimension_range", "unknown_label"]
    assert len(_usable(root)) == 5


def test_a_struct_without_the_expected_fields_is_an_error(root: Path) -> None:
    def rename(variables: dict[str, Any]) -> None:
        variables["val"] = np.array([[(1.0,)]], dtype=[("other", object)])

    tamper(root, rename)
    with pytest.raises(DataError, match="val is not a struct with the field 'filename'") as caught:
        open_emotic(root)
    assert str(root / MAT) in str(caught.value)
