"""Playhouse as a dataset: splits like EMOTIC's, unseen pairs, images drawn once."""

from pathlib import Path

import pytest
from PIL import Image

from mien.data import open_dataset
from mien.data.playhouse import Playhouse, combine_annotations
from mien.errors import ConfigError
from mien.playhouse.rules import SimulatedAnnotation
from mien.playhouse.scene import ABSENT_FROM_TRAIN
from mien.recipe import DataOptions


def _playhouse(cache: Path, **options: int) -> Playhouse:
    made = open_dataset(DataOptions(name="playhouse", options=dict(options)), cache=cache)
    assert isinstance(made, Playhouse)
    return made


def test_train_lacks_pairs_that_test_has(tmp_path: Path) -> None:
    dataset = _playhouse(tmp_path)
    pairs = {
        split: {
            (scene.place, scene.person.expression)
            for scene in (dataset.scene(split, i)[0] for i in range(1500))
        }
        for split in dataset.splits
    }
    assert not pairs["train"] & ABSENT_FROM_TRAIN
    assert pairs["val"] >= ABSENT_FROM_TRAIN
    assert pairs["test"] >= ABSENT_FROM_TRAIN


def test_val_and_test_combine_three_annotators(tmp_path: Path) -> None:
    dataset = _playhouse(tmp_path)
    assert [len(dataset.scene(split, 0)[1]) for split in dataset.splits] == [1, 3, 3]
    combined = combine_annotations(
        (SimulatedAnnotation(("Peace",), (6, 2, 5)), SimulatedAnnotation(("Peace", "Happiness"), (8, 4, 5)))
    )
    assert combined.labels == {"Peace": 1.0, "Happiness": 1.0}
    assert combined.dimensions == pytest.approx({"valence": 0.7, "arousal": 0.3, "dominance": 0.5})


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
