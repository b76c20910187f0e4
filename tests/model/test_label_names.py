"""A label that a description names gets a learned bonus; nothing else changes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mien.batches.batch import SplitData
from mien.errors import ConfigError
from mien.features.text import load_tokenizer
from mien.labels import EMOTIC
from mien.model.build import build_classifier
from mien.model.checkpoint import load_trained
from mien.model.label_names import NamedLabels
from mien.playhouse.embedded_models import embedded_model_folder
from mien.recipe import Recipe
from mien.train.loop import train

MakeSplit = Callable[..., SplitData]
MakeRecipe = Callable[..., Recipe]


def test_labels_are_found_by_each_of_their_names() -> None:
    tokenizer = load_tokenizer(embedded_model_folder("words"), 112)
    names = [tokenizer.name_tokens(label) for label in EMOTIC.labels]
    ids, _ = tokenizer.encode(
        ["Given all this, Doubt/Confusion and Anger suit best.", "confusion", "A sunny beach.", ""]
    )
    found = NamedLabels(names).find(ids)
    said = [{EMOTIC.labels[index] for index in row.nonzero()[:, 0].tolist()} for row in found]
    assert said == [{"Doubt/Confusion", "Anger"}, {"Doubt/Confusion"}, set(), set()]


def test_a_name_of_several_tokens_counts_only_as_a_whole() -> None:
    labels = NamedLabels([[[5, 6]], [[6], [9, 9, 9, 9, 9, 9]], []])
    ids = torch.tensor([[1, 5, 6, 2], [1, 6, 5, 2], [5, 1, 6, 5], [5, 0, 0, 0]])
    assert labels.find(ids).tolist() == [
        [True, True, False],
        [False, True, False],
        [False, True, False],
        [False, False, False],
    ]
    bonus = labels(ids)
    assert bonus.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]]
    bonus.sum().backward()
    assert labels.bonus.grad is not None
    assert labels.bonus.grad.tolist() == [1, 3, 0]


def named(recipe: MakeRecipe, fusion: str, *, label_names: bool) -> Recipe:
    return recipe({"fusion": fusion, "label_names": label_names}, {"epochs": 2})


@pytest.mark.parametrize("fusion", ["qformer", "text_only", "concat"])
def test_a_model_differs_by_its_bonus_alone(make: MakeSplit, recipe: MakeRecipe, fusion: str) -> None:
    data = make("train", 20)
    assert data.texts is not None
    spec = data.spec
    assert len(spec.label_tokens) == len(data.label_set)
    models = []
    for label_names in (False, True):
        torch.manual_seed(3)
        models.append(build_classifier(named(recipe, fusion, label_names=label_names), spec).eval())
    batch = data.batch(torch.arange(20).numpy())
    plain, bonus = (model(batch.image, batch.text_ids, batch.text_mask).logits for model in models)
    assert models[1].names is not None
    torch.testing.assert_close(bonus - plain, models[1].names(batch.text_ids))
    if fusion == "qformer":  # which can do without a description
        assert models[1](batch.image, None, None).logits.shape == plain.shape


def test_a_fusion_without_text_has_no_bonus(make: MakeSplit, recipe: MakeRecipe) -> None:
    assert (
        build_classifier(named(recipe, "image_only", label_names=True), make("train", 20).spec).names is None
    )


def test_names_of_another_number_of_labels_are_refused(make: MakeSplit, recipe: MakeRecipe) -> None:
    spec = replace(make("train", 20).spec, label_tokens=[[[3]]])
    with pytest.raises(ConfigError, match="names of 1 labels for 3 labels"):
        build_classifier(named(recipe, "qformer", label_names=True), spec)
    with pytest.raises(ConfigError, match="needs the names of the labels"):
        build_classifier(named(recipe, "qformer", label_names=True), replace(spec, label_tokens=()))


def test_the_bonus_is_learned_and_saved(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    data, val = make("train", 20), make("val", 10, seed=1)
    train(named(recipe, "qformer", label_names=True), data, val, tmp_path / "run")
    trained = load_trained(tmp_path / "run")
    names = trained.classifier.names
    assert names is not None
    assert [list(map(tuple, row)) for row in names.label_tokens] == [
        list(row) for row in data.spec.label_tokens
    ]
    assert names.bonus.shape == (len(data.label_set),)


def test_recipes_without_it_keep_their_digests(recipe: MakeRecipe) -> None:
    plain = recipe()
    assert plain.digest() == recipe({"label_names": False}).digest()
    assert plain.digest() != recipe({"label_names": True}).digest()
