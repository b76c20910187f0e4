"""What goes wrong with a run after it was begun: each as a command, with its exit code and both its lines."""

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
    """mien("train", ...) -> exit code, stdout, stderr; in a folder of its own, with tiny.toml in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "tiny.toml").write_text(RECIPE)

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return command


def refused(answer: tuple[int, str, str], code: int = 4) -> tuple[str, str]:
    """The error and the hint: two lines, and nothing on stdout."""
    got, out, err = answer
    assert (got, out) == (code, ""), err
    what, remedy = (line for line in err.splitlines() if not line.startswith("note:"))
    assert what.startswith("error: ")
    assert remedy.startswith("hint: ")
    return what, remedy


@pytest.fixture
def run(mien: Mien) -> Path:
    """A run that is described and trained."""
    assert mien("describe", "tiny.toml", "--out", "run")[0] == 0
    assert mien("train", "tiny.toml", "--out", "run")[0] == 0
    return Path("run")


def about_changed(run: Path, **changes: Any) -> None:
    """The model as if it had been trained on other inputs."""
    tensors, about = read_tensors(run / MODEL_FILE)
    write_tensors(run / MODEL_FILE, tensors, about | changes)


def a_picture(folder: Path) -> Path:
    return sorted((folder / "cache").rglob("*.png"))[0]


# --- Descriptions ---


def test_missing_descriptions_are_counted_and_the_command_that_makes_them_is_named(mien: Mien) -> None:
    for described, split, count in ((None, "train", 10), ("train", "val", 6)):
        if described:
            assert mien("describe", "tiny.toml", "--out", "run", "--split", described)[0] == 0
        what, remedy = refused(mien("train", "tiny.toml", "--out", "run"))
        assert f"{count} of {count} subjects of split '{split}' have no description" in what
        assert "mien describe RECIPE" in remedy
    assert mien("describe", "tiny.toml", "--out", "run", "--split", "val")[0] == 0
    assert mien("train", "tiny.toml", "--out", "run")[0] == 0
    what, remedy = refused(mien("evaluate", "run"))
    assert "8 of 8 subjects of split 'test' have no description, such as 'test/00000'" in what
    assert "mien describe RECIPE" in remedy


# --- Another recipe, other labels ---


def test_another_recipe_in_the_same_run_shows_both_digests_and_what_differs(mien: Mien, run: Path) -> None:
    ours, theirs = (
        open_experiment(load_recipe(Path("tiny.toml"), sets), cache=Path("cache")).recipe.digest()[:12]
        for sets in ((), ("train.lr=0.01", "data.label_set=caers"))
    )
    sets = ("--set", "train.lr=0.01", "--set", "data.label_set=caers")
    what, remedy = refused(mien("train", "tiny.toml", "--out", run, *sets))
    assert f"holds a run of a different recipe ({ours}, not {theirs})" in what
    assert "data.label_set ('emotic', 'caers')" in what
    assert "train.lr (0.0005, 0.01)" in what
    assert "another directory" in remedy


def test_the_model_of_another_recipe_is_refused_by_every_command(mien: Mien, run: Path) -> None:
    assert mien("describe", "tiny.toml", "--out", "other")[0] == 0
    assert mien("train", "tiny.toml", "--out", "other", "--set", "model.width=24")[0] == 0
    ours, theirs = (load_trained(Path(name)).recipe.digest()[:12] for name in ("run", "other"))
    shutil.copy(Path("other") / MODEL_FILE, run)
    for arguments in (("evaluate", run), ("train", "tiny.toml", "--out", run)):
        what, remedy = refused(mien(*arguments))
        assert f"trained by recipe {theirs}, and this run has recipe {ours}: model.width (24, 16)" in what
        assert "restore this run's model" in remedy


def test_a_label_set_that_is_not_the_models_is_shown_beside_it(mien: Mien, run: Path) -> None:
    labels = read_tensors(run / MODEL_FILE)[1]["label_set"]
    first, second, *rest = labels["labels"]
    about_changed(run, label_set=labels | {"labels": [second, first, *rest]})
    what, _ = refused(mien("evaluate", run))
    assert f"label 0 is {first!r} here and {second!r} there" in what
    about_changed(run, label_set=labels | {"name": "mine"})
    what, remedy = refused(mien("evaluate", run))
    assert "has the label set 'emotic', and the model was trained with 'mine'" in what
    assert "train again" in remedy


# --- Another encoder ---


def test_features_of_another_encoder_are_refused_and_both_shown(mien: Mien, tmp_path: Path) -> None:
    build_tiny_clip(tmp_path / "clip")
    sets = ("--set", "features.vision=clip", "--set", "model.fusion=image_only")
    assert mien("train", "tiny.toml", "--out", "run", *sets)[0] == 0
    then = read_tensors(tmp_path / "run" / MODEL_FILE)[1]["vision_signature"][:12]
    build_tiny_clip(tmp_path / "clip", seed=1)  # the same folder, other weights
    what, remedy = refused(mien("evaluate", "run"))
    assert "has the image features" in what
    assert f"the model was trained with {then}" in what
    now = what.split("image features ")[1][:12]
    assert now != then
    assert "train again" in remedy
    what, remedy = refused(mien("predict", a_picture(tmp_path), "--run", "run"))
    assert "is not the one that the run was trained with" in what
    assert f"{now}, not {then}" in what
    assert "bring back the encoder" in remedy
    what, _ = refused(mien("train", "tiny.toml", "--out", "run", *sets))
    assert "made with other samples, descriptions or features" in what
    build_tiny_clip(tmp_path / "clip")
    assert mien("evaluate", "run")[0] == 0


# --- The loss, and what is on disk ---


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_what_was_good(mien: Mien, run: Path) -> None:
    shared = ("--set", f"run.store={run / 'descriptions.sqlite'}", "--set", "train.lr=1e30")
    what, remedy = refused(mien("train", "tiny.toml", "--out", "wild", *shared), code=2)
    assert "training diverged: the loss of step 2 is nan" in what
    assert "no epoch was finished" in what
    assert "train.lr" in remedy
    assert not (Path("wild") / MODEL_FILE).exists()
    what, remedy = refused(mien("evaluate", "wild"))
    assert "no trained model" in what


def interrupted(mien: Mien, monkeypatch: pytest.MonkeyPatch, out: str, step: int) -> None:
    """A training that somebody ends by Ctrl-C, its state kept after every step before."""
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


def test_a_damaged_state_is_told_of_and_the_one_before_it_used(
    mien: Mien, run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert mien("describe", "tiny.toml", "--out", "broken")[0] == 0
    interrupted(mien, monkeypatch, "broken", 5)
    what, remedy = refused(mien("evaluate", "broken"))
    assert "unfinished training" in what
    assert "again to resume it" in remedy
    torn = Path("broken") / RESUME_FILE
    torn.write_bytes(torn.read_bytes()[:-10])
    with caplog.at_level(logging.WARNING):
        assert mien("train", "tiny.toml", "--out", "broken")[0] == 0
    assert f"{RESUME_FILE} is damaged" in caplog.text
    assert f"going on from {PREVIOUS_FILE}, of step 4" in caplog.text
    whole, broken = (load_trained(Path(name)).classifier.state_dict() for name in ("run", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_where_both_states_are_damaged_the_training_is_not_begun_anew_in_silence(
    mien: Mien, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mien("describe", "tiny.toml", "--out", "broken")[0] == 0
    interrupted(mien, monkeypatch, "broken", 5)
    for name in (RESUME_FILE, PREVIOUS_FILE):
        (Path("broken") / name).write_bytes(b"torn")
    what, remedy = refused(mien("train", "tiny.toml", "--out", "broken"))
    assert f"{RESUME_FILE} is damaged" in what
    assert "delete it and run mien train again" in remedy


def test_a_damaged_model_is_refused_by_every_command(mien: Mien, run: Path, tmp_path: Path) -> None:
    model = run / MODEL_FILE
    whole = model.read_bytes()
    picture = a_picture(tmp_path)
    for torn in (whole[:-10], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        model.write_bytes(torn)
        for arguments in (
            ("evaluate", run),
            ("predict", picture, "--run", run),
            ("train", "tiny.toml", "--out", run),
        ):
            what, remedy = refused(mien(*arguments))
            assert f"{MODEL_FILE} is damaged" in what
            assert "delete it and run mien train again" in remedy


# --- Labels that nobody has ---


def test_a_label_without_positives_is_told_of_and_left_out_of_the_mean(
    mien: Mien, caplog: pytest.LogCaptureFixture
) -> None:
    assert mien("describe", "tiny.toml", "--out", "run")[0] == 0
    with caplog.at_level(logging.WARNING):
        assert mien("train", "tiny.toml", "--out", "run")[0] == 0
    experiment = open_experiment(load_recipe(Path("tiny.toml"), ()), cache=Path("cache") / "mien")
    labels = experiment.dataset.label_set.labels
    have = {
        split: {
            label
            for sample in experiment.samples(split)
            if sample.target is not None
            for label, score in sample.target.labels.items()
            if score >= 0.5
        }
        for split in ("train", "test")
    }
    without = [label for label in labels if label not in have["train"]]
    assert without
    assert f"no sample of 'train' has the label {', '.join(without)}" in caplog.text
    (event,) = (
        json.loads(line)
        for line in (Path("run") / "events.jsonl").read_text().splitlines()
        if "labels_without_positives" in line
    )
    assert (event["split"], event["labels"]) == ("train", without)
    code, out, err = mien("evaluate", "run", "--json")
    assert code == 0, err
    document = json.loads(out)
    of_labels = {row["label"]: row["value"] for row in document["labels"]}
    assert set(of_labels) == have["test"] < set(labels)
    (mean,) = (row["value"] for row in document["rows"] if row["metric"] == "mAP")
    assert mean == pytest.approx(sum(of_labels.values()) / len(of_labels))
