"""Problems with an existing run: the exit code, the error and the hint of each command."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.factories.tiny_clip import build_tiny_clip

from mien.cli import main
from mien.model.checkpoint import (
    MODEL_FILE,
    PREVIOUS_FILE,
    RESUME_FILE,
    load_trained,
    read_tensors,
    write_tensors,
)
from mien.recipe import load_recipe
from mien.train import loop
from mien.train.trainer import Trainer
from mien.workflow.experiment import open_experiment

RECIPE = """
name = "tiny"
data = { name = "playhouse", options = { train = 10, val = 6, test = 8, seed = 3 } }
describe = { engine = "fake", model = "none" }
model = { width = 16, heads = 2, num_queries = 2 }
train = { epochs = 3, batch_size = 4 }
evaluate = { bootstrap = 20 }
run = { threads = 1 }
"""

Mien = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mien(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mien:
    """mien("train", ...) -> exit code, stdout, stderr; in a temporary folder with tiny.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "tiny.toml").write_text(RECIPE)

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return command


def refused(result: tuple[int, str, str], code: int = 4) -> tuple[str, str]:
    """The error and the hint, after checking that there are two lines and nothing on stdout."""
    actual_code, out, err = result
    assert (actual_code, out) == (code, ""), err
    error, hint = (line for line in err.splitlines() if not line.startswith("note:"))
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    return error, hint


@pytest.fixture
def run(mien: Mien) -> Path:
    """A described and trained run."""
    assert mien("describe", "tiny.toml", "--out", "run")[0] == 0
    assert mien("train", "tiny.toml", "--out", "run")[0] == 0
    return Path("run")


def change_metadata(run: Path, **changes: Any) -> None:
    """Changes the metadata of the model, as if it had been trained on other inputs."""
    tensors, about = read_tensors(run / MODEL_FILE)
    write_tensors(run / MODEL_FILE, tensors, about | changes)


def any_image(folder: Path) -> Path:
    return sorted((folder / "cache").rglob("*.png"))[0]


# --- Descriptions ---


def test_missing_descriptions_are_counted_and_the_command_is_named(mien: Mien) -> None:
    for described, split, count in ((None, "train", 10), ("train", "val", 6)):
        if described:
            assert mien("describe", "tiny.toml", "--out", "run", "--split", described)[0] == 0
        error, hint = refused(mien("train", "tiny.toml", "--out", "run"))
        assert f"{count} of {count} subjects of split '{split}' have no description" in error
        assert "mien describe RECIPE" in hint
    assert mien("describe", "tiny.toml", "--out", "run", "--split", "val")[0] == 0
    assert mien("train", "tiny.toml", "--out", "run")[0] == 0
    error, hint = refused(mien("evaluate", "run"))
    assert "8 of 8 subjects of split 'test' have no description, such as 'test/00000'" in error
    assert "mien describe RECIPE" in hint


# --- Another recipe, other labels ---


def test_another_recipe_in_the_same_run_shows_both_digests_and_the_differences(mien: Mien, run: Path) -> None:
    ours, theirs = (
        open_experiment(load_recipe(Path("tiny.toml"), sets), cache=Path("cache")).recipe.digest()[:12]
        for sets in ((), ("train.lr=0.01", "data.label_set=caers"))
    )
    sets = ("--set", "train.lr=0.01", "--set", "data.label_set=caers")
    error, hint = refused(mien("train", "tiny.toml", "--out", run, *sets))
    assert f"holds a run of a different recipe ({ours}, not {theirs})" in error
    assert "data.label_set ('emotic', 'caers')" in error
    assert "train.lr (0.0005, 0.01)" in error
    assert "another directory" in hint


def test_the_model_of_another_recipe_is_refused_by_every_command(mien: Mien, run: Path) -> None:
    assert mien("describe", "tiny.toml", "--out", "other")[0] == 0
    assert mien("train", "tiny.toml", "--out", "other", "--set", "model.width=24")[0] == 0
    ours, theirs = (load_trained(Path(name)).recipe.digest()[:12] for name in ("run", "other"))
    shutil.copy(Path("other") / MODEL_FILE, run)
    for arguments in (("evaluate", run), ("train", "tiny.toml", "--out", run)):
        error, hint = refused(mien(*arguments))
        assert f"trained by recipe {theirs}, and this run has recipe {ours}: model.width (24, 16)" in error
        assert "restore this run's model" in hint


def test_a_label_set_that_differs_from_the_models_is_shown_next_to_it(mien: Mien, run: Path) -> None:
    labels = read_tensors(run / MODEL_FILE)[1]["label_set"]
    first, second, *rest = labels["labels"]
    change_metadata(run, label_set=labels | {"labels": [second, first, *rest]})
    error, _ = refused(mien("evaluate", run))
    assert f"label 0 is {first!r} here and {second!r} there" in error
    change_metadata(run, label_set=labels | {"name": "mine"})
    error, hint = refused(mien("evaluate", run))
    assert "has the label set 'emotic', and the model was trained with 'mine'" in error
    assert "train again" in hint


# --- Another encoder ---


def test_features_of_another_encoder_are_refused_and_both_shown(mien: Mien, tmp_path: Path) -> None:
    build_tiny_clip(tmp_path / "clip")
    sets = ("--set", "features.vision=clip", "--set", "model.fusion=image_only")
    assert mien("train", "tiny.toml", "--out", "run", *sets)[0] == 0
    then = read_tensors(tmp_path / "run" / MODEL_FILE)[1]["vision_signature"][:12]
    build_tiny_clip(tmp_path / "clip", seed=1)  # the same folder, other weights
    error, hint = refused(mien("evaluate", "run"))
    assert "has the image features" in error
    assert f"the model was trained with {then}" in error
    now = error.split("image features ")[1][:12]
    assert now != then
    assert "train again" in hint
    error, hint = refused(mien("predict", any_image(tmp_path), "--run", "run"))
    assert "is not the one that the run was trained with" in error
    assert f"{now}, not {then}" in error
    assert "restore the original encoder" in hint
    error, _ = refused(mien("train", "tiny.toml", "--out", "run", *sets))
    assert "made with other samples, descriptions or features" in error
    build_tiny_clip(tmp_path / "clip")
    assert mien("evaluate", "run")[0] == 0


# --- Divergence and damaged files ---


def test_a_loss_that_is_not_finite_ends_the_training(mien: Mien, run: Path) -> None:
    shared = ("--set", f"run.store={run / 'descriptions.sqlite'}", "--set", "train.lr=1e30")
    error, hint = refused(mien("train", "tiny.toml", "--out", "wild", *shared), code=2)
    assert "training diverged: the loss of step 2 is nan" in error
    assert "no epoch was finished" in error
    assert "train.lr" in hint
    assert not (Path("wild") / MODEL_FILE).exists()
    error, hint = refused(mien("evaluate", "wild"))
    assert "no trained model" in error


def interrupted(mien: Mien, monkeypatch: pytest.MonkeyPatch, out: str, step: int) -> None:
    """A training that saves its state after every step and is interrupted by Ctrl-C."""
    train_step = Trainer.train_step

    def stop(self: Trainer, parts: Any) -> float:
        if self.state.step == step:
            raise KeyboardInterrupt
        return train_step(self, parts)

    assert loop.train.__kwdefaults__ is not None
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop)
        patch.setitem(loop.train.__kwdefaults__, "save_seconds", 0.0)
        assert mien("train", "tiny.toml", "--out", out)[0] == 130


def test_a_damaged_state_is_reported_and_the_previous_one_is_used(
    mien: Mien, run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert mien("describe", "tiny.toml", "--out", "broken")[0] == 0
    interrupted(mien, monkeypatch, "broken", 5)
    error, hint = refused(mien("evaluate", "broken"))
    assert "unfinished training" in error
    assert "again to resume it" in hint
    torn = Path("broken") / RESUME_FILE
    torn.write_bytes(torn.read_bytes()[:-10])
    with caplog.at_level(logging.WARNING):
        assert mien("train", "tiny.toml", "--out", "broken")[0] == 0
    assert f"{RESUME_FILE} is damaged" in caplog.text
    assert f"resuming from {PREVIOUS_FILE}, of step 4" in caplog.text
    whole, broken = (load_trained(Path(name)).classifier.state_dict() for name in ("run", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_a_training_whose_states_are_both_damaged_does_not_silently_start_over(
    mien: Mien, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mien("describe", "tiny.toml", "--out", "broken")[0] == 0
    interrupted(mien, monkeypatch, "broken", 5)
    for name in (RESUME_FILE, PREVIOUS_FILE):
        (Path("broken") / name).write_bytes(b"torn")
    error, hint = refused(mien("train", "tiny.toml", "--out", "broken"))
    assert f"{RESUME_FILE} is damaged" in error
    assert "delete it and run mien train again" in hint


def test_a_damaged_model_is_refused_by_every_command(mien: Mien, run: Path, tmp_path: Path) -> None:
    model = run / MODEL_FILE
    whole = model.read_bytes()
    image = any_image(tmp_path)
    for torn in (whole[:-10], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        model.write_bytes(torn)
        for arguments in (
            ("evaluate", run),
            ("predict", image, "--run", run),
            ("train", "tiny.toml", "--out", run),
        ):
            error, hint = refused(mien(*arguments))
            assert f"{MODEL_FILE} is damaged" in error
            assert "delete it and run mien train again" in hint


# --- Labels without positives ---


def test_a_label_without_positives_is_reported_and_left_out_of_the_mean(
    mien: Mien, caplog: pytest.LogCaptureFixture
) -> None:
    assert mien("describe", "tiny.toml", "--out", "run")[0] == 0
    with caplog.at_level(logging.WARNING):
        assert mien("train", "tiny.toml", "--out", "run")[0] == 0
    experiment = open_experiment(load_recipe(Path("tiny.toml"), ()), cache=Path("cache") / "mien")
    labels = experiment.dataset.label_set.labels
    present = {
        split: {
            label
            for sample in experiment.samples(split)
            if sample.target is not None
            for label, score in sample.target.labels.items()
            if score >= 0.5
        }
        for split in ("train", "test")
    }
    missing = [label for label in labels if label not in present["train"]]
    assert missing
    assert f"no sample of 'train' has the label {', '.join(missing)}" in caplog.text
    (event,) = (
        json.loads(line)
        for line in (Path("run") / "events.jsonl").read_text().splitlines()
        if "labels_without_positives" in line
    )
    assert (event["split"], event["labels"]) == ("train", missing)
    code, out, err = mien("evaluate", "run", "--json")
    assert code == 0, err
    document = json.loads(out)
    values = {row["label"]: row["value"] for row in document["labels"]}
    assert set(values) == present["test"] < set(labels)
    (mean,) = (row["value"] for row in document["rows"] if row["metric"] == "mAP")
    assert mean == pytest.approx(sum(values.values()) / len(values))
