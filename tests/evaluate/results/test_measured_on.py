"""What the images of a run are, in words that a reader cannot misunderstand."""

from __future__ import annotations

from mien.evaluate.results.measured_on import dataset_ids, dataset_text, embedded_notice, size_notice
from mien.recipe import DataOptions, DescribeOptions, FeatureOptions, Recipe


def _recipe(dataset: str, *, embedded: bool) -> Recipe:
    model = "playhouse" if embedded else "some/model"
    return Recipe(
        name="x",
        data=DataOptions(name=dataset),
        describe=DescribeOptions(model=model),
        features=FeatureOptions(vision=model, tokenizer=model),
    )


def test_models_of_drawn_scenes_never_claim_a_dataset() -> None:
    drawn, real = (_recipe("emotic", embedded=embedded).to_json() for embedded in (True, False))
    assert dataset_text(drawn) == "images in the layout of EMOTIC: emotions in context"
    assert dataset_text(real) == "EMOTIC: emotions in context"
    assert "shows that the programs work" in embedded_notice(drawn)
    assert embedded_notice(real) == ""


def test_neither_do_the_tables_that_programs_read() -> None:
    drawn, real = (_recipe("bold", embedded=embedded).to_json() for embedded in (True, False))
    assert dataset_ids(drawn) == ("bold-layout", "images in the layout of bold")
    assert dataset_ids(real) == ("bold", "bold")
    assert dataset_ids(_recipe("playhouse", embedded=True).to_json()) == ("playhouse", "playhouse")
    assert dataset_ids(_recipe("manifest", embedded=True).to_json()) == ("manifest", "manifest")


def test_playhouse_and_own_datasets_are_named_as_what_they_are() -> None:
    assert dataset_text(_recipe("playhouse", embedded=True).to_json()) == "Playhouse, a small drawn world"
    assert "say nothing about real photographs" in embedded_notice(
        _recipe("playhouse", embedded=False).to_json()
    )
    assert (
        dataset_text(_recipe("manifest", embedded=False).to_json()) == "a dataset of its own, as a manifest"
    )
    assert dataset_text({"data": {"name": "not.installed:Here"}}) == "not.installed:Here"


def test_a_part_of_a_dataset_is_not_the_dataset() -> None:
    assert size_notice("emotic", "test", 7203) == ""
    assert "952 people here, and 7,203 in the published dataset" in size_notice("emotic", "test", 952)
    assert size_notice("emotic", "mine", 952) == ""
    assert size_notice("playhouse", "test", 5) == ""
