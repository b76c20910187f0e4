"""Results say of which kind their intervals are, everywhere they are shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.cli.render.results import render_comparison, render_results
from mien.evaluate.bootstrap import INTERVAL_KIND, MIN_IMAGES
from mien.evaluate.evaluation import save_split, write_evaluation
from mien.evaluate.results.comparison import compare_runs
from mien.evaluate.results.results import EVALUATION, Evaluation, read_results
from mien.evaluate.scores import SplitScores
from mien.labels import EMOTIC
from mien.recipe import EvaluateOptions, Recipe
from mien.report.run.page import write_report
from mien.runs import Run


def _evaluated(run: Path, images: int) -> Evaluation:
    """A run that was scored on this many images of two people each."""
    rng = np.random.default_rng(0)
    targets = (rng.random((2 * images, len(EMOTIC))) < 0.2).astype(np.float32)
    dimensions = rng.random((2 * images, 3)).astype(np.float32)
    scores = SplitScores(
        split="test",
        label_set=EMOTIC,
        ids=tuple(f"id{row}" for row in range(2 * images)),
        groups=tuple(f"image{row // 2}" for row in range(2 * images)),
        scores=(0.6 * rng.random(targets.shape) + 0.3 * targets).astype(np.float32),
        targets=targets,
        dimensions=dimensions + np.float32(0.1),
        dimension_targets=dimensions,
    )
    recipe = Recipe(name=run.name)
    Run.create(run, command="train", recipe=recipe.to_json(), digest=recipe.digest())
    save_split(run, scores, (), {})
    return write_evaluation(run, [scores], name=run.name, seed=0, options=EvaluateOptions(bootstrap=20))


def test_file_text_comparison_and_page_say_the_kind(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    results = _evaluated(run, MIN_IMAGES)
    _evaluated(other, MIN_IMAGES)
    assert (results.interval, results.approximate, results.notes) == (INTERVAL_KIND, (), ())
    assert json.loads((run / EVALUATION).read_text())["interval"] == INTERVAL_KIND
    assert read_results(run / EVALUATION) == results
    compared = compare_runs([run, other], resamples=20)
    assert compared.to_json()["interval"] == INTERVAL_KIND
    for text in (render_results(results), render_comparison(compared)):
        assert "95 % interval" in text
        assert f"intervals: {INTERVAL_KIND}" in text.splitlines()
    page = write_report(run).read_text(encoding="utf-8")
    assert INTERVAL_KIND in page
    assert page.count(">95% interval</th>") == 4  # two metrics, labels, dimensions
    assert "pproximate interval" not in page


def test_no_interval_of_few_images_is_called_95_percent(tmp_path: Path) -> None:
    run = tmp_path / "run"
    results = _evaluated(run, MIN_IMAGES - 1)
    (note,) = results.notes
    assert note == f"intervals on test are approximate: it has {MIN_IMAGES - 1} images, and 95 % needs 100"
    assert results.approximate == read_results(run / EVALUATION).approximate == ("test",)
    text = render_results(results)
    assert "95 %" not in text.replace(note, "")
    assert f"note: {note}" in text.splitlines()
    page = write_report(run).read_text(encoding="utf-8")
    assert page.count(">Approximate interval</th>") == 4
    assert ">95% interval</th>" not in page
    assert "(approximate interval 0." in page  # the headline


def test_results_of_earlier_versions_open_and_claim_no_kind(tmp_path: Path) -> None:
    run = tmp_path / "run"
    _evaluated(run, MIN_IMAGES)
    document = json.loads((run / EVALUATION).read_text())
    del document["interval"], document["approximate"]
    (run / EVALUATION).write_text(json.dumps(document))
    found = read_results(run / EVALUATION)
    assert found.interval == ""
    assert "intervals:" not in render_results(found)
    assert "An earlier version of mien computed these intervals" in write_report(run).read_text("utf-8")


@pytest.mark.parametrize(("first", "second"), [("", INTERVAL_KIND), (INTERVAL_KIND, INTERVAL_KIND)])
def test_evaluations_of_several_splits_name_the_kind_once(first: str, second: str) -> None:
    assert (Evaluation(interval=first) + Evaluation(interval=second)).interval == INTERVAL_KIND
