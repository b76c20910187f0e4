"""Models of labels alone and of dimensions alone, beside each other and beside metrics that do not fit."""

import json
from pathlib import Path
from typing import Any

import pytest

from mien.cli import main
from mien.errors import ConfigError, DataError
from mien.evaluate.results.comparison import compare_runs
from mien.recipe.load import parse_recipe
from mien.workflow import steps
from mien.workflow.experiment import Experiment, open_experiment

TABLE: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "playhouse", "options": {"train": 10, "val": 6, "test": 6, "seed": 3}},
    "describe": {"engine": "fake", "model": "none"},
    "model": {"fusion": "image_only", "width": 16, "heads": 2, "num_queries": 2},
    "train": {"epochs": 1, "batch_size": 4},
    "evaluate": {"metrics": ["mAP", "vad_mae"], "bootstrap": 20},
}


def experiment(folder: Path, name: str, *overrides: str) -> Experiment:
    shared = f"run.cache={folder / 'features'}"
    recipe = parse_recipe(TABLE, (f"name={name}", shared, *overrides), where="test")
    return open_experiment(recipe, out=folder / name, cache=folder / "cache")


def trained(folder: Path, heads: str, *overrides: str) -> Path:
    made = experiment(folder, heads, f"train.heads={heads}", *overrides)
    steps.train(made)
    return made.out


def test_metrics_of_what_a_model_does_not_estimate_are_left_out_and_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for heads, kept, lost in (("labels", "mAP", "vad_mae"), ("dimensions", "vad_mae", "mAP")):
        results = steps.evaluate(trained(tmp_path, heads), cache=tmp_path / "cache")
        assert [row.metric for row in results.rows] == [kept]
        assert f"left out on 'test': {lost}" in caplog.text
        assert bool(results.labels) == (heads == "labels")


def test_where_no_metric_is_left_that_is_an_error(tmp_path: Path) -> None:
    out = trained(tmp_path, "labels", 'evaluate.metrics=["vad_mae"]')
    with pytest.raises(DataError, match="vad_mae on split 'test' need valence, arousal and dominance"):
        steps.evaluate(out, cache=tmp_path / "cache")


def test_models_are_compared_by_what_they_have_in_common(tmp_path: Path) -> None:
    runs = [trained(tmp_path, heads) for heads in ("both", "labels", "dimensions")]
    for run in runs:
        steps.evaluate(run, cache=tmp_path / "cache")
    both, labels, dimensions = runs
    assert [one.metric for one in compare_runs([both, labels]).results.differences] == ["mAP"]
    assert [one.metric for one in compare_runs([both, dimensions]).results.differences] == ["vad_mae"]
    with pytest.raises(DataError, match="no metric in common"):
        compare_runs([labels, dimensions])
    with pytest.raises(DataError, match="mAP needs labels, which the model does not estimate"):
        compare_runs([both, dimensions], metrics=["mAP"])


def test_a_report_of_dimensions_shows_no_labels(tmp_path: Path) -> None:
    out = trained(tmp_path, "dimensions", "evaluate.metrics=auto")
    steps.evaluate(out, cache=tmp_path / "cache")
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "By label" not in page
    assert "highest scores" not in page
    assert "vad_mae" in page


def test_what_cannot_be_learned_or_chosen_by_is_found_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(
        'name = "tiny"\n[data]\nname = "playhouse"\noptions = { train = 10, val = 6, test = 6 }\n'
        '[model]\nfusion = "image_only"\nwidth = 16\nheads = 2\n'
    )
    for wrong in (["train.select_by=map"], ["train.select_by=vad_mae", "train.heads=labels"]):
        sets = [part for one in wrong for part in ("--set", one)]
        for more in ([], ["--dry-run"]):
            out = tmp_path / "run"
            assert main(["train", str(file), "--out", str(out), *sets, *more]) == 2
            assert not out.exists()
    capsys.readouterr()


def test_a_data_set_without_dimensions_cannot_teach_or_choose_by_them(tmp_path: Path) -> None:
    for wrong in ("train.heads=dimensions", "train.select_by=vad_mae"):
        made = experiment(tmp_path, "caers", 'data.name="manifest"', f"data.root={_photos(tmp_path)}", wrong,
                          "data.options={}", "data.label_set=caers")  # fmt: skip
        with pytest.raises(ConfigError, match="which no sample of split 'train' has"):
            steps.train(made)
        with pytest.raises(ConfigError, match="which no sample of split 'train' has"):
            steps.plan_training(made)


def _photos(folder: Path) -> Path:
    from PIL import Image

    rows = []
    for number, split in enumerate(("train", "train", "val", "test")):
        Image.new("RGB", (40, 30), (number * 40, 9, 9)).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "labels": ["Happy"], "split": split, "id": str(number)})
    file = folder / "people.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


@pytest.mark.parametrize("metric", [None, "mAP"])
def test_a_grid_of_heads_without_a_common_metric_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], metric: str | None
) -> None:
    base = tmp_path / "base.toml"
    base.write_text(
        'name = "tiny"\n[data]\nname = "playhouse"\noptions = { train = 10, val = 6, test = 6 }\n'
        '[model]\nfusion = "image_only"\nwidth = 16\nheads = 2\n'
        '[train]\nepochs = 1\n[evaluate]\nmetrics = ["mAP", "vad_mae"]\nbootstrap = 20\n'
    )
    grid = tmp_path / "heads.toml"
    named = "" if metric is None else f'metric = "{metric}"\n'
    grid.write_text(
        f'name = "heads"\nbase = "base.toml"\nreference = "labels"\nseeds = [0]\n{named}'
        '[variants.labels]\nset = ["train.heads=labels"]\n'
        '[variants.dimensions]\nset = ["train.heads=dimensions"]\n'
    )
    assert main(["ablate", str(grid), "--out", str(tmp_path / "out")]) == 2
    assert "in common" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
