"""Attributes such as gender are for audits: stored next to scores, and in no model or prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest
from tests.factories.bold_copies import Someone, everywhere, open_bold, save_clip
from tests.factories.emotic_copies import annotated_image, copy_in_all_forms, open_emotic, ticked

from mien.data.dataset import Dataset
from mien.data.splits import ResplitDataset, write_splits
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.evaluate.analysis.groups import collect_attributes
from mien.evaluate.results.examples import examples_file, read_examples, write_examples
from mien.media.images import Marking
from mien.playhouse.layouts.emotic import write_emotic
from mien.types import Sample, Subject


def _attributes(dataset: Dataset, split: str) -> dict[str, Mapping[str, str]]:
    return collect_attributes(dataset.records(split), dataset.card.attributes)


def test_emotic_has_gender_and_age_where_its_files_have_them(tmp_path: Path) -> None:
    root = copy_in_all_forms(tmp_path)
    for form in ("mat", "csv"):
        dataset = open_emotic(root, form=form)
        found = _attributes(dataset, "val")
        assert list(found) == [record.sample.subject.id for record in dataset.records("val")]
        assert {tuple(one) for one in found.values()} == {("gender", "age")}
    assert _attributes(open_emotic(root, form="npy"), "val") == {}


def test_bold_has_no_confidence_among_its_attributes(tmp_path: Path) -> None:
    someone = Someone(
        attributes=("Female", "Adult", "", "0.5"), seen=everywhere(0, 0, 9, 9), scores={"Peace": 1.0}
    )
    save_clip(tmp_path, "003/film.mp4/0001.mp4", someone)
    (found,) = _attributes(open_bold(tmp_path), "train").values()
    assert found == {"gender": "Female", "age": "Adult"}


def test_other_splits_keep_the_attributes(tmp_path: Path) -> None:
    dataset = open_emotic(copy_in_all_forms(tmp_path))
    ids = list(_attributes(dataset, "val"))
    write_splits(tmp_path / "splits.jsonl", {one: "mine" if index else None for index, one in enumerate(ids)})
    assert list(_attributes(ResplitDataset(dataset, tmp_path / "splits.jsonl"), "mine")) == ids[1:]


def test_no_subject_sample_or_request_has_them(tmp_path: Path) -> None:
    """The same people with other genders and ages give the same samples and the same requests."""
    both = [ticked("Peace|Pain", (4, 5, 6)), ticked("Fear", (6, 7, 8))]
    shown = [annotated_image(f"{name}.jpg", both, both, size=(60, 30)) for name in "abc"]
    for name, (gender, age) in {"one": ("Male", "Adult"), "other": ("Female", "Kid")}.items():
        people = (replace(person, gender=gender, age=age) for image in shown for person in image.people)
        images = [replace(image, people=tuple(next(people) for _ in image.people)) for image in shown]
        write_emotic(tmp_path / name, {"val": images})
    builder = RequestBuilder(
        engine=FakeEngine(FakeOptions()),
        prompt=get_prompt("paper"),
        label_set=open_emotic(tmp_path / "one").label_set,
        marking=Marking(),
    )
    samples = {name: list(open_emotic(tmp_path / name).samples("val")) for name in ("one", "other")}
    attributes = [_attributes(open_emotic(tmp_path / name), "val") for name in samples]
    assert not set(attributes[0][next(iter(attributes[0]))].values()) & set(
        attributes[1][next(iter(attributes[1]))].values()
    )
    requests = [
        [(request.key, request.prompt) for request in (builder.build(sample.subject) for sample in found)]
        for found in samples.values()
    ]
    assert requests[0] == requests[1]
    assert not {"gender", "age", "attributes"} & {
        field.name for one in (Subject, Sample) for field in fields(one)
    }


def test_they_are_stored_next_to_the_samples_and_old_files_load(tmp_path: Path) -> None:
    dataset = open_emotic(copy_in_all_forms(tmp_path))
    samples, path = list(dataset.samples("val")), examples_file(tmp_path, "val")
    write_examples(path, samples, {})
    old = path.read_bytes()
    assert [example.attributes for example in read_examples(path)] == [{}] * len(samples)
    write_examples(path, samples, {}, attributes=_attributes(dataset, "val"))
    assert [example.attributes for example in read_examples(path)] == list(
        _attributes(dataset, "val").values()
    )
    path.write_bytes(old)
    write_examples(path, samples, {}, attributes={})
    assert path.read_bytes() == old


@pytest.mark.parametrize("name", ["caers", "playhouse", "manifest"])
def test_other_datasets_name_none(name: str) -> None:
    from mien.data.open import dataset_class

    assert dataset_class(name).card.attributes == ()
