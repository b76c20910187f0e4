"""Explaining the best and the worst predictions of a trained run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.factories.html_pages import read_page

from mien.cli import main
from mien.errors import RunError
from mien.evaluate.explanations.stored import Explanations, read_explanations
from mien.evaluate.results.examples import examples_file
from mien.predict.explain.explainer import ExplainOptions
from mien.recipe.load import parse_recipe
from mien.report.run.page import write_report
from mien.runs import Run
from mien.workflow import steps
from mien.workflow.experiment import open_experiment
from mien.workflow.explanations import explain_examples

OPTIONS = ExplainOptions(cells=2, random_orders=1, steps=2)
TABLE: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "playhouse", "options": {"train": 10, "val": 6, "test": 8, "seed": 3}},
    "describe": {"engine": "fake", "model": "none"},
    "model": {"fusion": "image_only", "width": 16, "heads": 2, "num_queries": 2},
    "train": {"epochs": 1, "batch_size": 4},
    "evaluate": {"bootstrap": 20},
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained and scored. Tests add explanations and pages only."""
    folder = tmp_path_factory.mktemp("evaluated")
    recipe = parse_recipe(TABLE, (f"run.cache={folder / 'features'}",), where="test")
    opened = open_experiment(recipe, out=folder / "run", cache=folder / "cache")
    steps.train(opened)
    steps.evaluate(opened.out, cache=folder / "cache")
    return opened.out


def test_an_evaluated_run_keeps_what_each_annotator_chose(evaluated: Path) -> None:
    lines = [json.loads(line) for line in examples_file(evaluated, "test").read_text().splitlines()]
    assert len(lines) == 8
    for line in lines:
        assert line["votes"]["annotators"] == 3
        assert line["votes"]["chosen"].keys() == line["labels"].keys()  # the union of the annotators


def test_the_best_and_the_worst_are_explained_and_shown(evaluated: Path) -> None:
    seen: list[tuple[int, int]] = []
    errors = explain_examples(
        evaluated, 1, options=OPTIONS, on_progress=lambda done, of: seen.append((done, of))
    )
    assert errors == []
    assert seen == [(0, 2), (1, 2)]
    found = read_explanations(evaluated, "test")
    assert found is not None
    assert len(found.people) == 2
    for person in found.people:
        assert 1 <= len(person.labels) <= 2
        for label in person.labels:
            assert [heat_map.method for heat_map in label.maps].count("occlusion") == 1
    page = read_page(write_report(evaluated))
    assert page.text.count("Why ") == 2 * sum(len(person.labels) for person in found.people)


def test_explanations_by_other_weights_are_left_out(
    evaluated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    explain_examples(evaluated, 1, options=OPTIONS)
    found = read_explanations(evaluated, "test")
    assert found is not None
    Explanations(split="test", model="of others", people=found.people).save(evaluated)
    assert "Why " not in read_page(write_report(evaluated)).text
    assert "other weights" in caplog.text


def test_one_bad_photo_does_not_cost_the_others(evaluated: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for file in evaluated.iterdir():
        if file.is_file() and file.name != "run.lock":
            (run / file.name).write_bytes(file.read_bytes())
    explain_examples(run, 1, options=OPTIONS)
    found = read_explanations(run, "test")
    assert found is not None
    first = found.people[0].id
    path = examples_file(run, "test")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["id"] == first:
            line["images"] = [str(tmp_path / "missing.png")]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (error,) = explain_examples(run, 1, options=OPTIONS)
    assert "missing.png" in str(error)
    found = read_explanations(run, "test")
    assert found is not None
    assert len(found.people) == 1


def test_a_run_without_scores_or_without_a_model_is_an_error(evaluated: Path, tmp_path: Path) -> None:
    Run.create(tmp_path / "run", command="mien train", recipe={"name": "x"}, digest="0" * 64)
    with pytest.raises(RunError):
        explain_examples(tmp_path / "run", 1)


def test_the_command_says_what_it_does_with_photos(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(evaluated), "--photos", "blurred", "--json"]) == 0
    page = read_page(Path(json.loads(capsys.readouterr().out)["report"]))
    assert "4 x 4 cells" in page.text
    assert main(["report", str(evaluated), "--photos", "none"]) == 0
    assert read_page(evaluated / "report.html").image_sources() == []
    assert main(["report", str(evaluated), "--photos", "blured"]) == 2
    assert "blurred" in capsys.readouterr().err
    assert main(["report", str(evaluated), "--faces", "x.onnx"]) == 2
    assert "--photos blurred" in capsys.readouterr().err
