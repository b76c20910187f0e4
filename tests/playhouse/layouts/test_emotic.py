"""Playhouse as photographs, and written as EMOTIC's official file: as SciPy sees the release."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from mien.playhouse.layouts.annotated_images import (
    AGES,
    GENDERS,
    AnnotatedImage,
    AnnotatedPerson,
    sample_images,
)
from mien.playhouse.layouts.emotic import folder_of, pad_sides, write, write_emotic
from mien.playhouse.rules import Annotation
from mien.playhouse.scene import ABSENT_FROM_TRAIN
from mien.types import Box


def _photograph(name: str, *annotations: Annotation, people: int = 1) -> AnnotatedImage:
    box = Box(left=2, top=3, right=20, bottom=25)
    actor = AnnotatedPerson(box=box, annotations=annotations, gender="Male", age="Kid")
    return AnnotatedImage(name=name, image=Image.new("RGB", (40, 30)), people=(actor,) * people, scene=None)


def _load(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = loadmat(root / "Annotations" / "Annotations.mat")
    return found


# --- Photographs -------------------------------------------------------------------------------------


def test_a_stage_is_the_same_each_time_and_begins_with_the_smaller() -> None:
    few, more = (list(sample_images("val", count, 5, 3)) for count in (4, 6))
    assert [photograph.people for photograph in few] == [photograph.people for photograph in more[:4]]
    assert few[3].image.tobytes() == more[3].image.tobytes()
    assert few[0].people != next(sample_images("val", 1, 6, 3)).people
    assert len({photograph.name for photograph in more}) == 6


def test_everybody_on_stage_is_annotated_where_they_stand() -> None:
    for photograph in sample_images("test", 12, 1, 4):
        assert photograph.scene is not None
        assert len(photograph.people) == len(photograph.scene.people)
        for actor in photograph.people:
            assert len(actor.annotations) == 4
            assert actor.box.clip(*photograph.image.size) == actor.box
            assert all(edge == int(edge) for edge in actor.box.as_tuple())
            assert actor.gender in GENDERS
            assert actor.age in AGES


def test_nobody_in_train_shows_what_train_lacks() -> None:
    annotated, left_out = 0, 0
    for photograph in sample_images("train", 80, 1, 1):
        scene = photograph.scene
        assert scene is not None
        allowed = [p for p in scene.people if (scene.place, p.expression) not in ABSENT_FROM_TRAIN]
        assert len(photograph.people) == len(allowed) > 0
        annotated += len(allowed)
        left_out += len(scene.people) - len(allowed)
    assert annotated > 80
    assert left_out > 10


def test_a_wider_canvas_moves_the_boxes_along() -> None:
    (photograph,) = sample_images("val", 1, 2, 1)
    wide = pad_sides(photograph, 30, 11)
    assert wide.image.size == (photograph.image.width + 41, photograph.image.height)
    for before, after in zip(photograph.people, wide.people, strict=True):
        cut = [
            shown.image.crop(box.as_tuple()) for shown, box in ((photograph, before.box), (wide, after.box))
        ]
        assert cut[0].tobytes() == cut[1].tobytes()


# --- The official file -------------------------------------------------------------------------------


def test_the_tree(tmp_path: Path) -> None:
    write(tmp_path, train=5, val=2, test=1, seed=9)
    assert {path.name for path in tmp_path.iterdir()} == {"Annotations", "emotic"}
    pictures = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg"))
    assert len(pictures) == 8
    assert f"emotic/{folder_of(2)}/train_00002.jpg" in pictures
    assert {Path(picture).parent.as_posix() for picture in pictures} == {
        f"emotic/{folder_of(i)}" for i in range(4)
    }
    with Image.open(tmp_path / pictures[0]) as image:
        assert image.format == "JPEG"


def test_the_structs_are_as_scipy_sees_the_release(tmp_path: Path) -> None:
    twice = (Annotation(("Peace", "Fear"), (3, 4, 5)), Annotation(("Peace",), (6, 8, 10)))
    write_emotic(
        tmp_path,
        {"train": [_photograph("a b.jpg", twice[0])], "val": [_photograph("ü.jpg", *twice, people=2)]},
    )
    held = _load(tmp_path)
    train, val = held["train"], held["val"]
    assert train.shape == (1, 1)
    assert train.dtype.names == ("filename", "folder", "image_size", "original_database", "person")
    assert train[0, 0]["filename"].tolist() == ["a b.jpg"]
    assert val[0, 0]["filename"].tolist() == ["ü.jpg"]
    assert train[0, 0]["original_database"].dtype.names[0] == "name"
    person = train[0, 0]["person"]
    assert person.shape == (1, 1)
    assert person.dtype.names == (
        "body_bbox",
        "annotations_categories",
        "annotations_continuous",
        "gender",
        "age",
    )
    assert person[0, 0]["body_bbox"].tolist() == [[2, 3, 20, 25]]
    cell = person[0, 0]["annotations_categories"][0, 0]["categories"]
    assert cell.shape == (1, 2)
    assert [text.tolist() for text in cell[0]] == [["Peace"], ["Fear"]]
    assert person[0, 0]["annotations_continuous"][0, 0]["arousal"].tolist() == [[4]]
    assert (person[0, 0]["gender"].item(), person[0, 0]["age"].item()) == ("Male", "Kid")
    person = val[0, 0]["person"]
    assert person.shape == (1, 2)
    assert person[0, 0]["annotations_categories"].shape == (1, 2)
    assert person[0, 0]["annotations_categories"][0, 1]["categories"].shape == (1, 1)
    assert [text.item() for text in person[0, 0]["combined_categories"][0]] == ["Peace", "Fear"]
    assert person[0, 0]["combined_continuous"][0, 0]["dominance"].tolist() == [[7.5]]


def test_the_fields_of_a_size_change_places_in_one_folder_only(tmp_path: Path) -> None:
    write_emotic(
        tmp_path, {"test": [_photograph(f"{i}.jpg", Annotation(("Peace",), None)) for i in range(4)]}
    )
    for entry in _load(tmp_path)["test"][0]:
        size = entry["image_size"]
        swapped = entry["folder"].item() == "emodb_small/images"
        assert size.dtype.names == (("n_row", "n_col") if swapped else ("n_col", "n_row"))
        assert (size[0, 0]["n_col"].item(), size[0, 0]["n_row"].item()) == (40, 30)


@pytest.mark.parametrize("missing", ["nan", "empty"])
def test_dimensions_that_nobody_gave(tmp_path: Path, missing: Any) -> None:
    shown = _photograph("a.jpg", Annotation(("Peace",), None), Annotation(("Peace",), (2, 3, 4)))
    write_emotic(tmp_path, {"val": [shown]}, missing=missing)
    first, second = _load(tmp_path)["val"][0, 0]["person"][0, 0]["annotations_continuous"][0]
    value = first["valence"]
    assert value.size == 0 if missing == "empty" else np.isnan(value.item())
    assert second["valence"].item() == 2


def test_photographs_are_not_held_in_memory(tmp_path: Path) -> None:
    """Each is taken only when the one before it is on disk."""
    pictures = tmp_path / "emotic"

    def lazily() -> Any:
        for index, photograph in enumerate(islice(sample_images("val", 3, 1, 1), 3)):
            assert len(list(pictures.rglob("*.jpg"))) == index
            yield photograph

    write_emotic(tmp_path, {"val": lazily()})
    assert len(list(pictures.rglob("*.jpg"))) == 3
