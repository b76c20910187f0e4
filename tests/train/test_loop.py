"""Training learns, and interruptions do not change the result."""

import json
from pathlib import Path

import pytest
import torch
from tests.factories.training import Interrupted, MakeRecipe, MakeSplit, interrupt_after
from tests.factories.weights import are_bit_equal, read_weights

from mien.errors import ConfigError, DataError, RunError
from mien.model.checkpoint import MODEL_FILE, PREVIOUS_FILE, RESUME_FILE, load_trained, read_tensors
from mien.recipe import Recipe
from mien.runs import Run
from mien.train.loop import TrainProgress, train


def score(make: MakeSplit, recipe: Recipe, out: Path) -> float:
    return train(recipe, make("train", 160), make("val", 80, seed=1), out).best_score


def test_each_fusion_learns_from_its_inputs(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    scores = {
        fusion: score(make, recipe({"fusion": fusion}, {"epochs": 8}), tmp_path / fusion)
        for fusion in ("qformer", "concat", "image_only", "text_only")
    }
    # Two of three labels need the image, two need the text, one needs both.
    assert scores["qformer"] > 0.98
    assert scores["concat"] > 0.9
    assert 0.6 < scores["image_only"] < 0.9
    assert 0.6 < scores["text_only"] < 0.9


def test_learns_an_exclusive_label_set(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    data, val = make("train", 160, exclusive=True), make("val", 80, seed=1, exclusive=True)
    result = train(recipe(train={"epochs": 8}), data, val, tmp_path / "run")
    assert result.metric == "accuracy"
    assert result.best_score > 0.9


def test_learns_dimensions_from_annotated_samples(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data, val = make("train", 160), make("val", 80, seed=1)
    train(recipe(train={"epochs": 8}), data, val, tmp_path / "run")
    batch = val.batch(torch.arange(80).numpy())
    answer = load_trained(tmp_path / "run").classifier(batch.image, batch.text_ids, batch.text_mask)
    assert (answer.dimensions - batch.dimensions).nanmean(dim=0).abs().max() < 0.1
    assert (answer.dimensions - batch.dimensions)[:, 0].square().nanmean() < 0.05
    train(recipe(train={"heads": "labels"}), data, val, tmp_path / "without")
    assert load_trained(tmp_path / "without").classifier.dimensions is None


@pytest.mark.parametrize("fusion", ["qformer", "concat"])
def test_resuming_after_any_step_gives_the_same_bits(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path, fusion: str
) -> None:
    data, val = make("train", 40), make("val", 20, seed=1)
    wanted = recipe({"fusion": fusion})
    uninterrupted = train(wanted, data, val, tmp_path / "whole")
    assert uninterrupted.steps == 15
    for step in range(1, 15):
        out = tmp_path / f"interrupted at {step}"
        with pytest.raises(Interrupted):
            train(wanted, data, val, out, on_progress=interrupt_after(step), save_seconds=0.0)
        torch.manual_seed(step)  # the caller's random state does not matter
        assert train(wanted, data, val, out) == uninterrupted, step
        assert are_bit_equal(read_weights(out), read_weights(tmp_path / "whole")), step
        assert not (out / RESUME_FILE).exists()


def test_resuming_several_times_gives_the_same_bits(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data, val = make("train", 60), make("val", 30, seed=1)
    uninterrupted = train(recipe(), data, val, tmp_path / "whole")
    for step in (3, 4, 11, 20):
        with pytest.raises(Interrupted):
            train(recipe(), data, val, tmp_path / "run", on_progress=interrupt_after(step), save_seconds=0.0)
    assert train(recipe(), data, val, tmp_path / "run") == uninterrupted
    assert are_bit_equal(read_weights(tmp_path / "run"), read_weights(tmp_path / "whole"))
    assert [event["step"] for event in Run.open(tmp_path / "run").events().named("resumed")] == [3, 4, 11, 20]


def test_a_training_without_a_saved_state_starts_again(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data, val = make("train", 60), make("val", 30, seed=1)
    with pytest.raises(Interrupted):
        train(recipe(), data, val, tmp_path / "run", on_progress=interrupt_after(5), save_seconds=1000.0)
    assert not (tmp_path / "run" / RESUME_FILE).exists()
    train(recipe(), data, val, tmp_path / "run")
    train(recipe(), data, val, tmp_path / "whole")
    assert are_bit_equal(read_weights(tmp_path / "run"), read_weights(tmp_path / "whole"))


def test_the_result_depends_on_the_seed_alone(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    data, val = make("train", 40), make("val", 20, seed=1)
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        torch.manual_seed(hash(name) % 1000)
        before = torch.get_rng_state()
        train(recipe(train={"seed": seed, "epochs": 1}), data, val, tmp_path / name)
        assert torch.equal(torch.get_rng_state(), before)
    assert are_bit_equal(read_weights(tmp_path / "one"), read_weights(tmp_path / "again"))
    assert not are_bit_equal(read_weights(tmp_path / "one"), read_weights(tmp_path / "other"))


def test_early_stopping_keeps_the_best_epoch(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    data, val = make("train", 40), make("val", 20, seed=1)
    wanted = recipe(train={"epochs": 40, "patience": 2, "lr": 0.02})
    result = train(wanted, data, val, tmp_path / "run")
    epochs = list(Run.open(tmp_path / "run").events().named("epoch"))
    assert len(epochs) == result.best_epoch + 2 < 40
    assert result.steps == epochs[-1]["step"] == 5 * len(epochs)
    scores = [epoch["score"] for epoch in epochs]
    assert result.best_score == max(scores) == scores[result.best_epoch - 1]
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert epochs[-1]["metric"] == result.metric == "mAP"


def test_the_saved_weights_are_those_of_the_best_epoch(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data, val = make("train", 40), make("val", 20, seed=1)
    states: dict[int, dict[str, torch.Tensor]] = {}

    def remember(event: TrainProgress) -> None:
        if event.step % 5 == 0:
            tensors, _ = read_tensors(tmp_path / "run" / RESUME_FILE)
            states[event.epoch] = {
                name.removeprefix("model."): tensor
                for name, tensor in tensors.items()
                if name.startswith("model.")
            }

    wanted = recipe(train={"epochs": 40, "patience": 2, "lr": 0.02})
    result = train(wanted, data, val, tmp_path / "run", on_progress=remember, save_seconds=0.0)
    assert result.best_epoch < max(states)
    assert are_bit_equal(read_weights(tmp_path / "run"), states[result.best_epoch])


def test_reports_progress_after_every_step(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    events: list[TrainProgress] = []
    train(recipe(), make("train", 20), make("val", 10, seed=1), tmp_path / "run", on_progress=events.append)
    assert [event.step for event in events] == list(range(1, 10))
    assert [event.epoch for event in events] == [0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert [event.best_score is None for event in events] == [True, True] + [False] * 7
    assert {(event.epochs, event.steps) for event in events} == {(3, 9)}


def test_a_finished_training_is_not_repeated(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    data, val = make("train", 20), make("val", 10, seed=1)
    result = train(recipe(), data, val, tmp_path / "run")
    before = (tmp_path / "run" / MODEL_FILE).stat().st_mtime_ns
    assert train(recipe(), data, val, tmp_path / "run") == result
    assert (tmp_path / "run" / MODEL_FILE).stat().st_mtime_ns == before


def test_a_kill_after_the_weights_are_written_leaves_nothing_behind(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    arguments = (recipe(), make("train", 16), make("val", 8, seed=1), tmp_path)
    result = train(*arguments)
    run = Run.open(tmp_path)
    events = [event for event in run.events().items if event["event"] != "trained"]
    (tmp_path / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    for name in (RESUME_FILE, PREVIOUS_FILE):
        (tmp_path / name).write_bytes(b"a state")
    for _ in range(2):
        assert train(*arguments) == result
        assert not (tmp_path / RESUME_FILE).exists()
        assert not (tmp_path / PREVIOUS_FILE).exists()
        assert [event["steps"] for event in run.events().named("trained")] == [result.steps]


@pytest.mark.parametrize("finished", [True, False])
def test_other_data_or_another_recipe_is_refused(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path, finished: bool
) -> None:
    data, val = make("train", 20), make("val", 10, seed=1)
    if finished:
        train(recipe(), data, val, tmp_path / "run")
    else:
        with pytest.raises(Interrupted):
            train(recipe(), data, val, tmp_path / "run", on_progress=interrupt_after(2), save_seconds=0.0)
    with pytest.raises(DataError, match="other samples"):
        train(recipe(), make("train", 20, seed=2), val, tmp_path / "run")
    with pytest.raises(RunError, match="a different recipe"):
        train(recipe(train={"lr": 0.1}), data, val, tmp_path / "run")


def test_a_diverging_training_stops_with_an_error(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data, val = make("train", 40), make("val", 10, seed=1)
    data.targets[7, 0] = float("nan")
    with pytest.raises(ConfigError, match=r"diverged: the loss of step [1-5] is nan"):
        train(recipe(), data, val, tmp_path / "run")
    assert not (tmp_path / "run" / MODEL_FILE).exists()


def test_val_without_positives_is_an_error(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    val = make("val", 10, seed=1)
    val.targets.zero_()
    with pytest.raises(DataError, match="no label has a positive sample"):
        train(recipe(), make("train", 20), val, tmp_path / "run")
