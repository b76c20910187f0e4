"""Playhouse as a dataset: splits like EMOTIC's, situations that train lacks, images drawn once."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from pydantic import JsonValue

from mien.data import open_dataset
from mien.data.playhouse import Playhouse, combine_annotations
from mien.errors import ConfigError
from mien.playhouse.draw import SIZE
from mien.playhouse.rules import SimulatedAnnotation
from mien.playhouse.scene import EXPRESSIONS, POSES, STRENGTHS
from mien.playhouse.situations import ITEMS, OCCASIONS, SETTINGS, SITUATIONS, is_absent_from_train
from mien.recipe import DataOptions
from mien.types import Target


def _playhouse(cache: Path, **options: int) -> Playhouse:
    made = open_dataset(DataOptions(name="playhouse", options=dict(options)), cache=cache)
    assert isinstance(made, Playhouse)
    return made


def test_train_lacks_situations_that_val_and_test_have(tmp_path: Path) -> None:
    dataset = _playhouse(tmp_path)
    shares = {
        split: sum(is_absent_from_train(dataset.scene(split, i)[0].situation) for i in range(600)) / 600
        for split in dataset.splits
    }
    assert shares["train"] == 0
    assert 0.15 < shares["val"] < 0.25
    assert 0.15 < shares["test"] < 0.25


def test_the_card_states_the_numbers_of_the_world() -> None:
    card = " ".join((Playhouse.__doc__ or "").split())
    for number, noun in (
        (len(SITUATIONS), "situations"),
        (f"one of {len(SETTINGS)}", "settings"),
        (f"one of {len(OCCASIONS)}", "occasions"),
        (len(ITEMS) - 1, "items"),
        (len(EXPRESSIONS), "expressions"),
        (len(STRENGTHS), "strengths"),
        (len(POSES), "poses"),
        (f"{SIZE} x {SIZE}", "pixels"),
    ):
        assert f"{number} {noun}" in card


def test_splits_have_as_many_annotators_as_those_of_emotic(tmp_path: Path) -> None:
    dataset = _playhouse(tmp_path)
    assert [len(dataset.scene(split, 0)[1]) for split in dataset.splits] == [1, 5, 3]
    combined = combine_annotations(
        (SimulatedAnnotation(("Peace",), (6, 2, 5)), SimulatedAnnotation(("Peace", "Happiness"), (8, 4, 5)))
    )
    assert combined.labels == {"Peace": 1.0, "Happiness": 1.0}
    assert combined.dimensions == pytest.approx({"valence": 0.7, "arousal": 0.3, "dominance": 0.5})


def test_more_annotators_of_train_keep_the_first(tmp_path: Path) -> None:
    one, five = _playhouse(tmp_path), _playhouse(tmp_path, train_annotators=5)
    assert one.scene("train", 7)[0] == five.scene("train", 7)[0]
    assert five.scene("train", 7)[1][:1] == one.scene("train", 7)[1]
    assert [len(five.scene(split, 0)[1]) for split in five.splits] == [5, 5, 3]


def test_targets_are_the_union_the_majority_or_the_shares(tmp_path: Path) -> None:
    targets: dict[str, Target | None] = {}
    for how in ("combined", "majority", "soft"):
        options: dict[str, JsonValue] = {"train": 1, "train_annotators": 5, "target": how}
        dataset = open_dataset(DataOptions(name="playhouse", options=options), cache=tmp_path)
        (record,) = dataset.records("train")
        targets[how] = record.sample.target
        chosen = Counter(label for answer in record.annotations for label in answer.labels)
    union, majority, soft = (targets[how] for how in ("combined", "majority", "soft"))
    assert union is not None
    assert majority is not None
    assert soft is not None
    assert max(chosen.values()) >= 2
    assert soft.labels == {label: count / 5 for label, count in chosen.items()}
    assert set(union.labels) == set(chosen)
    assert set(majority.labels) <= set(union.labels)
    assert union.dimensions == majority.dimensions == soft.dimensions


def test_images_are_drawn_once_and_a_larger_split_starts_with_the_smaller(tmp_path: Path) -> None:
    few = list(_playhouse(tmp_path, test=3).samples("test"))
    modified = few[0].subject.images[0].path.stat().st_mtime_ns
    more = list(_playhouse(tmp_path, test=5).samples("test"))
    assert more[:3] == few
    assert few[0].subject.images[0].path.stat().st_mtime_ns == modified
    with Image.open(few[0].subject.images[0].path) as image:
        assert min(image.size) >= 128
    assert not list(tmp_path.rglob("*.tmp"))


def test_another_seed_draws_other_scenes(tmp_path: Path) -> None:
    first, second = (next(_playhouse(tmp_path, seed=seed).samples("test")) for seed in (1, 2))
    assert first.subject.images[0].path != second.subject.images[0].path
    assert first.subject.images[0].path.read_bytes() != second.subject.images[0].path.read_bytes()


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tset") as caught:
        _playhouse(tmp_path, tset=3)
    assert "test" in caught.value.hint
