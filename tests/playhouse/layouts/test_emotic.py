"""Annotated images, and EMOTIC's official file as SciPy reads the release."""

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
from mien.playhouse.rules import SimulatedAnnotation
from mien.playhouse.situations import Situation, is_absent_from_train
from mien.types import Box


def _annotated_image(name: str, *annotations: SimulatedAnnotation, people: int = 1) -> AnnotatedImage:
    box = Box(left=2, top=3, right=20, bottom=25)
    person = AnnotatedPerson(box=box, annotations=annotations, gender="Male", age="Kid")
    return AnnotatedImage(name=name, image=Image.new("RGB", (40, 30)), people=(person,) * people, scene=None)


def _load(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = loadmat(root / "Annotations" / "Annotations.mat")
    return loaded


# --- Annotated images --------------------------------------------------------------------------------


def test_images_are_the_same_each_time_and_more_begin_with_fewer() -> None:
    few, more = (list(sample_images("val", count, 5, 3)) for count in (4, 6))
    assert [annotated.people for annotated in few] == [annotated.people for annotated in more[:4]]
    assert few[3].image.tobytes() == more[3].image.tobytes()
    assert few[0].people != next(sample_images("val", 1, 6, 3)).people
    assert len({annotated.name for annotated in more}) == 6


def test_every_person_is_annotated_with_a_box() -> None:
    for annotated in sample_images("test", 12, 1, 4):
        assert annotated.scene is not None
        assert len(annotated.people) == len(annotated.scene.people)
        for person in annotated.people:
            assert len(person.annotations) == 4
            assert person.box.clip(*annotated.image.size) == person.box
            assert all(edge == int(edge) for edge in person.box.as_tuple())
            assert person.gender in GENDERS
            assert person.age in AGES
        drawn = ["Kid" if person.age == "child" else "Adult" for person in annotated.scene.people]
        assert [person.age for person in annotated.people] == drawn


def test_people_in_situations_that_train_lacks_are_not_annotated() -> None:
    num_annotated, left_out = 0, 0
    for annotated in sample_images("train", 80, 1, 1):
        scene = annotated.scene
        assert scene is not None
        situations = [Situation(scene.setting, scene.occasion, person.item) for person in scene.people]
        allowed = [situation for situation in situations if not is_absent_from_train(situation)]
        assert len(annotated.people) == len(allowed) > 0
        num_annotated += len(allowed)
        left_out += len(scene.people) - len(allowed)
    assert num_annotated > 80
    assert left_out > 10


def test_padding_moves_the_boxes() -> None:
    (annotated,) = sample_images("val", 1, 2, 1)
    wide = pad_sides(annotated, 30, 11)
    assert wide.image.size == (annotated.image.width + 41, annotated.image.height)
    for before, after in zip(annotated.people, wide.people, strict=True):
        cut = [
            shown.image.crop(box.as_tuple()) for shown, box in ((annotated, before.box), (wide, after.box))
        ]
        assert cut[0].tobytes() == cut[1].tobytes()


# --- The official file -------------------------------------------------------------------------------


def test_files_are_where_the_release_has_them(tmp_path: Path) -> None:
    write(tmp_path, train=5, val=2, test=1, seed=9)
    assert {path.name for path in tmp_path.iterdir()} == {"Annotations", "emotic"}
    images = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg"))
    assert len(images) == 8
    assert f"emotic/{folder_of(2)}/train_00002.jpg" in images
    assert {Path(image).parent.as_posix() for image in images} == {f"emotic/{folder_of(i)}" for i in range(4)}
    with Image.open(tmp_path / images[0]) as image:
        assert image.format == "JPEG"


def test_the_structs_are_those_of_the_release(tmp_path: Path) -> None:
    twice = (SimulatedAnnotation(("Peace", "Fear"), (3, 4, 5)), SimulatedAnnotation(("Peace",), (6, 8, 10)))
    write_emotic(
        tmp_path,
        {
            "train": [_annotated_image("a b.jpg", twice[0])],
            "val": [_annotated_image("ü.jpg", *twice, people=2)],
        },
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


def test_the_fields_of_a_size_are_swapped_in_one_folder_only(tmp_path: Path) -> None:
    write_emotic(
        tmp_path,
        {"test": [_annotated_image(f"{i}.jpg", SimulatedAnnotation(("Peace",), None)) for i in range(4)]},
    )
    for entry in _load(tmp_path)["test"][0]:
        size = entry["image_size"]
        swapped = entry["folder"].item() == "emodb_small/images"
        assert size.dtype.names == (("n_row", "n_col") if swapped else ("n_col", "n_row"))
        assert (size[0, 0]["n_col"].item(), size[0, 0]["n_row"].item()) == (40, 30)


@pytest.mark.parametrize("missing", ["nan", "empty"])
def test_dimensions_that_no_annotator_gave(tmp_path: Path, missing: Any) -> None:
    shown = _annotated_image(
        "a.jpg", SimulatedAnnotation(("Peace",), None), SimulatedAnnotation(("Peace",), (2, 3, 4))
    )
    write_emotic(tmp_path, {"val": [shown]}, missing=missing)
    first, second = _load(tmp_path)["val"][0, 0]["person"][0, 0]["annotations_continuous"][0]
    value = first["valence"]
    assert value.size == 0 if missing == "empty" else np.isnan(value.item())
    assert second["valence"].item() == 2


def test_images_are_taken_one_at_a_time(tmp_path: Path) -> None:
    """Each is taken only when the previous one is on disk."""
    images = tmp_path / "emotic"

    def lazily() -> Any:
        for index, annotated in enumerate(islice(sample_images("val", 3, 1, 1), 3)):
            assert len(list(images.rglob("*.jpg"))) == index
            yield annotated

    write_emotic(tmp_path, {"val": lazily()})
    assert len(list(images.rglob("*.jpg"))) == 3
