"""Training the vision encoder, fully or with adapters, from a recipe."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.factories.encoders import MAKERS, save_processor
from tests.factories.training import Interrupted, interrupt_after
from tests.factories.weights import are_bit_equal, read_weights

from mien.batches.batch import SplitData
from mien.batches.builder import InputBuilder
from mien.errors import WeightsError
from mien.evaluate.scorer import score_split
from mien.labels import CAERS
from mien.model.build import InputSpec, build_classifier
from mien.model.checkpoint import MODEL_FILE, load_trained
from mien.predict.predictor import Predictor
from mien.recipe import Recipe
from mien.train.loop import train
from mien.train.optimizer import build_optimizer
from mien.train.parameter_groups import learning_rate_factors, part_of, tunable_parameters
from mien.train.plan import PlanInputs, plan
from mien.types import Box, Sample, Subject, Target

COUNTS = {"train": 14, "val": 8, "test": 6}
BASE: dict[str, Any] = {
    "name": "tiny",
    "model": {"fusion": "image_only", "width": 16, "heads": 2, "num_queries": 2, "dropout": 0.0},
    "train": {"epochs": 2, "batch_size": 4, "lr": 0.01, "encoder_lr": 0.002, "encoder": "full"},
}


@dataclass(frozen=True)
class Stage:
    """Samples by split, an encoder and a feature cache."""

    samples: dict[str, list[Sample]]
    encoder: Path
    cache: Path

    def recipe(self, run: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Recipe:
        table = {**BASE, "features": {"vision": str(self.encoder)}, "run": run or {}}
        for section, values in sections.items():
            table[section] = {**table[section], **values}
        return Recipe.parse(table, where="test")

    def split(self, recipe: Recipe, name: str) -> SplitData:
        return InputBuilder.from_recipe(recipe, self.cache).build_split(name, self.samples[name], CAERS)

    def train(self, recipe: Recipe, out: Path, **how: Any) -> None:
        train(recipe, self.split(recipe, "train"), self.split(recipe, "val"), out, **how)

    def scores(self, recipe: Recipe, out: Path) -> np.ndarray:
        return score_split(load_trained(out).classifier, self.split(recipe, "test")).scores


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    torch.manual_seed(0)
    folder = tmp_path / "clip"
    MAKERS["clip"]().save_pretrained(folder)
    save_processor(folder)
    samples: dict[str, list[Sample]] = {}
    for split, count in COUNTS.items():
        samples[split] = []
        for row in range(count):
            path = tmp_path / f"{split}{row}.png"
            Image.frombytes("RGB", (32, 24), random.Random(str(path.name)).randbytes(32 * 24 * 3)).save(path)
            subject = Subject.still(f"{split}/{row}", path, Box(left=2, top=3, right=18, bottom=20))
            target = Target(labels={CAERS.labels[row % len(CAERS)]: 1.0})
            samples[split].append(Sample(subject=subject, target=target, split=split))
    return Stage(samples, folder, tmp_path / "cache")


@pytest.mark.parametrize("how", ["full", "lora"])
def test_a_trained_encoder_changes_and_a_frozen_one_in_its_place_equals_cached_features(
    stage: Stage, tmp_path: Path, how: str
) -> None:
    learns = stage.recipe(train={"encoder": how, "encoder_lr": 0.01 if how == "full" else 0.1})
    stage.train(learns, tmp_path / "learns")
    assert not stage.cache.exists()  # features of an encoder that changes are not cached
    begun = build_classifier(learns, InputSpec(label_set=CAERS, image_dim=16, vocab_size=None)).state_dict()
    moved = [
        name
        for name, weight in read_weights(tmp_path / "learns").items()
        if name.startswith("encoder.") and not torch.equal(weight, begun[name])
    ]
    assert moved
    still = stage.recipe(train={"encoder": how, "lr_scale": {"encoder": 0.0}})
    frozen = stage.recipe(train={"encoder": "frozen"})
    stage.train(still, tmp_path / "still")
    stage.train(frozen, tmp_path / "frozen")
    assert list(stage.cache.rglob("*.npy"))
    expected = stage.scores(frozen, tmp_path / "frozen")
    rounding = np.abs(stage.scores(still, tmp_path / "still") - expected).max()  # the cache rounds to float16
    assert rounding < 5e-3
    assert np.abs(stage.scores(learns, tmp_path / "learns") - expected).max() > max(2 * rounding, 2e-3)


@pytest.mark.parametrize("how", ["full", "lora"])
def test_an_interruption_at_any_step_changes_no_bit(stage: Stage, tmp_path: Path, how: str) -> None:
    options = {"encoder": how, "accumulate": 2, "batch_size": 2, "ema": 0.9, "layer_decay": 0.9}
    features = {
        "vision": str(stage.encoder),
        "augment": ["flip", "crop", "color"],
        "views": ["marked", "crop"],
    }
    wanted = stage.recipe(train=options)
    wanted = wanted.model_copy(
        update={"features": Recipe.parse({"name": "x", "features": features}, where="test").features}
    )
    stage.train(wanted, tmp_path / "whole")
    threads = wanted.model_copy(
        update={"run": wanted.run.model_copy(update={"workers": 2, "checkpoint_activations": True})}
    )
    last = random.randrange(1, 8)
    with pytest.raises(Interrupted):
        stage.train(threads, tmp_path / "run", on_progress=interrupt_after(last), save_seconds=0.0)
    torch.manual_seed(last)
    stage.train(wanted, tmp_path / "run")
    assert are_bit_equal(read_weights(tmp_path / "whole"), read_weights(tmp_path / "run")), last


def inputs_of(data: SplitData) -> PlanInputs:
    assert data.images is not None
    return PlanInputs(spec=data.spec, num_samples=len(data), image_tokens=data.images.reader.num_tokens)


@pytest.mark.parametrize("how", ["full", "lora"])
def test_an_inner_layer_is_read_trained_and_loaded(stage: Stage, tmp_path: Path, how: str) -> None:
    recipe = stage.recipe(train={"encoder": how})
    features = {"vision": str(stage.encoder), "layer": -2}
    recipe = recipe.model_copy(
        update={"features": Recipe.parse({"name": "x", "features": features}, where="test").features}
    )
    data = stage.split(recipe, "train")
    found = plan(recipe, inputs_of(data))
    stage.train(recipe, tmp_path / "run")
    saved = {
        name: weight for name, weight in read_weights(tmp_path / "run").items() if name.startswith("encoder.")
    }
    assert saved
    assert not any("layers.2." in name or "post_layernorm" in name for name in saved)
    assert found.trained["encoder"] == sum(weight.numel() for weight in saved.values())
    assert np.isfinite(stage.scores(recipe, tmp_path / "run")).all()


@pytest.mark.parametrize("how", ["full", "lora"])
def test_predicting_equals_evaluating(stage: Stage, tmp_path: Path, how: str) -> None:
    recipe = stage.recipe(train={"encoder": how})
    stage.train(recipe, tmp_path / "run")
    subjects = [sample.subject for sample in stage.samples["test"]]
    predictions = Predictor.from_pretrained(tmp_path / "run").predict(subjects)
    found = np.array([list(prediction.scores.values()) for prediction in predictions])
    np.testing.assert_allclose(found, stage.scores(recipe, tmp_path / "run"), atol=1e-5)


def test_adapters_are_saved_without_the_weights_that_they_adapt(stage: Stage, tmp_path: Path) -> None:
    sizes = {}
    for how in ("full", "lora"):
        stage.train(stage.recipe(train={"encoder": how, "lora_rank": 1}), tmp_path / how)
        sizes[how] = (tmp_path / how / MODEL_FILE).stat().st_size
    names = [name for name in read_weights(tmp_path / "lora") if name.startswith("encoder.")]
    assert names
    assert all(name.endswith((".down", ".up")) for name in names)
    assert sizes["lora"] < sizes["full"] - 10_000


@pytest.mark.parametrize("how", ["full", "lora"])
def test_adapters_of_another_encoder_are_refused(stage: Stage, tmp_path: Path, how: str) -> None:
    stage.train(stage.recipe(train={"encoder": how}), tmp_path / "run")
    torch.manual_seed(1)
    MAKERS["clip"]().save_pretrained(stage.encoder)
    with pytest.raises(WeightsError, match="whose files differ now") as caught:
        load_trained(tmp_path / "run")
    assert "restore the original encoder" in caught.value.hint


def test_the_encoder_has_its_own_learning_rate_which_falls_towards_the_pixels(stage: Stage) -> None:
    recipe = stage.recipe(
        train={"lr": 0.01, "encoder_lr": 1e-4, "layer_decay": 0.5, "lr_scale": {"head": 2.0}}
    )
    names = [
        name
        for name, _ in build_classifier(
            recipe, InputSpec(label_set=CAERS, image_dim=16, vocab_size=None)
        ).named_parameters()
    ]
    found = learning_rate_factors(names, recipe.train)
    own = {
        name.removeprefix("encoder.vit.tower."): f for name, f in found.items() if part_of(name) == "encoder"
    }
    assert own["post_layernorm.weight"] == pytest.approx(0.01)
    for layer in range(3):
        (factor,) = {f for name, f in own.items() if f".layers.{layer}." in name}
        assert factor == pytest.approx(0.01 * 0.5 ** (3 - layer))
    assert own["embeddings.patch_embedding.weight"] == pytest.approx(0.01 * 0.5**4)
    assert own["pre_layrnorm.weight"] == pytest.approx(0.01 * 0.5**4)
    assert found["labels.weight"] == 2.0


@pytest.mark.parametrize("how", ["full", "lora"])
def test_a_dry_run_counts_the_trained_parameters_of_the_encoder(stage: Stage, how: str) -> None:
    recipe = stage.recipe(train={"encoder": how, "lora_rank": 3})
    data = stage.split(recipe, "train")
    found = plan(recipe, inputs_of(data))
    model = build_classifier(recipe, data.spec)
    assert model.encoder is not None
    learning = sum(weight.numel() for weight in model.encoder.parameters() if weight.requires_grad)
    assert found.trained["encoder"] == learning
    if how == "full":
        # CLIP's last norm, of width 16, applies only to the vector of the whole image.
        assert learning == found.parameters["encoder"] - 2 * 16
    else:  # 4 layers of attention in each of 3 layers of width 16
        assert learning == 3 * 4 * 3 * (16 + 16)
    kept = sum(weight.numel() for weight in model.state_dict().values())
    assert found.memory["best_weights"] == 4 * kept
    assert found.memory["activations"] > 0


def test_layer_decay_starts_at_the_last_trained_layer(stage: Stage) -> None:
    table = {**BASE, "features": {"vision": str(stage.encoder), "layer": -2}}
    table["train"] = {**BASE["train"], "lr": 0.01, "encoder_lr": 0.01, "layer_decay": 0.5}
    recipe = Recipe.parse(table, where="test")
    model = build_classifier(recipe, InputSpec(label_set=CAERS, image_dim=16, vocab_size=None))
    found = learning_rate_factors(tunable_parameters(model), recipe.train)
    by_layer = {
        layer: {factor for name, factor in found.items() if f"encoder.layers.{layer}." in name}
        for layer in range(3)
    }
    # The tokens that are read are the output of the second of three layers.
    assert by_layer == {0: {0.25}, 1: {0.5}, 2: set()}
    rates = {group["factor"] for group in build_optimizer(model, recipe.train).param_groups}
    assert {0.125, 0.25, 0.5, 1.0} <= rates
