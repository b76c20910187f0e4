"""Public readers take a person's fields by position, in the order of the release; ours takes them by name."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from tests.factories.emotic_copies import MAT, annotated_image, open_emotic, ticked

from mien.playhouse.layouts.emotic import write, write_emotic


class Person(NamedTuple):
    """What a public reader learns about a person."""

    name: str
    box: list[float]
    labels: list[list[str]]  # by annotator
    dimensions: list[list[float]]
    gender: str
    age: str


def read_by_position(path: Path, split: str) -> Iterator[Person]:
    """Reads like the most used public reader: no field is named, and only train has one annotator."""
    # Positions of the labels, the dimensions, gender and age.
    labels_at, dimensions_at, gender_at, age_at = (1, 2, 3, 4) if split == "train" else (1, 3, 5, 6)
    for image in loadmat(path)[split][0]:
        for person in image[4][0]:
            yield Person(
                name=f"{image[1][0]}/{image[0][0]}",
                box=np.array(person[0]).flatten().tolist(),
                labels=[[str(text[0]) for text in one[0][0]] for one in person[labels_at][0]],
                dimensions=[[float(value[0, 0]) for value in one] for one in person[dimensions_at][0]],
                gender=str(person[gender_at][0]),
                age=str(person[age_at][0]),
            )


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_reader_by_position_finds_what_ours_finds(split: str, tmp_path: Path) -> None:
    write(tmp_path / "copy", train=8, val=8, test=8, seed=4)
    theirs = list(read_by_position(tmp_path / "copy" / MAT, split))
    ours = list(open_emotic(tmp_path / "copy").records(split))
    assert len(theirs) == len(ours) > 8
    for person, record in zip(theirs, ours, strict=True):
        (box,) = record.sample.subject.boxes
        assert box is not None
        assert person.box == list(box.as_tuple())
        assert record.sample.subject.id.startswith(f"{split}/{person.name}#")
        assert [set(labels) for labels in person.labels] == [set(item.labels) for item in record.annotations]
        for rated, annotation in zip(person.dimensions, record.annotations, strict=True):
            if annotation.dimensions is None:
                assert np.isnan(rated).all()
            else:
                assert rated == pytest.approx([10 * value for value in annotation.dimensions.values()])
        assert (person.gender, person.age) == (record.attributes["gender"], record.attributes["age"])


def _shuffled(array: Any, rng: random.Random) -> Any:
    """The same struct array, and those in it, with its fields in another order."""
    if array.dtype.names is None:
        return array
    names: Sequence[str] = rng.sample(array.dtype.names, len(array.dtype.names))
    found = np.empty(array.shape, dtype=[(name, object) for name in names])
    for place in np.ndindex(array.shape):
        found[place] = tuple(_shuffled(array[place][name], rng) for name in names)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_our_reader_accepts_any_order(seed: int, tmp_path: Path) -> None:
    opinions = [ticked("Peace|Pain", (4, 5, 6)), ticked("Fear", (6, 7, 8))]
    people = {
        "train": [annotated_image("t.jpg", [ticked("Anger")])],
        "val": [annotated_image("a.jpg", opinions, opinions)],
    }
    write_emotic(tmp_path / "copy", people)
    expected = {split: list(open_emotic(tmp_path / "copy").records(split)) for split in people}
    variables = loadmat(tmp_path / "copy" / MAT)
    rng = random.Random(seed)
    savemat(tmp_path / "copy" / MAT, {split: _shuffled(variables[split], rng) for split in people})
    dataset = open_emotic(tmp_path / "copy")
    assert dataset.problems() == []
    assert {split: list(dataset.records(split)) for split in people} == expected
