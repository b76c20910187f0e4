"""One step: micro-batches, weight averaging, precision, speed and memory options, and trackers."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.factories.training import MakeRecipe, MakeSplit
from tests.factories.weights import are_bit_equal, assert_weights_close

from mien.batches.batch import SplitData
from mien.errors import ConfigError, DivergedError
from mien.model.checkpoint import load_trained
from mien.model.classifier import ClassifierOutput
from mien.recipe import Recipe, RunOptions
from mien.train.loop import train
from mien.train.optimizer import WeightAverage
from mien.train.precision import MixedPrecision, prepare_forward
from mien.train.trackers import Trackers
from mien.train.trainer import Trainer

CPU = torch.device("cpu")


def with_run(recipe: Recipe, **run: object) -> Recipe:
    return recipe.model_copy(update={"run": recipe.run.model_copy(update=run)})


def after(recipe: Recipe, data: SplitData, val: SplitData, steps: int) -> tuple[Trainer, list[float]]:
    trainer = Trainer(recipe, data, val, CPU)
    losses: list[float] = []
    while len(losses) < steps:
        losses += [
            trainer.train_step(parts) for parts in list(trainer.remaining_steps())[: steps - len(losses)]
        ]
    return trainer, losses


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in trainer.classifier.state_dict().items()}


@pytest.mark.parametrize("fusion", ["qformer", "concat"])
def test_accumulated_micro_batches_equal_one_larger_batch(
    make: MakeSplit, recipe: MakeRecipe, fusion: str
) -> None:
    data, val = make("train", 50), make("val", 8, seed=1)
    model = {"fusion": fusion, "dropout": 0.0}
    found = [
        after(recipe(model, {"batch_size": 12 // parts, "accumulate": parts}), data, val, 9)
        for parts in (1, 3, 12)
    ]
    assert {trainer.steps_per_epoch for trainer, _ in found} == {5}
    for trainer, losses in found[1:]:
        assert losses == pytest.approx(found[0][1], rel=1e-5)
        assert_weights_close(weights(trainer), weights(found[0][0]), atol=2e-5)


# --- Weight averaging ---


def test_the_average_follows_its_formula() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.5)
    expected = 0.0
    for step in range(30):
        torch.nn.init.constant_(model.weight, step)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert average.state_dict()["weight"].item() == pytest.approx(expected, rel=1e-5)
    with average.applied():
        assert model.weight.item() == pytest.approx(expected, rel=1e-5)
    assert model.weight.item() == 29


def test_the_average_is_scored_and_saved(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    data, val = make("train", 40), make("val", 20, seed=1)
    wanted = recipe(train={"ema": 0.9, "epochs": 1})
    train(wanted, data, val, tmp_path / "run")
    trainer, _ = after(wanted, data, val, 5)
    assert trainer.average is not None
    kept = load_trained(tmp_path / "run").classifier.state_dict()
    for name, mean in trainer.average.state_dict().items():
        assert torch.equal(kept[name], mean)
        assert not torch.equal(kept[name], trainer.classifier.state_dict()[name])


# --- Precision ---


@pytest.mark.parametrize(("precision", "near"), [("bfloat16", 0.02), ("float16", 0.005)])
def test_half_precision_is_close_and_not_equal(
    make: MakeSplit, recipe: MakeRecipe, precision: str, near: float
) -> None:
    data, val = make("train", 40), make("val", 8, seed=1)
    _, exact = after(recipe({"dropout": 0.0}), data, val, 5)
    trainer, losses = after(recipe({"dropout": 0.0}, {"precision": precision}), data, val, 5)
    assert losses != exact
    assert losses == pytest.approx(exact, rel=near)
    assert {weight.dtype for weight in trainer.classifier.parameters()} == {torch.float32}


def test_overflowing_float16_gradients_skip_the_step_and_halve_the_scale() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    precision = MixedPrecision("float16", CPU)
    scale = precision.state_dict()["scale"]
    clipped: list[int] = []

    def step_with(factor: float) -> None:
        optimizer.zero_grad()
        precision.backward((model(torch.ones(1, 2)) * factor).sum())
        precision.step(optimizer, lambda: clipped.append(1), step=0)

    step_with(float("inf"))
    assert torch.equal(model.weight, before)
    assert not clipped
    assert precision.state_dict()["scale"] == scale / 2
    step_with(1.0)
    assert not torch.equal(model.weight, before)
    assert clipped == [1]
    other = MixedPrecision("float16", CPU)
    other.load_state_dict(precision.state_dict())
    assert other.state_dict() == precision.state_dict()

    def overflow_repeatedly() -> None:
        for _ in range(40):
            step_with(float("inf"))

    with pytest.raises(DivergedError, match="float16 gradients still overflow"):
        overflow_repeatedly()


# --- Speed and memory ---


@pytest.mark.parametrize("fusion", ["qformer", "concat", "text_only"])
def test_activation_checkpointing_changes_no_bit_and_saves_memory(
    make: MakeSplit, recipe: MakeRecipe, fusion: str
) -> None:
    data, val = make("train", 40), make("val", 8, seed=1)
    wanted = recipe({"fusion": fusion, "layers": 4})
    found = {}
    for twice in (False, True):
        trainer, losses = after(with_run(wanted, checkpoint_activations=twice), data, val, 6)
        kept: list[int] = []

        def count(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(tensor.numel())
            return tensor

        batch = next(trainer.remaining_steps())[0].batch
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            trainer.classifier(batch.image, batch.text_ids, batch.text_mask)
        found[twice] = losses, weights(trainer), sum(kept)
    assert found[True][0] == found[False][0]
    assert are_bit_equal(found[True][1], found[False][1])
    assert found[True][2] < 0.6 * found[False][2]


def test_compile_uses_torch_and_warns_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = torch.nn.Linear(1, 1)
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch, "compile", compiled.append)
    prepare_forward(model, RunOptions(compile=True))
    assert compiled == [model]
    assert "gains nothing on a CPU" in caplog.text
    assert prepare_forward(model, RunOptions()) is model


@pytest.mark.slow
def test_a_compiled_step_gives_the_same_loss(make: MakeSplit, recipe: MakeRecipe) -> None:
    data, val = make("train", 16), make("val", 8, seed=1)
    _, plain = after(recipe({"dropout": 0.0}), data, val, 2)
    _, compiled = after(with_run(recipe({"dropout": 0.0}), compile=True), data, val, 2)
    assert compiled == pytest.approx(plain, rel=1e-5)


def test_workers_change_no_bit(make: MakeSplit, recipe: MakeRecipe) -> None:
    data, val = make("train", 40), make("val", 8, seed=1)
    found = [after(with_run(recipe(), workers=workers), data, val, 7)[1] for workers in (0, 1, 4)]
    assert found[0] == found[1] == found[2]


# --- Dropped descriptions ---


def test_description_dropout_drops_its_share(make: MakeSplit, recipe: MakeRecipe) -> None:
    data, val = make("train", 200), make("val", 8, seed=1)
    trainer = Trainer(recipe(train={"description_dropout": 0.4, "batch_size": 50}), data, val, CPU)
    masks = [part.batch.text_mask for parts in trainer.remaining_steps() for part in parts]
    assert all(mask is not None for mask in masks)
    dropped = torch.cat([~mask.any(dim=1) for mask in masks if mask is not None])
    assert 0.25 < dropped.float().mean() < 0.55


@pytest.mark.parametrize("fusion", ["qformer", "concat", "text_only"])
def test_a_step_without_any_description_is_finite(make: MakeSplit, recipe: MakeRecipe, fusion: str) -> None:
    data, val = make("train", 16), make("val", 8, seed=1)
    trainer, losses = after(recipe({"fusion": fusion}, {"description_dropout": 1.0}), data, val, 3)
    assert all(loss < 10 for loss in losses)
    assert all(weight.isfinite().all() for weight in weights(trainer).values())


# --- Trackers ---


class Recorder:
    """Stands in for TensorBoard's writer and a run of wandb."""

    def __init__(self, **options: object) -> None:
        self.options, self.points, self.closed = options, [], False  # type: ignore[var-annotated]

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.points.append((name, value, step))

    def log(self, values: dict[str, float], step: int) -> None:
        self.points += [(name, value, step) for name, value in values.items()]

    def close(self) -> None:
        self.closed = True

    finish = close


def test_curves_go_to_the_trackers_of_the_recipe(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Recorder] = []

    def open_recorder(**options: object) -> Recorder:
        made.append(Recorder(**options))
        return made[-1]

    board: Any = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = open_recorder
    wandb: Any = types.ModuleType("wandb")
    wandb.init = open_recorder
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    wanted = with_run(recipe(), log_to=("tensorboard", "wandb"))
    train(wanted, make("train", 40), make("val", 20, seed=1), tmp_path / "run")
    assert [recorder.closed for recorder in made] == [True, True]
    assert made[0].points == made[1].points
    names = [(name, step) for name, _, step in made[0].points]
    assert names.count(("val/mAP", 5)) == names.count(("train/epoch_loss", 15)) == 1
    assert [step for name, step in names if name == "train/loss"] == [10]
    assert made[0].options == {"log_dir": str(tmp_path / "run" / "tensorboard")}
    assert made[1].options["name"] == "toy"


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_tracker_that_is_not_installed_is_an_error(
    recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # makes its import fail
    with pytest.raises(ConfigError, match=f"run.log_to names {name}") as caught:
        Trackers.open(with_run(recipe(), log_to=(name,)), tmp_path)
    assert f"pip install {name}" in caught.value.hint


def test_trackers_are_imported_only_if_the_recipe_names_them(recipe: MakeRecipe, tmp_path: Path) -> None:
    Trackers.open(recipe(), tmp_path).log({"loss": 1.0}, 1)
    assert "wandb" not in sys.modules


def test_the_loss_sees_float32(make: MakeSplit, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(recipe(train={"precision": "bfloat16"}), make("train", 8), make("val", 8, seed=1), CPU)
    seen: list[ClassifierOutput] = []
    forward = trainer._forward

    def listen(*inputs: torch.Tensor) -> ClassifierOutput:
        seen.append(forward(*inputs))
        return seen[-1]

    monkeypatch.setattr(trainer, "_forward", listen)
    (parts,) = trainer.remaining_steps()
    trainer.train_step(parts)
    output = seen[0]
    assert output.logits.dtype == torch.bfloat16  # products in half precision
    loss = trainer.loss(output, parts[0].batch.targets, parts[0].batch.dimensions)
    assert loss.dtype == torch.float32
