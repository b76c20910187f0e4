"""Evaluating, comparing and predicting with real runs: what is fitted on val is kept, used, and told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien.cli import main
from mien.evaluate.calibration.calibrate import CALIBRATION, read_calibration
from mien.runs import Run

RECIPE = """
name = "small"
data = { name = "playhouse", options = { train = 32, val = 16, test = 12, seed = 3 } }
model = { fusion = "image_only", width = 16, heads = 2, layers = 1, num_queries = 2 }
train = { epochs = 2, batch_size = 8, lr = 0.003 }
evaluate = { bootstrap = 30 }
run = { threads = 1 }
"""
Json = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two seeds of a recipe and a wider model, trained and not evaluated."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = folder / "small.toml"
    recipe.write_text(RECIPE)
    changes = {
        "seed0": (),
        "seed1": ("--set", "train.seed=1"),
        "wide": ("--set", "model.width=24", "--set", "name=wide"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for name, change in changes.items():
            shared = ("--set", f"run.cache={folder / 'features'}")
            assert main(["train", str(recipe), "--out", str(folder / name), *shared, *change]) == 0
    return {name: folder / name for name in changes}


@pytest.fixture
def say(runs: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Json:
    """say("evaluate", run): what a command prints as JSON."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(runs["seed0"].parent / "cache"))

    def ask(*arguments: object) -> dict[str, Any]:
        assert main([str(argument) for argument in (*arguments, "--json")]) == 0, capsys.readouterr().err
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return ask


def _scored(run: Path) -> list[str]:
    return [event["split"] for event in Run.open(run).events().named("scored")]


def test_evaluating_fits_on_val_once_and_counts_every_look_at_test(
    runs: dict[str, Path], say: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["seed0"]
    first = say("evaluate", run)
    assert [look for look in first["split_accesses"] if look["split"] == "test"] == [
        {"split": "test", "times": 1, "weights": 1}
    ]
    assert {row["metric"] for row in first["calibration"]} == {"ECE", "Brier", "macro_f1"}
    assert {row["fitted_on"] for row in first["calibration"]} == {"val"}
    assert [row["dimension"] for row in first["dimensions"]] == ["valence", "arousal", "dominance"]
    calibration = read_calibration(run)
    assert calibration is not None
    assert (calibration.split, calibration.n) == ("val", 16)
    assert sorted(_scored(run)) == ["test", "val"]
    assert main(["evaluate", str(run)]) == 0
    table = capsys.readouterr().out
    assert "test was scored 2 times by this run, with 1 different model" in table
    assert "ECE, by val" in table
    assert sorted(_scored(run)) == ["test", "test", "val"]  # the calibration is of these weights
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "was scored 2 times by this run" in page
    assert "Fitted on split" in page


def test_a_damaged_calibration_is_made_anew(runs: dict[str, Path], say: Json) -> None:
    run = runs["seed1"]
    say("evaluate", run)
    before = read_calibration(run)
    (run / CALIBRATION).write_text("{")
    say("evaluate", run)
    assert read_calibration(run) == before


def test_predictions_are_calibrated_and_name_the_labels_above_their_thresholds(
    runs: dict[str, Path], say: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["wide"]
    picture = sorted((run.parent / "cache").rglob("*.png"))[0]
    plain = say("predict", picture, "--run", run)["predictions"][0]
    assert "above" not in plain
    say("evaluate", run)
    calibration = read_calibration(run)
    assert calibration is not None
    found = say("predict", picture, "--run", run)["predictions"][0]
    thresholds = calibration.by_label() or {}
    assert set(found["above"]) == {
        name for name, score in found["scores"].items() if score >= thresholds[name]
    }
    assert found["scores"] != plain["scores"]
    assert main(["predict", str(picture), "--run", str(run)]) == 0
    assert "above threshold:" in capsys.readouterr().out
    values = json.loads((run / CALIBRATION).read_text())
    (run / CALIBRATION).write_text(json.dumps({**values, "model": "0" * 64}))
    assert main(["predict", str(picture), "--run", str(run)]) == 4
    assert "fitted to other weights" in capsys.readouterr().err
    (run / CALIBRATION).write_text(json.dumps(values))


def test_runs_are_compared_by_one_command(
    runs: dict[str, Path], say: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in runs.values():
        if not (run / "scores-test.npz").exists():
            say("evaluate", run)
    found = say("compare", *runs.values())
    assert {(row["name"], tuple(row["seeds"])) for row in found["rows"]} == {
        ("small", (0, 1)),
        ("wide", (0,)),
    }
    assert [(item["a"], item["b"], item["metric"]) for item in found["differences"]] == [
        ("small", "wide", "mAP")
    ]
    assert found["settings"]["wide"] == {"model.width": 24}
    only = say("compare", *runs.values(), "--metric", "mAP_emotic", "--published")
    assert {row["metric"] for row in only["rows"]} == {"mAP_emotic"}
    assert only["published"] == []  # Playhouse is nobody's data set
    assert main(["compare", str(runs["wide"]), str(runs["seed0"])]) == 0
    assert "wide - small" in capsys.readouterr().out
