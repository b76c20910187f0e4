"""Files of a run that were changed, cut or taken from another run are named, never used silently."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.attacks.photo_runs import make_run, photo_row, write_recipe

from mien.cli import main

VAD = {"valence": 0.2, "arousal": 0.9, "dominance": 0.5}
ROWS = [
    photo_row(split, label, **VAD)
    for label in ("Anger", "Peace", "Fear")
    for split in ("train", "train", "val", "test", "test")
]
Mien = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos and two evaluated runs, which differ in the seed."""
    folder = tmp_path_factory.mktemp("tampered")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        recipe = write_recipe(folder / "data", ROWS)
        for seed in (0, 1):
            make_run(recipe, folder / f"run-{seed}", f"train.seed={seed}")
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the first run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(made / "run-0", tmp_path / "run"))


@pytest.fixture
def mien(capsys: pytest.CaptureFixture[str], made: Path) -> Mien:
    """mien("report", run): the exit code and what is printed; `predict` predicts a photo."""

    def call(command: str, run: Path) -> tuple[int, str]:
        photo = [str(made / "data" / "photos" / "3.png"), "--detector", "none", "--run"]
        code = main([command, *(photo if command == "predict" else []), str(run)])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return call


def edit(file: Path, **values: Any) -> None:
    """Changes values of a JSON file; a key such as "rows/0/value" leads to them."""
    document = json.loads(file.read_text())
    for key, value in values.items():
        *path, last = key.split("/")
        place = document
        for name in path:
            place = place[int(name) if name.isdigit() else name]
        place[last] = value
    file.write_text(json.dumps(document))


def test_a_calibration_of_another_model_is_refused(made: Path, run: Path, mien: Mien) -> None:
    shutil.copy(made / "run-1" / "calibration.json", run)
    for command in ("predict", "report"):
        code, text = mien(command, run)
        assert code == 4
        assert "calibration.json was fitted to other weights than those of this run" in text
    assert mien("evaluate", run)[0] == 0
    assert mien("predict", run)[0] == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"thresholds": [7.0] * 26}, "thresholds are not from 0 to 1"),
        ({"slopes": [float("nan")] * 26}, "slopes are not one finite number for each of 26 labels"),
        ({"offsets": [0.0]}, "offsets are not one finite number for each of 26 labels"),
        ({"slopes": "abc"}, "calibration.json cannot be read"),
        ({"labels": None}, "calibration.json cannot be read"),
    ],
)
def test_a_calibration_that_was_edited_is_refused(
    run: Path, mien: Mien, values: dict[str, Any], message: str
) -> None:
    edit(run / "calibration.json", **values)
    for command in ("predict", "report"):
        code, text = mien(command, run)
        assert code == 4
        assert message in text


def test_a_calibration_with_labels_in_another_order_is_refused(run: Path, mien: Mien) -> None:
    labels = json.loads((run / "calibration.json").read_text())["labels"]
    edit(run / "calibration.json", labels=labels[::-1])
    code, text = mien("predict", run)
    assert code == 4
    assert "calibration.json has other labels, or in another order" in text


def test_the_weights_of_another_recipe_are_refused(made: Path, run: Path, mien: Mien) -> None:
    shutil.copy(made / "run-1" / "model.safetensors", run)
    (run / "calibration.json").unlink()
    for command in ("evaluate", "predict"):
        code, text = mien(command, run)
        assert code == 4
        assert "train.seed (1, 0)" in text


@pytest.mark.parametrize("offset", [-1, -500, -1001])
def test_features_that_were_changed_in_place_are_named(run: Path, mien: Mien, offset: int) -> None:
    (file,) = run.glob("features/*/test.npy")
    content = bytearray(file.read_bytes())
    content[offset] ^= 0x01
    file.write_bytes(content)
    code, text = mien("evaluate", run)
    assert code == 4
    assert f"the features at {file} have changed, in row" in text
    file.unlink()
    file.with_suffix(".json").unlink()
    assert mien("evaluate", run)[0] == 0


def test_features_without_checksums_still_open(run: Path, mien: Mien) -> None:
    for file in run.glob("features/*/*.json"):
        state = json.loads(file.read_text())
        del state["checksums"]  # as mien 0.1.0 wrote them
        file.write_text(json.dumps(state))
    assert mien("evaluate", run)[0] == 0


@pytest.mark.parametrize(
    ("array", "value", "message"),
    [
        ("scores", np.nan, "scores of split 'test' are not finite, for example of '"),
        ("scores", np.inf, "scores of split 'test' are not finite"),
        ("scores", 1.7, "scores of split 'test' are not from 0 to 1"),
        ("targets", np.nan, "targets of split 'test' are not finite"),
        ("targets", -5, "targets of split 'test' are not from 0 to 1"),
        ("dimensions", np.nan, "dimensions of split 'test' are not finite"),
        ("dimension_targets", np.inf, "dimension_targets of split 'test' are not finite"),
    ],
)
def test_a_number_in_the_scores_that_cannot_be_is_named(
    run: Path, mien: Mien, array: str, value: float, message: str
) -> None:
    file = run / "scores-test.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    arrays[array][1, 1] = value
    np.savez_compressed(file, **arrays)
    for command in ("compare", "report"):
        code, text = mien(command, run)
        assert code == 4
        assert f"{file} cannot be read: {message}" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None, [0.5]])
def test_a_number_in_the_results_that_cannot_be_is_named(run: Path, mien: Mien, value: object) -> None:
    for key in ("rows/0/value", "labels/0/prevalence", "rows/0/n"):
        shutil.copy(run / "evaluation.json", run / "kept.json")
        edit(run / "evaluation.json", **{key: value})
        code, text = mien("report", run)
        assert code == 4
        assert f"evaluation.json cannot be read: {key.rsplit('/')[-1]} is " in text
        shutil.copy(run / "kept.json", run / "evaluation.json")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("manifest.json", "predict"),
        ("evaluation.json", "report"),
        ("calibration.json", "predict"),
        ("samples-test.jsonl", "report"),
        ("scores-test.npz", "compare"),
        ("model.safetensors", "predict"),
    ],
)
def test_a_cut_file_is_named(run: Path, mien: Mien, name: str, command: str, share: float) -> None:
    file = run / name
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    code, text = mien(command, run)
    if name == "samples-test.jsonl" and share == 0:
        assert code == 0  # no samples, so no image is shown
        return
    assert code == 4
    assert name in text
    assert "unexpected" not in text
