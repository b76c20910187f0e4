"""Resuming with all options on, from damaged files, and after divergence."""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.factories.training import Interrupted, MakeRecipe, MakeSplit, interrupt_after
from tests.factories.weights import are_bit_equal, read_weights

from mien.batches.batch import SplitData
from mien.errors import DamagedError, DivergedError, RunError
from mien.features.cache import FeatureReader
from mien.model.checkpoint import (
    BEST_FILE,
    LAST_FILE,
    MODEL_FILE,
    PREVIOUS_FILE,
    RESUME_FILE,
    load_trained,
    read_tensors,
)
from mien.recipe import Recipe
from mien.runs import Run
from mien.train.divergence import LossMonitor
from mien.train.loop import train
from mien.train.trainer import Trainer

ALL_OPTIONS: dict[str, object] = {
    "accumulate": 2,
    "batch_size": 4,
    "ema": 0.9,
    "sampler": "balanced",
    "description_dropout": 0.3,
    "loss": "asl",
    "label_smoothing": 0.05,
    "lr_scale": {"head": 3.0, "text_embeddings": 0.0},
    "layer_decay": 0.8,
}


def on_workers(recipe: Recipe, workers: int, **run: object) -> Recipe:
    return recipe.model_copy(update={"run": recipe.run.model_copy(update={"workers": workers, **run})})


def in_variants(data: SplitData) -> SplitData:
    """Three variants per image, as if augmented; the features of other images stand in for them."""
    assert data.images is not None
    rows = np.arange(len(data))
    features = data.images.reader.read(rows)
    shifted = np.stack((rows, np.roll(rows, 1), np.roll(rows, 2)), axis=1)[:, :, None]
    return replace(data, images=replace(data.images, reader=FeatureReader(features, shifted)))


def test_every_epoch_draws_image_variants_again(make: MakeSplit, recipe: MakeRecipe) -> None:
    data, val = in_variants(make("train", 16)), make("val", 8, seed=1)
    trainer = Trainer(recipe(train={"batch_size": 16}), data, val, torch.device("cpu"))
    seen = []
    for _ in range(2):
        (parts,) = trainer.remaining_steps()
        image = parts[0].batch.image
        assert image is not None
        # The order of rows differs between epochs, so the images are compared as a set.
        seen.append({tuple(row.flatten().tolist()) for row in image})
        trainer.train_step(parts)
    assert seen[0] != seen[1]
    assert len(seen[0]) < 16  # some rows show the same image, because variants are other images


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_with_all_options_on_an_interruption_at_any_step_changes_no_bit(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path, precision: str
) -> None:
    data, val = in_variants(make("train", 40)), make("val", 20, seed=1)
    wanted = recipe({"layers": 3}, {**ALL_OPTIONS, "precision": precision})
    uninterrupted = train(wanted, data, val, tmp_path / "whole")
    assert uninterrupted.steps == 15
    draw = random.Random(precision)
    for turn in range(3):
        out = tmp_path / f"run {turn}"
        step = draw.randrange(1, 15)
        threads = on_workers(wanted, draw.randrange(4), checkpoint_activations=turn == 1)
        with pytest.raises(Interrupted):
            train(threads, data, val, out, on_progress=interrupt_after(step), save_seconds=0.0)
        torch.manual_seed(step)  # the caller's random state does not matter
        assert train(wanted, data, val, out) == uninterrupted, step
        assert are_bit_equal(read_weights(out), read_weights(tmp_path / "whole")), step


def test_each_of_these_options_changes_the_weights(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data, val = make("train", 16), make("val", 8, seed=1)
    switches: dict[str, object] = {**ALL_OPTIONS, "precision": "bfloat16", "dimension_weight": 2.0}
    found = []
    for name, value in [("seed", 0), *switches.items()]:
        given = {"epochs": 1, "loss": "bce", "loss_options": {}, "batch_size": 8, name: value}
        train(recipe({"layers": 3}, given), data, val, tmp_path / name)
        found.append(read_weights(tmp_path / name))
    for place, one in enumerate(found):
        assert not any(are_bit_equal(one, other) for other in found[place + 1 :]), place


def interrupted(make: MakeSplit, recipe: Recipe, out: Path, step: int = 4) -> tuple[SplitData, SplitData]:
    data, val = make("train", 24), make("val", 12, seed=1)
    with pytest.raises(Interrupted):
        train(recipe, data, val, out, on_progress=interrupt_after(step), save_seconds=0.0)
    return data, val


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def flip(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-3] + bytes([content[-3] ^ 4]) + content[-2:])


@pytest.mark.parametrize("spoil", [cut, flip, lambda file: file.write_bytes(b""), Path.unlink])
def test_a_damaged_state_is_reported_and_the_previous_one_used(
    make: MakeSplit,
    recipe: MakeRecipe,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
) -> None:
    out = tmp_path / "run"
    data, val = interrupted(make, recipe(), out)
    train(recipe(), data, val, tmp_path / "whole")
    spoil(out / RESUME_FILE)
    with caplog.at_level(logging.WARNING):
        train(recipe(), data, val, out)
    events = Run.open(out).events()
    assert [event["step"] for event in events.named("resumed")] == [3]
    if spoil is not Path.unlink:
        assert "damaged" in caplog.text
        assert f"resuming from {PREVIOUS_FILE}, of step 3" in caplog.text
        assert [event["used"] for event in events.named("damaged")] == [PREVIOUS_FILE]
    assert are_bit_equal(read_weights(out), read_weights(tmp_path / "whole"))
    assert not list(out.glob("resume*"))


def test_without_an_intact_state_resuming_is_an_error(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    data, val = interrupted(make, recipe(), out)
    cut(out / RESUME_FILE)
    cut(out / PREVIOUS_FILE)
    with pytest.raises(DamagedError, match=r"resume\.safetensors is damaged") as caught:
        train(recipe(), data, val, out)
    assert "delete it" in caught.value.hint
    assert (out / RESUME_FILE).exists()


def test_a_damaged_state_does_not_become_the_previous_one(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    data, val = interrupted(make, recipe(), out)
    cut(out / RESUME_FILE)
    with pytest.raises(Interrupted):
        train(recipe(), data, val, out, on_progress=interrupt_after(4), save_seconds=0.0)
    steps = [read_tensors(out / name)[1]["state"]["step"] for name in (PREVIOUS_FILE, RESUME_FILE)]
    assert steps == [3, 4]


def test_the_error_for_another_recipe_names_the_settings_that_differ(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    data, val = interrupted(make, recipe(), out)
    other = recipe({"layers": 3}, {"lr": 0.5})
    with pytest.raises(RunError, match=r"model\.layers \(2, 3\), train\.lr \(0\.003, 0\.5\)") as caught:
        train(other, data, val, out)
    assert recipe().digest()[:12] in str(caught.value)
    assert other.digest()[:12] in str(caught.value)
    train(recipe(), data, val, out)
    with pytest.raises(
        RunError, match=r"trained by recipe .*, and this run has recipe .*: model\.layers \(2, 3\)"
    ):
        load_trained(out).check_recipe(other)
    load_trained(out).check_recipe(on_workers(recipe(), 3))


def test_label_sets_with_equal_names_and_different_labels_are_distinguished(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    train(recipe(train={"epochs": 1}), make("train", 16), make("val", 8, seed=1), tmp_path / "run")
    data = make("test", 8)
    swapped = replace(data.label_set, labels=("bright", "both", "stormy"))
    with pytest.raises(RunError, match="label 1 is 'both' here and 'stormy' there"):
        load_trained(tmp_path / "run").check_inputs(replace(data, label_set=swapped).spec, "test")


def test_keep_last_saves_the_last_weights(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    data, val = make("train", 40), make("val", 20, seed=1)
    wanted = on_workers(recipe(train={"epochs": 40, "patience": 2, "lr": 0.02}), 0, keep_last=True)
    result = train(wanted, data, val, tmp_path / "run")
    assert result.best_epoch * 5 < result.steps
    assert not are_bit_equal(read_weights(tmp_path / "run"), read_weights(tmp_path / "run", LAST_FILE))
    # The last epoch of a stopped training is the best epoch of a training that ends there.
    without = recipe(train={"epochs": 40, "patience": 2, "lr": 0.02})
    train(without, data, val, tmp_path / "without")
    assert not (tmp_path / "without" / LAST_FILE).exists()
    assert are_bit_equal(read_weights(tmp_path / "run"), read_weights(tmp_path / "without"))


# --- Divergence ---


def test_a_loss_that_is_not_finite_is_divergence() -> None:
    for loss in (float("nan"), float("inf")):
        with pytest.raises(DivergedError, match=f"the loss of step 8 is {loss}") as caught:
            LossMonitor().check(loss, factor=0.0, step=7)
        assert "train.lr" in caught.value.hint


def test_a_loss_that_stays_far_above_its_median_and_its_start_is_divergence() -> None:
    monitor = LossMonitor()
    for step in range(30):
        monitor.check(1.0 if step < 5 else 0.1, factor=10, step=step)
    monitor.check(5.0, factor=10, step=30)
    monitor.check(5.0, factor=10, step=31)
    monitor.check(0.1, factor=10, step=32)  # only a spike
    monitor.check(0.99, factor=5, step=33)  # not above the first losses
    for step in (34, 35):
        monitor.check(1.5, factor=10, step=step)
    with pytest.raises(DivergedError, match=r"the loss of step 37 is 1.5; its running median is 0\.1"):
        monitor.check(1.5, factor=10, step=36)


def test_a_factor_of_zero_checks_only_that_the_loss_is_finite() -> None:
    monitor = LossMonitor()
    for step in range(60):
        monitor.check(1.0 if step < 50 else 1e6, factor=0.0, step=step)
    assert len(monitor.recent) == 50


@pytest.mark.parametrize("when", [3, 12])
def test_the_error_for_divergence_names_the_step_and_the_saved_weights(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path, when: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, val = make("train", 40), make("val", 20, seed=1)
    train(recipe(train={"epochs": 2}), data, val, tmp_path / "two epochs")
    train_step = Trainer.train_step

    def spoil(self: Trainer, parts: list[object]) -> float:
        if self.state.step + 1 == when:
            self.data.targets.fill_(float("nan"))
            (parts[0].batch.targets).fill_(float("nan"))  # type: ignore[attr-defined]
        return train_step(self, parts)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train_step", spoil)
    out = tmp_path / "run"
    with pytest.raises(DivergedError) as caught:
        train(recipe(train={"epochs": 3}), data, val, out, save_seconds=0.0)
    message = str(caught.value)
    assert f"the loss of step {when} is nan" in message
    assert f"the last good state is of step {when - 1}, in {RESUME_FILE}" in message
    _, about = read_tensors(out / RESUME_FILE)
    assert about["state"]["step"] == when - 1
    assert not (out / MODEL_FILE).exists()
    assert (out / BEST_FILE).exists() == (when == 12)
    if when == 12:
        assert f"in {BEST_FILE}" in message
        assert load_trained(out, name=BEST_FILE).result.best_epoch in (1, 2)
    (event,) = Run.open(out).events().named("diverged")
    assert event["step"] == when
