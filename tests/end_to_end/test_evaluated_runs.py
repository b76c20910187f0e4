"""Evaluating, comparing and predicting: the calibration is fitted, stored, used and shown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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
    """Two seeds of a recipe and a wider model, trained but not evaluated."""
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
def run_json(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Json:
    """run_json("evaluate", run): the JSON that a command prints."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(runs["seed0"].parent / "cache"))

    def command(*arguments: object) -> dict[str, Any]:
        assert main([str(argument) for argument in (*arguments, "--json")]) == 0, capsys.readouterr().err
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return command


def _scored_splits(run: Path) -> list[str]:
    return [event["split"] for event in Run.open(run).events().named("scored")]


def test_evaluating_fits_on_val_once_and_counts_every_access_to_test(
    runs: dict[str, Path], run_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["seed0"]
    first = run_json("evaluate", run)
    assert [access for access in first["split_accesses"] if access["split"] == "test"] == [
        {"split": "test", "times": 1, "weights": 1}
    ]
    assert {row["metric"] for row in first["calibration"]} == {"ECE", "Brier", "macro_f1"}
    assert {row["fitted_on"] for row in first["calibration"]} == {"val"}
    assert next(row["answered"] for row in first["abstention"]) == 1.0
    assert {row["fitted_on"] for row in first["prediction_sets"]} == {"val"}
    assert any("in every prediction set" in note for note in first["notes"])  # val has 16 images
    assert [row["dimension"] for row in first["dimensions"]] == ["valence", "arousal", "dominance"]
    calibration = read_calibration(run)
    assert calibration is not None
    assert (calibration.split, calibration.n) == ("val", 16)
    assert sorted(_scored_splits(run)) == ["test", "val"]
    assert main(["evaluate", str(run)]) == 0
    table = capsys.readouterr().out
    assert "test was scored 2 times by this run, with 1 different model" in table
    assert "ECE, by val" in table
    assert "prediction sets" in table
    assert "best label is right" in table
    # The calibration was fitted to these weights, so val is not scored again.
    assert sorted(_scored_splits(run)) == ["test", "test", "val"]
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "was scored 2 times by this run" in page
    assert "Fitted on split" in page
    assert "When the model is not sure" in page


def test_a_damaged_calibration_is_fitted_again(runs: dict[str, Path], run_json: Json) -> None:
    run = runs["seed1"]
    run_json("evaluate", run)
    before = read_calibration(run)
    (run / CALIBRATION).write_text("{")
    run_json("evaluate", run)
    assert read_calibration(run) == before


def test_predictions_are_calibrated_and_name_the_labels_above_their_thresholds(
    runs: dict[str, Path], run_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["wide"]
    image = sorted((run.parent / "cache").rglob("*.png"))[0]
    uncalibrated = run_json("predict", image, "--run", run, "--detector", "none")
    assert uncalibrated["above"] is None
    run_json("evaluate", run)
    calibration = read_calibration(run)
    assert calibration is not None
    calibrated = run_json("predict", image, "--run", run, "--detector", "none")
    thresholds = calibration.by_label() or {}
    assert set(calibrated["above"]) == {
        name for name, score in calibrated["scores"].items() if score >= thresholds[name]
    }
    assert calibrated["scores"] != uncalibrated["scores"]
    assert (uncalibrated["sure"], uncalibrated["prediction_set"]) == (None, None)
    assert calibration.min_confidence is not None
    best = max(calibrated["scores"].values())
    assert calibrated["sure"] == (best >= calibration.min_confidence and bool(calibrated["above"]))
    assert calibrated["coverage"] == 0.9
    assert calibration.name_sets(np.array([list(uncalibrated["scores"].values())])) == [
        tuple(calibrated["prediction_set"])
    ]
    assert main(["predict", str(image), "--run", str(run), "--detector", "none"]) == 0
    out = capsys.readouterr().out
    assert "above threshold:" in out
    contained = calibrated["prediction_set"]
    others = [name for name in calibrated["scores"] if name not in contained]
    named = contained if len(others) >= len(contained) else others
    assert f"90% prediction set, {len(contained)} of {len(contained) + len(others)} labels: " in out
    assert ", ".join(named) in out
    assert ("not sure:" in out) == (not calibrated["sure"])
    values = json.loads((run / CALIBRATION).read_text())
    (run / CALIBRATION).write_text(json.dumps({**values, "model": "0" * 64}))
    assert main(["predict", str(image), "--run", str(run), "--detector", "none"]) == 4
    assert "fitted to other weights" in capsys.readouterr().err
    (run / CALIBRATION).write_text(json.dumps(values))


def test_runs_are_compared_by_one_command(
    runs: dict[str, Path], run_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in runs.values():
        if not (run / "scores-test.npz").exists():
            run_json("evaluate", run)
    found = run_json("compare", *runs.values())
    assert {(row["name"], tuple(row["seeds"])) for row in found["rows"]} == {
        ("small", (0, 1)),
        ("wide", (0,)),
    }
    assert [(item["a"], item["b"], item["metric"]) for item in found["differences"]] == [
        ("small", "wide", "mAP")
    ]
    assert found["settings"]["wide"] == {"model.width": 24}
    only = run_json("compare", *runs.values(), "--metric", "mAP_emotic", "--published")
    assert {row["metric"] for row in only["rows"]} == {"mAP_emotic"}
    assert only["published"] == []  # no one has published on Playhouse
    assert main(["compare", str(runs["wide"]), str(runs["seed0"])]) == 0
    assert "wide - small" in capsys.readouterr().out
