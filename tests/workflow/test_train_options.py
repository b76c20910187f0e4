"""Training: dry runs, subjects without a description, and models of another recipe."""

import json
from pathlib import Path

import pytest

from mien.cli import main
from mien.errors import DataError, RunError
from mien.model.checkpoint import MODEL_FILE
from mien.recipe.load import parse_recipe
from mien.workflow import steps
from mien.workflow.experiment import Experiment, open_experiment

TABLE = {
    "name": "tiny",
    "data": {"name": "playhouse", "options": {"train": 10, "val": 6, "test": 6, "seed": 3}},
    "describe": {"engine": "fake", "model": "none"},
    "model": {"width": 16, "heads": 2, "num_queries": 2},
    "train": {"epochs": 2, "batch_size": 4},
}
IMAGE_ONLY = "train.missing_descriptions=image_only"


def experiment(folder: Path, *overrides: str) -> Experiment:
    recipe = parse_recipe(TABLE, overrides, where="test")
    return open_experiment(recipe, out=folder / "run", cache=folder / "cache")


@pytest.fixture
def recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "tiny.toml"
    file.write_text(
        'name = "tiny"\n[data]\nname = "playhouse"\noptions = { train = 10, val = 6, test = 6 }\n'
        "[model]\nwidth = 16\nheads = 2\n[train]\nepochs = 2\nbatch_size = 4\n"
    )
    return file


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(recipe_file), "--out", str(tmp_path / "run"), "--dry-run"]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["steps"], document["batch"]) == (6, 4)
    assert document["inputs"][0] == {
        "split": "train", "samples": 10, "features": 0, "features_wanted": 10, "descriptions": 0,
    }  # fmt: skip
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "nothing is trained" in shown
    assert "16 subjects have no description: create them with: mien describe RECIPE" in shown
    assert "16 images must be encoded first" in shown
    assert not (tmp_path / "run").exists()


def test_a_dry_run_without_the_weights_says_what_it_assumes(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ["--set", "features.vision=../no/such/encoder", "--set", "features.tokenizer=../no/such/words"]
    assert main(["train", str(recipe_file), "--out", str(tmp_path / "run"), "--dry-run", *missing]) == 0
    shown = capsys.readouterr().out
    assert "assuming 257 tokens of 1024 numbers" in shown
    assert "assuming a vocabulary of 30522" in shown


def test_descriptions_and_features_are_counted(tmp_path: Path) -> None:
    opened = experiment(tmp_path)
    steps.describe(opened, splits=["train"])
    steps.train(experiment(tmp_path, IMAGE_ONLY, "train.epochs=1"))
    found = steps.plan_training(opened)
    assert [(one.features, one.features_wanted, one.descriptions) for one in found.inputs] == [
        (10, 10, 10),
        (6, 6, 0),
    ]
    assert found.notes == ("6 subjects have no description: create them with: mien describe RECIPE",)


def test_subjects_without_a_description_are_an_error_or_scored_by_the_image(tmp_path: Path) -> None:
    steps.describe(experiment(tmp_path), splits=["train"])
    with pytest.raises(DataError, match="6 of 6 subjects of split 'val' have no description") as caught:
        steps.train(experiment(tmp_path))
    assert "mien describe" in caught.value.hint
    opened = experiment(tmp_path, IMAGE_ONLY)
    steps.train(opened)
    scores = steps.score(opened, "test")
    assert scores.scores.shape == (6, 26)
    assert scores.scores.std() > 0


def test_training_without_any_description_is_allowed(tmp_path: Path) -> None:
    opened = experiment(tmp_path, IMAGE_ONLY)
    steps.train(opened)
    assert not opened.store.exists()
    assert len(steps.score(opened, "test")) == 6


def test_a_model_of_another_recipe_is_refused(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    one, other = experiment(here, IMAGE_ONLY), experiment(there, IMAGE_ONLY, "train.lr=0.01")
    for opened in (one, other):
        steps.train(opened)
    (here / "run" / MODEL_FILE).write_bytes((there / "run" / MODEL_FILE).read_bytes())
    with pytest.raises(RunError, match=r"trained by recipe .*train\.lr \(0\.01, 0\.0005\)"):
        steps.score(one, "test")


def test_a_model_of_dimensions_alone_shows_no_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = experiment(
        tmp_path, IMAGE_ONLY, "train.heads=dimensions", "run.cache=" + str(tmp_path / "cache")
    )
    assert steps.train(opened).metric == "vad_mae"
    results = steps.evaluate(tmp_path / "run", cache=tmp_path / "cache")
    assert [row.metric for row in results.rows] == ["vad_mae", "mR2"]
    assert not results.labels
    assert len(results.dimensions) == 3
    (prediction,) = steps.predict(tmp_path / "run", [opened.samples("test")[0].subject])
    assert prediction.scores == {}
    assert prediction.dimensions is not None
    assert main(["report", str(tmp_path / "run")]) == 0
    image = opened.samples("test")[0].subject.images[0].path
    assert main(["predict", str(image), "--run", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "valence" in shown
    assert "Happiness" not in shown
