import dataclasses
import json
import math
import pickle
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mien import types
from mien.errors import BoxError, DataError
from mien.types import Box, Description, ImageRef, Prediction, Sample, Subject, Target

edges = st.floats(-1e4, 1e4)
sides = st.integers(1, 5000)


def a_box(left: float = 1, top: float = 2, right: float = 11, bottom: float = 22) -> Box:
    return Box(left=left, top=top, right=right, bottom=bottom)


def test_a_box_has_width_and_height() -> None:
    assert (a_box().width, a_box().height, a_box().as_tuple()) == (10, 20, (1, 2, 11, 22))
    assert Box.from_tuple((1, 2, 11, 22)) == a_box()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("edge", ["left", "top", "right", "bottom"])
def test_a_box_with_an_edge_that_is_not_finite_is_refused(edge: str, bad: float) -> None:
    with pytest.raises(BoxError, match="not finite"):
        dataclasses.replace(a_box(), **{edge: bad})


@pytest.mark.parametrize("empty", [(5, 0, 5, 9), (6, 0, 5, 9), (0, 5, 9, 5), (0, 6, 9, 5)])
def test_an_empty_box_is_refused(empty: tuple[float, float, float, float]) -> None:
    with pytest.raises(BoxError, match="empty"):
        Box.from_tuple(empty)


def test_a_still_is_what_the_constructors_make() -> None:
    still = Subject.still("a", Path("a.png"), a_box(), stated_size=(30, 40))
    made = Subject(id="a", images=(ImageRef(path=Path("a.png")),), boxes=(a_box(),), stated_size=(30, 40))
    assert still == dataclasses.replace(still) == made
    assert (repr(still), hash(still)) == (repr(made), hash(made))
    with pytest.raises(dataclasses.FrozenInstanceError):
        still.boxes[0].left = 3  # type: ignore[misc, union-attr]
    with pytest.raises(DataError, match="empty id"):
        Subject.still("", Path("a.png"))


@given(st.tuples(edges, edges, edges, edges), st.tuples(sides, sides))
def test_a_clipped_box_is_the_part_inside(
    corners: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    (left, right), (top, bottom) = sorted(corners[:2]), sorted(corners[2:])
    width, height = size
    assume(left < right and top < bottom)
    box = Box.from_tuple((left, top, right, bottom))
    if not (left < width and right > 0 and top < height and bottom > 0):
        with pytest.raises(BoxError, match="outside the image"):
            box.clip(width, height)
        return
    clipped = box.clip(width, height)
    assert 0 <= clipped.left < clipped.right <= width
    assert 0 <= clipped.top < clipped.bottom <= height
    assert clipped.clip(width, height) == clipped
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        assert clipped == box


def test_a_still_is_a_clip_of_length_one() -> None:
    still = Subject.still("a", Path("a.png"), a_box())
    assert still == Subject(id="a", images=(ImageRef(path=Path("a.png")),), boxes=(a_box(),))


def test_a_subject_needs_an_id_an_image_and_a_box_per_image() -> None:
    image = ImageRef(path=Path("a.png"))
    for images, boxes in [((), ()), ((image,), ()), ((image,), (None, None))]:
        with pytest.raises(DataError, match=f"{len(images)} images and {len(boxes)} boxes"):
            Subject(id="a", images=images, boxes=boxes)
    with pytest.raises(DataError, match="empty id"):
        Subject.still("", Path("a.png"))


def test_a_subject_has_no_field_for_a_label() -> None:
    assert [field.name for field in dataclasses.fields(Subject)] == ["id", "images", "boxes", "stated_size"]
    with pytest.raises((AttributeError, TypeError)):
        object.__setattr__(Subject.still("a", Path("a.png")), "label", "Joy")


@pytest.mark.parametrize("score", [-0.01, 1.01, math.nan])
def test_scores_outside_of_the_unit_interval_are_refused(score: float) -> None:
    with pytest.raises(DataError, match="'Joy' has the score"):
        Target(labels={"Joy": score})
    with pytest.raises(DataError, match="'Joy' has the score"):
        Prediction(subject_id="a", label_set="x", scores={"Joy": score})
    with pytest.raises(DataError, match="dimension 'arousal'"):
        Target(labels={}, dimensions={"valence": 0.5, "arousal": score, "dominance": 0.5})


def test_dimensions_are_all_three_or_none() -> None:
    with pytest.raises(DataError, match="valence"):
        Target(labels={}, dimensions={"valence": 0.5})


def test_a_target_copies_its_mappings() -> None:
    labels = {"Joy": 1.0}
    target = Target(labels=labels)
    labels["Joy"] = 0.0
    assert target.labels == {"Joy": 1.0}


def a_prediction() -> Prediction:
    description = Description(
        key="k", subject_id="a", text="She smiles.", prompt_id="p", engine="e", finish="stop"
    )
    scores = {"Anger": 0.2, "Joy": 0.7, "Peace": 0.7, "Fear": 0.1}
    return Prediction(subject_id="a", label_set="x", scores=scores, description=description)


def test_top_is_best_first_and_ties_keep_the_order_of_the_labels() -> None:
    assert a_prediction().top(3) == (("Joy", 0.7), ("Peace", 0.7), ("Anger", 0.2))
    assert len(a_prediction().top(99)) == 4


def test_above_accepts_one_threshold_or_one_per_label() -> None:
    assert a_prediction().above(0.2) == ("Joy", "Peace", "Anger")
    assert a_prediction().above({"Anger": 0.9, "Joy": 0.9, "Peace": 0.7, "Fear": 0.0}) == ("Peace", "Fear")
    with pytest.raises(DataError, match="'Joy'"):
        a_prediction().above({"Anger": 0.5})


def test_a_model_is_sure_from_a_score_on_and_if_a_label_reaches_its_threshold() -> None:
    assert a_prediction().is_sure is None
    assert dataclasses.replace(a_prediction(), min_confidence=0.7).is_sure is True
    unsure = dataclasses.replace(a_prediction(), min_confidence=0.75)
    assert unsure.is_sure is False
    assert unsure.unsure_because == "the highest score is below 0.750"
    none = dict.fromkeys(a_prediction().scores, 0.9)
    assert dataclasses.replace(a_prediction(), min_confidence=0.5, thresholds=none).unsure_because == (
        "no label reaches its threshold"
    )
    assert dataclasses.replace(a_prediction(), min_confidence=0.5, scores={}).is_sure is None
    sets = dataclasses.replace(unsure, prediction_set=("Joy", "Peace"), coverage=0.9).to_json()
    assert (sets["sure"], sets["prediction_set"], sets["coverage"]) == (False, ["Joy", "Peace"], 0.9)


def test_a_prediction_becomes_plain_json() -> None:
    assert json.loads(json.dumps(a_prediction().to_json())) == {
        "subject_id": "a",
        "label_set": "x",
        "scores": {"Anger": 0.2, "Joy": 0.7, "Peace": 0.7, "Fear": 0.1},
        "dimensions": None,
        "description": "She smiles.",
        "status": "ok",
    }


def test_an_unknown_finish_is_refused() -> None:
    with pytest.raises(DataError, match="'bored'"):
        dataclasses.replace(a_prediction().description, finish="bored")  # type: ignore[type-var]


def test_values_can_be_pickled() -> None:
    target = Target(labels={"Joy": 1.0}, dimensions=dict.fromkeys(types.DIMENSIONS, 0.5))
    sample = Sample(subject=Subject.still("a", Path("a.png"), a_box()), target=target, split="train")
    assert pickle.loads(pickle.dumps(sample)) == sample  # noqa: S301  made here


def test_every_value_is_frozen_slotted_and_keyword_only() -> None:
    values = [value for value in vars(types).values() if dataclasses.is_dataclass(value)]
    assert len(values) == 9
    for value in values:
        assert value.__dataclass_params__.frozen, value  # type: ignore[union-attr]
        assert not hasattr(value, "__dict__") or "__slots__" in vars(value), value
        assert all(field.kw_only for field in dataclasses.fields(value)), value
