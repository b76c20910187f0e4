"""A fusion needs one file: a recipe names its class, and it is trained, saved and loaded as any other."""

from pathlib import Path

import pytest
import torch
from tests.factories.own_fusion import WordCountFusion
from tests.factories.training import learnable_split, tiny_recipe

from mien.errors import ConfigError
from mien.model.build import build_classifier
from mien.model.checkpoint import load_trained
from mien.train.loop import TrainProgress, train

NAME = "tests.factories.own_fusion:WordCountFusion"


def test_a_fusion_named_in_a_recipe_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    recipe = tiny_recipe({"fusion": NAME}, {"epochs": 1, "batch_size": 8})
    data, val = learnable_split(tmp_path, "train", 8), learnable_split(tmp_path, "val", 8, seed=1)
    torch.manual_seed(recipe.train.seed)
    initial = build_classifier(recipe, data.spec)
    assert isinstance(initial.fusion, WordCountFusion)
    steps: list[TrainProgress] = []
    train(recipe, data, val, tmp_path / "run", on_progress=steps.append)
    assert len(steps) == 1
    trained = load_trained(tmp_path / "run").classifier
    assert isinstance(trained.fusion, WordCountFusion)
    assert not torch.equal(trained.fusion.project.weight, initial.fusion.project.weight)
    batch = val.batch(torch.arange(3).numpy())
    assert trained(batch.image, batch.text_ids, batch.text_mask).logits.shape == (3, len(val.label_set))


def test_it_must_get_the_inputs_that_it_declares(tmp_path: Path) -> None:
    recipe = tiny_recipe({"fusion": NAME})
    with pytest.raises(ConfigError, match="needs descriptions, and there are none"):
        build_classifier(recipe, learnable_split(tmp_path, "train", 8, text=False).spec)
