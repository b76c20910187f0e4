"""Models that estimate only labels or only dimensions, their comparison, and metrics that do not apply."""

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
    opened = experiment(folder, heads, f"train.heads={heads}", *overrides)
    steps.train(opened)
    return opened.out


def test_metrics_of_outputs_that_a_model_lacks_are_omitted_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for heads, shown, omitted in (("labels", "mAP", "vad_mae"), ("dimensions", "vad_mae", "mAP")):
        results = steps.evaluate(trained(tmp_path, heads), cache=tmp_path / "cache")
        assert [row.metric for row in results.rows] == [shown]
        assert f"omitted on 'test': {omitted}" in caplog.text
        assert bool(results.labels) == (heads == "labels")


def test_a_recipe_without_an_applicable_metric_is_an_error(tmp_path: Path) -> None:
    out = trained(tmp_path, "labels", 'evaluate.metrics=["vad_mae"]')
    with pytest.raises(DataError, match="vad_mae on split 'test' need valence, arousal and dominance"):
        steps.evaluate(out, cache=tmp_path / "cache")


def test_models_are_compared_by_the_metrics_they_share(tmp_path: Path) -> None:
    runs = [trained(tmp_path, heads) for heads in ("both", "labels", "dimensions")]
    for run in runs:
        steps.evaluate(run, cache=tmp_path / "cache")
    both, labels, dimensions = runs
    assert [one.metric for one in compare_runs([both, labels]).results.differences] == ["mAP"]
    assert [one.metric for one in compare_runs([both, dimensions]).results.differences] == ["vad_mae"]
    with pytest.raises(DataError, match="no metric in common"):
        compare_runs([labels, dimensions])
    with pytest.raises(DataError, match="mAP needs labels, which the model does not predict"):
        compare_runs([both, dimensions], metrics=["mAP"])


def test_a_report_of_dimensions_shows_no_labels(tmp_path: Path) -> None:
    out = trained(tmp_path, "dimensions", "evaluate.metrics=auto")
    steps.evaluate(out, cache=tmp_path / "cache")
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "By label" not in page
    assert "highest scores" not in page
    assert "vad_mae" in page


def test_a_metric_that_cannot_select_the_epoch_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(
        'name = "tiny"\n[data]\nname = "playhouse"\noptions = { train = 10, val = 6, test = 6 }\n'
        '[model]\nfusion = "image_only"\nwidth = 16\nheads = 2\n'
    )
    for wrong in (["train.select_by=map"], ["train.select_by=vad_mae", "train.heads=labels"]):
        sets = [part for override in wrong for part in ("--set", override)]
        for options in ([], ["--dry-run"]):
            out = tmp_path / "run"
            assert main(["train", str(file), "--out", str(out), *sets, *options]) == 2
            assert not out.exists()
    capsys.readouterr()


def test_a_dataset_without_dimensions_can_neither_train_nor_select_by_them(tmp_path: Path) -> None:
    for wrong in ("train.heads=dimensions", "train.select_by=vad_mae"):
        data = ("data.name=manifest", f"data.root={_photos(tmp_path)}", "data.options={}")
        opened = experiment(tmp_path, "caers", *data, "data.label_set=caers", wrong)
        with pytest.raises(ConfigError, match="which no sample of split 'train' has"):
            steps.train(opened)
        with pytest.raises(ConfigError, match="which no sample of split 'train' has"):
            steps.plan_training(opened)


def _photos(folder: Path) -> Path:
    from PIL import Image

    rows = []
    for number, split in enumerate(("train", "train", "val", "test")):
        Image.new("RGB", (40, 30), (number * 40, 9, 9)).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "labels": ["Happy"], "split": split, "id": str(number)})
    file = folder / "people.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file
