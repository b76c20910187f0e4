"""A dry run reports what the training then does."""

from pathlib import Path

import pytest
import torch
from tests.factories.training import MakeRecipe, MakeSplit

from mien.batches.batch import SplitData
from mien.labels import EMOTIC
from mien.model.build import InputSpec
from mien.recipe import Recipe
from mien.train.distributed import SINGLE_PROCESS
from mien.train.plan import Plan, PlanInputs, SplitInputs, plan
from mien.train.trainer import Trainer


def planned(recipe: Recipe, data: SplitData) -> Plan:
    return plan(recipe, PlanInputs(spec=data.spec, num_samples=len(data), image_tokens=4, text_tokens=8))


@pytest.mark.parametrize("fusion", ["qformer", "concat", "image_only", "text_only"])
def test_parameters_and_steps_are_those_of_the_training(
    make: MakeSplit, recipe: MakeRecipe, fusion: str
) -> None:
    data, val = make("train", 50), make("val", 8, seed=1)
    wanted = recipe({"fusion": fusion}, {"accumulate": 2, "lr_scale": {"self_attention": 0}})
    found = planned(wanted, data)
    trainer = Trainer(wanted, data, val, torch.device("cpu"), SINGLE_PROCESS)
    weights = list(trainer.classifier.parameters())
    assert sum(found.parameters.values()) == sum(weight.numel() for weight in weights)
    assert sum(found.trained.values()) == sum(w.numel() for w in weights if w.requires_grad)
    assert "self_attention" in found.parameters
    assert "self_attention" not in found.trained
    assert (found.steps, found.steps_per_epoch) == (trainer.steps, trainer.steps_per_epoch)
    assert found.seconds_per_step > 0
    assert found.seconds == pytest.approx(found.steps * found.seconds_per_step)


def test_memory_follows_from_sizes_and_options(make: MakeSplit, recipe: MakeRecipe) -> None:
    data = make("train", 64)
    plain = planned(recipe(), data)
    assert plain.memory["weights"] == 4 * sum(plain.parameters.values())
    assert plain.memory["optimizer"] == 2 * plain.memory["gradients"] == 8 * sum(plain.trained.values())
    assert "average" not in plain.memory
    assert planned(recipe(train={"ema": 0.9}), data).memory["average"] == plain.memory["weights"]
    double = planned(recipe(train={"batch_size": 16}), data)
    assert double.memory["activations"] == 2 * plain.memory["activations"]
    passes = planned(recipe(train={"batch_size": 8, "accumulate": 4}), data)
    assert passes.memory["activations"] == plain.memory["activations"]
    deep = recipe({"layers": 6})
    twice = deep.model_copy(update={"run": deep.run.model_copy(update={"checkpoint_activations": True})})
    assert planned(twice, data).memory["activations"] < 0.6 * planned(deep, data).memory["activations"]


def test_the_activations_of_a_layer_have_the_expected_size(recipe: MakeRecipe) -> None:
    """Counted by hand for attention over an image alone, up to what an implementation may add."""
    one, two = (
        plan(
            recipe(
                {"fusion": "image_only", "layers": layers, "width": 64, "num_queries": 8, "cross_every": 9}
            ),
            PlanInputs(
                spec=InputSpec(label_set=EMOTIC, image_dim=16, vocab_size=None, dimensions=False),
                num_samples=8,
                image_tokens=5,
            ),
        ).memory["activations"]
        / 8
        for layers in (2, 3)
    )
    # In float32 widths per query: input, query, key, value, attended; normalized twice; the inner layer
    # before and after GELU, four widths each; and residuals and dropout masks.
    least, most = (4 * 64 * 8 * widths for widths in (13, 24))
    assert least < two - one < most


def test_planning_does_not_change_the_random_state(make: MakeSplit, recipe: MakeRecipe) -> None:
    data = make("train", 16)
    before = torch.get_rng_state()
    planned(recipe(), data)
    assert torch.equal(torch.get_rng_state(), before)


def test_json_has_the_totals_and_the_inputs(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    import json

    data = make("train", 16)
    splits = (SplitInputs(split="train", samples=16, features=3, features_wanted=16, descriptions=None),)
    inputs = PlanInputs(spec=data.spec, num_samples=16, image_tokens=4, text_tokens=3, splits=splits)
    found = plan(recipe(), inputs)
    table = json.loads(json.dumps(found.to_json()))
    assert table["num_parameters"] == sum(table["parameters"].values())
    assert table["memory_total"] == sum(table["memory"].values())
    assert table["inputs"][0] == {
        "split": "train", "samples": 16, "features": 3, "features_wanted": 16, "descriptions": None,
    }  # fmt: skip
    assert table["steps"] == 6
    assert not list(tmp_path.glob("run*"))
