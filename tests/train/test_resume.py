"""Continuing with everything switched on, from damaged files, after divergence."""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

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
from mien.train.loop import TrainProgress, train
from mien.train.trainer import Trainer

MakeSplit = Callable[..., SplitData]
MakeRecipe = Callable[..., Recipe]

EVERYTHING: dict[str, object] = {
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


class Stopped(Exception):  # noqa: N818  an event, not an error
    """What ends a training in these tests, as a closed laptop would."""


def stop_after(step: int) -> Callable[[TrainProgress], None]:
    def listen(event: TrainProgress) -> None:
        if event.step == step:
            raise Stopped

    return listen


def on_workers(recipe: Recipe, workers: int, **run: object) -> Recipe:
    return recipe.model_copy(update={"run": recipe.run.model_copy(update={"workers": workers, **run})})


def weights(out: Path, name: str = MODEL_FILE) -> dict[str, torch.Tensor]:
    return load_trained(out, name=name).classifier.state_dict()


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def in_variants(data: SplitData) -> SplitData:
    """Each picture in three variants, as if it were augmented: features of others stand in for them."""
    assert data.images is not None
    rows = np.arange(len(data))
    features = data.images.reader.read(rows)
    shifted = np.stack((rows, np.roll(rows, 1), np.roll(rows, 2)), axis=1)[:, :, None]
    return replace(data, images=replace(data.images, reader=FeatureReader(features, shifted)))


def test_variants_of_pictures_are_drawn_anew_each_epoch(make: MakeSplit, recipe: MakeRecipe) -> None:
    data, val = in_variants(make("train", 16)), make("val", 8, seed=1)
    trainer = Trainer(recipe(train={"batch_size": 16}), data, val, torch.device("cpu"))
    seen = []
    for _ in range(2):
        (parts,) = trainer.remaining_steps()
        image = parts[0].batch.image
        assert image is not None
        # Rows come in another order each epoch: compared as a set of pictures.
        seen.append({tuple(row.flatten().tolist()) for row in image})
        trainer.train_step(parts)
    assert seen[0] != seen[1]
    assert len(seen[0]) < 16  # two rows show one picture: the features are of others


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_with_everything_on_an_interruption_at_any_step_changes_no_bit(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path, precision: str
) -> None:
    data, val = in_variants(make("train", 40)), make("val", 20, seed=1)
    wanted = recipe({"layers": 3}, {**EVERYTHING, "precision": precision})
    uninterrupted = train(wanted, data, val, tmp_path / "whole")
    assert uninterrupted.steps == 15
    draw = random.Random(precision)
    for turn in range(3):
        out = tmp_path / f"run {turn}"
        step = draw.randrange(1, 15)
        threads = on_workers(wanted, draw.randrange(4), checkpoint_activations=turn == 1)
        with pytest.raises(Stopped):
            train(threads, data, val, out, on_progress=stop_after(step), save_seconds=0.0)
        torch.manual_seed(step)  # whatever happened in between
        assert train(wanted, data, val, out) == uninterrupted, step
        assert same_bits(weights(out), weights(tmp_path / "whole")), step


def test_each_of_these_switches_changes_the_weights(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data, val = make("train", 16), make("val", 8, seed=1)
    switches: dict[str, object] = {**EVERYTHING, "precision": "bfloat16", "dimension_weight": 2.0}
    found = []
    for name, value in [("seed", 0), *switches.items()]:
        given = {"epochs": 1, "loss": "bce", "loss_options": {}, "batch_size": 8, name: value}
        train(recipe({"layers": 3}, given), data, val, tmp_path / name)
        found.append(weights(tmp_path / name))
    for place, one in enumerate(found):
        assert not any(same_bits(one, other) for other in found[place + 1 :]), place


def interrupted(make: MakeSplit, recipe: Recipe, out: Path, step: int = 4) -> tuple[SplitData, SplitData]:
    data, val = make("train", 24), make("val", 12, seed=1)
    with pytest.raises(Stopped):
        train(recipe, data, val, out, on_progress=stop_after(step), save_seconds=0.0)
    return data, val


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def flip(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-3] + bytes([content[-3] ^ 4]) + content[-2:])


@pytest.mark.parametrize("spoil", [cut, flip, lambda file: file.write_bytes(b""), Path.unlink])
def test_a_damaged_state_is_told_of_and_the_one_before_it_used(
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
    assert same_bits(weights(out), weights(tmp_path / "whole"))
    assert not list(out.glob("resume*"))


def test_where_no_state_is_whole_that_is_a_clear_error(
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


def test_a_damaged_state_is_not_kept_as_the_one_before(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    data, val = interrupted(make, recipe(), out)
    cut(out / RESUME_FILE)
    with pytest.raises(Stopped):
        train(recipe(), data, val, out, on_progress=stop_after(4), save_seconds=0.0)
    steps = [read_tensors(out / name)[1]["state"]["step"] for name in (PREVIOUS_FILE, RESUME_FILE)]
    assert steps == [3, 4]


def test_what_differs_between_two_recipes_is_named(
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


def test_label_sets_of_one_name_and_other_labels_are_told_apart(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    train(recipe(train={"epochs": 1}), make("train", 16), make("val", 8, seed=1), tmp_path / "run")
    data = make("test", 8)
    swapped = replace(data.label_set, labels=("bright", "both", "stormy"))
    with pytest.raises(RunError, match="label 1 is 'both' here and 'stormy' there"):
        load_trained(tmp_path / "run").check_inputs(replace(data, label_set=swapped).spec, "test")


def test_the_last_weights_are_kept_if_asked_for(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    data, val = make("train", 40), make("val", 20, seed=1)
    wanted = on_workers(recipe(train={"epochs": 40, "patience": 2, "lr": 0.02}), 0, keep_last=True)
    result = train(wanted, data, val, tmp_path / "run")
    assert result.best_epoch * 5 < result.steps
    assert not same_bits(weights(tmp_path / "run"), weights(tmp_path / "run", LAST_FILE))
    # The last epoch of a training that is stopped there is the best of one that has no more epochs.
    without = recipe(train={"epochs": 40, "patience": 2, "lr": 0.02})
    train(without, data, val, tmp_path / "without")
    assert not (tmp_path / "without" / LAST_FILE).exists()
    assert same_bits(weights(tmp_path / "run"), weights(tmp_path / "without"))


# --- Divergence ---


def test_the_watch_stops_at_what_is_not_finite() -> None:
    for loss in (float("nan"), float("inf")):
        with pytest.raises(DivergedError, match=f"the loss of step 8 is {loss}") as caught:
            LossMonitor().check(loss, factor=0.0, step=7)
        assert "train.lr" in caught.value.hint


def test_the_watch_stops_when_the_loss_stays_far_above_its_median_and_its_start() -> None:
    watch = LossMonitor()
    for step in range(30):
        watch.check(1.0 if step < 5 else 0.1, factor=10, step=step)
    watch.check(5.0, factor=10, step=30)
    watch.check(5.0, factor=10, step=31)
    watch.check(0.1, factor=10, step=32)  # it was a spike
    watch.check(0.99, factor=5, step=33)  # not above the first losses
    for step in (34, 35):
        watch.check(1.5, factor=10, step=step)
    with pytest.raises(DivergedError, match=r"the loss of step 37 is 1.5; its running median is 0\.1"):
        watch.check(1.5, factor=10, step=36)


def test_the_watch_can_be_told_to_look_at_finiteness_alone() -> None:
    watch = LossMonitor()
    for step in range(60):
        watch.check(1.0 if step < 50 else 1e6, factor=0.0, step=step)
    assert len(watch.recent) == 50


@pytest.mark.parametrize("when", [3, 12])
def test_a_training_that_diverges_names_the_step_and_what_is_left(
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
