"""Values that a model predicts outside of their scale are bounded where they are shown, and it is said."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.attacks.photo_runs import make_run, photo_row, write_recipe

from mien.cli import main
from mien.errors import DataError, RunError
from mien.evaluate.scores import SplitScores
from mien.model.checkpoint import load_trained, save_trained
from mien.predict.predictor import Predictor
from mien.recipe.data import lowest_dimension
from mien.types import Prediction

VAD = {"valence": 0.0, "arousal": 1.0, "dominance": 0.5}
ROWS = [
    photo_row(split, label, **VAD)
    for label in ("Anger", "Peace", "Fear")
    for split in ("train", "train", "val", "test")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos and the run of a model that answers -0.28, 1.13 and 0.5 for everyone."""
    folder = tmp_path_factory.mktemp("scale")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        recipe = write_recipe(folder / "data", ROWS)
        run = make_run(recipe, folder / "run", "model.fusion=image_only", evaluated=False)
        _answer(run, [-0.28, 1.13, 0.5])
        assert main(["evaluate", str(run)]) == 0
    return folder


def _answer(run: Path, values: list[float]) -> None:
    trained = load_trained(run)
    head = trained.classifier.dimensions
    assert head is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor(values))
    save_trained(run, trained)


def _predict(folder: Path, *options: str) -> list[str]:
    images = [str(folder / "data" / "photos" / f"{number}.png") for number in (0, 1)]
    return ["predict", *images, "--run", str(folder / "run"), "--detector", "none", *options]


def test_predictions_are_bounded_and_say_so_once(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(_predict(folder)) == 0
    line = "valence 0.0/10 (bounded), arousal 10.0/10 (bounded), dominance 5.0/10"
    assert capsys.readouterr().out.count(line) == 2
    said = [record.getMessage() for record in caplog.records if "bounded" in record.getMessage()]
    assert len(said) == 1
    assert "valence of " in said[0]
    assert "is -2.8/10; values outside of the scale of 0 to 10 are bounded" in said[0]

    assert main(_predict(folder, "--json")) == 0
    for found in map(json.loads, capsys.readouterr().out.splitlines()):
        assert (found["valence"], found["arousal"], found["dominance"]) == (0.0, 1.0, 0.5)
        assert found["bounded"] == ["valence", "arousal"]
        assert all(0 <= score <= 1 for score in found["scores"].values())


def test_results_in_python_are_bounded(folder: Path) -> None:
    person = Predictor.from_pretrained(folder / "run", device="cpu")(folder / "data" / "photos" / "0.png")[0]
    assert person.dimensions == {"valence": 0.0, "arousal": 1.0, "dominance": 0.5}
    assert person.bounded == ("valence", "arousal")
    row = person.to_dict()
    assert (row["valence"], row["arousal"], row["bounded"]) == (0.0, 1.0, ["valence", "arousal"])


def test_drawn_results_are_bounded(folder: Path) -> None:
    results = Predictor.from_pretrained(folder / "run", device="cpu")(folder / "data" / "photos" / "0.png")
    assert "arousal 10.0/10 (bounded)" in results.plot().svg


def test_metrics_use_what_the_model_says(folder: Path) -> None:
    saved = SplitScores.load(folder / "run" / "scores-test.npz")
    assert saved.dimensions is not None
    assert saved.dimensions[0].tolist() == pytest.approx([-0.28, 1.13, 0.5])
    rows = json.loads((folder / "run" / "evaluation.json").read_text())["rows"]
    assert next(row["value"] for row in rows if row["metric"] == "vad_mae") == pytest.approx(0.41 / 3)


def test_the_report_bounds_its_examples(folder: Path) -> None:
    assert main(["report", str(folder / "run")]) == 0
    page = (folder / "run" / "report.html").read_text()
    assert "Valence 0.00, bounded (annotators 0.00); Arousal 1.00, bounded (annotators 1.00)" in page
    assert not re.search(r"(Valence|Arousal|Dominance) (1\.[1-9]|\N{MINUS SIGN})", page)


@pytest.mark.parametrize(("dataset", "lowest"), [("emotic", 0.1), ("bold", 0.1), ("manifest", 0.0)])
def test_the_scale_is_that_of_the_annotators(dataset: str, lowest: float) -> None:
    assert lowest_dimension(dataset) == lowest


@pytest.mark.parametrize("value", [1.01, -0.01, np.nan, np.inf])
def test_no_prediction_can_hold_a_value_outside_of_the_scale(value: float) -> None:
    with pytest.raises(DataError, match="dimension 'arousal' has the score"):
        Prediction(subject_id="a", label_set="emotic", scores={}, dimensions={**VAD, "arousal": value})


def test_a_subject_whose_values_are_not_finite_fails_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.from_pretrained(folder / "run", device="cpu")
    head = predictor.trained.classifier.dimensions
    assert head is not None

    def one_is_nan(module: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
        output[1, 0] = torch.nan
        return output

    head.register_forward_hook(one_is_nan)
    photos = [folder / "data" / "photos" / f"{number}.png" for number in range(3)]
    found = list(predictor.stream(photos))
    assert [results.status for results in found] == ["ok", "failed", "ok"]
    (error,) = found[1].errors
    assert isinstance(error, RunError)
    assert "1.png' are not finite" in str(error)
