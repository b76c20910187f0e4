"""What may be wrong with EMOTIC's official file: reported once, with its kind and place, and no crash."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.factories.emotic_copies import MAT, open_emotic, photograph, said, tamper

from mien.errors import DataError
from mien.playhouse.layouts.emotic import write_emotic

# The second person of the second picture of val is the victim.
PLACE = "Annotations/Annotations.mat, val(2).person(2)"
ENTRY = "Annotations/Annotations.mat, val(2)"
PICTURE = "emotic/framesdb/images/b.jpg"
VICTIM = "val/framesdb/images/b.jpg#1"
Spoil = Callable[[Any], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    opinions = [said("Peace|Pain", (4, 5, 6)), said("Fear", (6, 7, 8))]
    shown = [photograph(f"{name}.jpg", opinions, opinions) for name in "abc"]
    write_emotic(tmp_path / "copy", {"train": [photograph("t.jpg", [said("Anger")])], "val": shown})
    return tmp_path / "copy"


def _person(spoil: Spoil) -> Spoil:
    return lambda held: spoil(held["val"][0, 1]["person"][0, 1])


def _entry(spoil: Spoil) -> Spoil:
    return lambda held: spoil(held["val"][0, 1])


def _put(*places: Any) -> Spoil:
    """Follows all places but the last two into the value, and puts the last one under the one before it."""
    *way, key, value = places

    def put(person: Any) -> None:
        for place in way:
            person = person[place]
        person[key] = value

    return put


def _box(*edges: float) -> Spoil:
    return _put("body_bbox", np.array([edges], dtype=np.float64))


def _label(text: str) -> Spoil:
    """The first annotator's second label."""
    labels = np.empty((1, 2), dtype=object)
    labels[0, :] = ["Peace", text]

    return _put("annotations_categories", (0, 0), "categories", labels)


def _unlabelled(*annotators: int) -> Spoil:
    def put(person: Any) -> None:
        for annotator in annotators:
            person["annotations_categories"][0, annotator]["categories"] = np.zeros((0, 0))

    return put


def _valence(value: Any) -> Spoil:
    return _put("annotations_continuous", (0, 0), "valence", value)


def _copy_of(index: int) -> Spoil:
    def put(held: Any) -> None:
        held["val"][0, 1] = held["val"][0, index]

    return put


FAULTS: dict[str, tuple[Spoil, str, str]] = {
    "box-inverted": (_person(_box(30, 5, 10, 20)), "box_degenerate", PICTURE),
    "box-flat": (_person(_box(10, 20, 30, 20)), "box_degenerate", PICTURE),
    "box-nan": (_person(_box(math.nan, 5, 10, 20)), "box_not_finite", PICTURE),
    "box-infinite": (_person(_box(1, 5, math.inf, 20)), "box_not_finite", PICTURE),
    "box-of-three": (_person(_box(1, 5, 10)), "bad_row", PLACE),
    "box-empty": (_person(_put("body_bbox", np.zeros((0, 0)))), "bad_row", PLACE),
    "box-text": (_person(_put("body_bbox", "1 2 3 4")), "bad_row", PLACE),
    "label-unknown": (_person(_label("Joy")), "unknown_label", PLACE),
    "label-lower-case": (_person(_label("peace")), "unknown_label", PLACE),
    "label-with-space": (_person(_label("Peace ")), "unknown_label", PLACE),
    "label-misspelt": (_person(_label("Disquitement")), "unknown_label", PLACE),
    "label-empty": (_person(_label("")), "unknown_label", PLACE),
    "label-number": (
        _person(_put("annotations_categories", (0, 0), "categories", np.array([[7.0]]))),
        "bad_row",
        PLACE,
    ),
    "no-label": (_person(_unlabelled(0, 1)), "no_label", PLACE),
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
OF_A_PICTURE: dict[str, tuple[Spoil, str]] = {
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


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_wrong_person(root: Path, fault: str) -> None:
    everybody = _usable(root)
    assert len(everybody) == 6
    spoil, kind, place = FAULTS[fault]
    tamper(root, spoil)
    dataset = open_emotic(root)
    (problem,) = dataset.problems()
    assert problem.kind == kind
    assert problem.file == (str(root / place) if place == PICTURE else place)
    assert _usable(root) == everybody - {VICTIM}
    assert dataset.unusable_rows("val") == [problem]
    assert dataset.unusable_rows("train") == []
    with pytest.raises(DataError, match="1 rows of split 'val'"):
        dataset.samples("val")
    assert len(list(dataset.samples("train"))) == 1
    assert len(list(open_emotic(root, skip_broken=True).samples("val"))) == 5


@pytest.mark.parametrize("fault", list(OF_A_PICTURE))
def test_a_wrong_picture(root: Path, fault: str) -> None:
    everybody = _usable(root)
    spoil, kind = OF_A_PICTURE[fault]
    tamper(root, spoil)
    (problem,) = open_emotic(root).problems()
    assert (problem.kind, problem.file) == (kind, ENTRY)
    assert _usable(root) == {name for name in everybody if "/b.jpg" not in name}


@pytest.mark.parametrize(
    ("spoil", "kind", "place", "said_there"),
    [
        pytest.param(_person(_unlabelled(0)), "no_label", PLACE, "annotators [0]", id="annotator-silent"),
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
        pytest.param(_entry(_put("person", np.zeros((0, 0)))), "bad_row", ENTRY, "no person", id="nobody"),
    ],
)
def test_what_is_reported_and_still_used(
    root: Path, spoil: Spoil, kind: str, place: str, said_there: str
) -> None:
    tamper(root, spoil)
    dataset = open_emotic(root)
    (problem,) = dataset.problems()
    assert (problem.kind, problem.file) == (kind, place)
    assert said_there in problem.message
    assert dataset.unusable_rows("val") == []
    assert len(list(dataset.samples("val"))) == (4 if place == ENTRY else 6)


def test_a_silent_annotator_is_no_sample_of_their_own(root: Path) -> None:
    tamper(root, _person(_unlabelled(0)))
    names = _usable(root, target="annotator")
    assert f"{VICTIM}@annotator-1" in names
    assert f"{VICTIM}@annotator-0" not in names


@pytest.mark.parametrize(
    "spoil",
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
def test_what_is_no_fault(root: Path, spoil: Spoil) -> None:
    tamper(root, spoil)
    dataset = open_emotic(root)
    assert dataset.problems() == []
    assert len(list(dataset.samples("val"))) == 6


def test_several_faults_of_one_person_are_several_problems(root: Path) -> None:
    for spoil in (_box(9, 9, 1, 1), _label("Joy"), _valence(12.0)):
        tamper(root, _person(spoil))
    kinds = [problem.kind for problem in open_emotic(root).problems()]
    assert sorted(kinds) == ["box_degenerate", "dimension_range", "unknown_label"]
    assert len(_usable(root)) == 5


def test_a_struct_without_the_fields_of_the_release_is_refused(root: Path) -> None:
    def rename(held: dict[str, Any]) -> None:
        held["val"] = np.array([[(1.0,)]], dtype=[("picture", object)])

    tamper(root, rename)
    with pytest.raises(DataError, match="val is not a struct with the field 'filename'") as caught:
        open_emotic(root)
    assert str(root / MAT) in str(caught.value)
