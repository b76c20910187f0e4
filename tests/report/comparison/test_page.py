"""The page that compares runs: the same people, paired numbers, changed people, and clear errors."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from tests.factories.html_pages import read_page
from tests.report.conftest import PlayhouseSamples, draw_samples, make_scores

from mien.cli import main
from mien.errors import DataError, RunError, UsageError
from mien.evaluate.analysis.label_differences import build_label_differences
from mien.evaluate.evaluation import save_split
from mien.evaluate.results.build import build_difference
from mien.evaluate.results.examples import Example
from mien.evaluate.scores import SplitScores
from mien.labels import EMOTIC, LabelSet
from mien.recipe import ModelOptions, Recipe, TrainOptions
from mien.report.comparison.page import comparison_tables, load_comparison, write_comparison
from mien.report.comparison.people import changed_people, ratings
from mien.report.photos import PhotoReader
from mien.report.tables.write import csv_text
from mien.runs import Run

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(1)</script>{{ 7 * 7 }}'


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> PlayhouseSamples:
    return draw_samples(tmp_path_factory.mktemp("drawn"), 40)


def _run(
    path: Path, drawn: PlayhouseSamples, *, name: str, signal: float, seed: int = 0, width: int = 64
) -> Path:
    recipe = Recipe(name=name, model=ModelOptions(width=width), train=TrainOptions(seed=seed))
    Run.create(path, command="train", recipe=recipe.to_json(), digest=recipe.digest())
    save_split(path, make_scores(drawn, signal=signal, seed=seed), drawn.samples, drawn.descriptions)
    return path


@pytest.fixture(scope="module")
def runs(drawn: PlayhouseSamples, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A better model in two seeds, and a worse one."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        _run(folder / "good-0", drawn, name="good", signal=2.6),
        _run(folder / "good-1", drawn, name="good", signal=2.6, seed=1),
        _run(folder / "weak", drawn, name="weak", signal=1.2, width=32),
    ]


def _labels(drawn: PlayhouseSamples, *signals: float) -> list[SplitScores]:
    return [make_scores(drawn, signal=signal, seed=seed) for seed, signal in enumerate(signals)]


def test_numbers_of_the_page_are_those_of_the_comparison(runs: list[Path], tmp_path: Path) -> None:
    found = load_comparison(runs, resamples=50)
    page = read_page(write_comparison(found, tmp_path / "page.html"))
    results = found.comparison.results
    assert {row.name for row in results.rows} == {"good", "weak"}
    assert {item.metric for item in results.differences} == {"mAP", "vad_mae"}
    for row in results.rows:
        assert f"{row.value:.3f}" in page.text
        assert f"{row.low:.3f} to {row.high:.3f}" in page.text
    for item in results.differences:
        assert f"{item.value:+.3f}".replace("-", "\N{MINUS SIGN}") in page.text
    for words in (
        "good is better: the interval excludes zero.",
        "model.width",
        ["40", "people"][0],
        "good-1",
        "Better by good than by weak",
    ):
        assert words in page.text
    assert "say nothing about real photographs" in page.text
    assert sum(tag == "img" for tag, _ in page.tags) > 0


def test_a_difference_by_label_is_that_of_both_models(drawn: PlayhouseSamples) -> None:
    good, weak = _labels(drawn, 2.6), _labels(drawn, 1.2, 1.2)
    rows = build_label_differences(("good", good), ("weak", weak), resamples=100)
    targets = good[0].targets
    assert [row.positives for row in rows] == sorted((row.positives for row in rows), reverse=True)
    for row in rows:
        label = EMOTIC.labels.index(row.label)
        of_weak = np.mean([average_precision_score(targets[:, label], one.scores[:, label]) for one in weak])
        assert row.value_a == pytest.approx(
            average_precision_score(targets[:, label], good[0].scores[:, label])
        )
        assert row.difference == pytest.approx(row.value_a - of_weak)
        assert (row.low is None) == (row.positives < 5)
        assert row.low is None or row.high is None or row.low <= row.difference <= row.high
    mean = build_difference(("good", good), ("weak", weak), metric="mAP", resamples=20)
    assert np.mean([row.difference for row in rows]) == pytest.approx(mean.value)
    assert any(row.excludes_zero for row in rows)


def test_the_same_model_differs_in_no_label(drawn: PlayhouseSamples) -> None:
    same = _labels(drawn, 2.0)
    rows = build_label_differences(("a", same), ("b", same), resamples=50)
    assert {row.difference for row in rows} == {0.0}
    assert not any(row.excludes_zero for row in rows)


def test_people_are_those_whose_rating_changed_most(drawn: PlayhouseSamples) -> None:
    good, weak = _labels(drawn, 2.6), _labels(drawn, 1.2)
    better, worse = changed_people(
        ("good", good), ("weak", weak), ({}, {}), count=3, photos=PhotoReader("none")
    )
    assert (better, worse) == ((), ())  # no one is stored
    change = ratings(good) - ratings(weak)
    examples = {one: _example(one) for one in good[0].ids}
    better, worse = changed_people(
        ("good", good), ("weak", weak), (examples, {}), count=3, photos=PhotoReader("none")
    )
    ranked = np.argsort(-change, kind="stable")
    assert [one.id for one in better] == [good[0].ids[row] for row in ranked[:3]]
    assert all(one.change.startswith("\N{MINUS SIGN}") for one in worse)
    assert better[0].shared_description is None  # one model has none
    assert better[0].views[0].description == "words"


def _example(subject_id: str) -> Example:
    return Example(
        id=subject_id,
        images=(Path("x.png"),),
        frames=(None,),
        boxes=(None,),
        labels={},
        dimensions=None,
        description="words",
    )


def test_tables_have_the_numbers_of_the_comparison(runs: list[Path], tmp_path: Path) -> None:
    arguments = [
        "report",
        "--compare",
        *map(str, runs),
        "--out",
        str(tmp_path / "c.html"),
        "--tables",
        str(tmp_path / "t"),
    ]
    assert main([*arguments, "--photos", "none"]) == 0
    assert {path.name for path in (tmp_path / "t").glob("*.csv")} == {
        *("scores.csv", "differences.csv", "label-differences.csv", "settings.csv")
    }
    text = read_page(tmp_path / "c.html").text.replace("\N{MINUS SIGN}", "-")
    frame = pd.read_csv(tmp_path / "t" / "label-differences.csv", dtype=str)
    assert len(frame) > 15
    assert all(value.removeprefix("-") in text for value in frame["First minus second"])
    assert "left out of this page" in text
    settings = next(
        table for table in comparison_tables(load_comparison(runs, resamples=5)) if table.name == "settings"
    )
    assert pd.read_csv(io.StringIO(csv_text(settings)))["weak"].tolist() == [32]


def test_runs_of_other_people_splits_or_targets_are_refused(
    runs: list[Path], drawn: PlayhouseSamples, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fewer = replace(drawn, samples=drawn.samples[:30])
    with pytest.raises(DataError, match="10 only in the first"):
        load_comparison([runs[0], _run(tmp_path / "fewer", fewer, name="fewer", signal=2.0)])
    scores = make_scores(drawn, signal=1.0, seed=0)
    other = _run(tmp_path / "other", drawn, name="other", signal=1.0)
    save_split(other, replace(scores, targets=1 - scores.targets), drawn.samples, {})
    with pytest.raises(DataError, match="the targets of 40"):
        load_comparison([runs[0], other])
    elsewhere = tmp_path / "elsewhere"
    recipe = Recipe(name="elsewhere")
    Run.create(elsewhere, command="train", recipe=recipe.to_json(), digest=recipe.digest())
    save_split(elsewhere, replace(scores, split="val"), drawn.samples, {})
    with pytest.raises(RunError, match="no scores at"):
        load_comparison([runs[0], elsewhere])
    with pytest.raises(UsageError, match="two runs or more"):
        load_comparison(runs[:1])
    assert main(["report", str(runs[0]), str(runs[1])]) == 2
    assert "add --compare" in capsys.readouterr().err
    assert main(["report", str(runs[0]), "--out", "x.html"]) == 2


def test_a_split_that_all_runs_have_is_found(drawn: PlayhouseSamples, tmp_path: Path) -> None:
    made = [_run(tmp_path / name, drawn, name=name, signal=2.0) for name in ("a", "b")]
    for path in made:
        scores = replace(make_scores(drawn, signal=2.0, seed=3), split="val")
        (path / "scores-test.npz").unlink()
        save_split(path, scores, drawn.samples, {})
    assert load_comparison(made, resamples=5).comparison.split == "val"


def test_hostile_text_is_escaped(drawn: PlayhouseSamples, tmp_path: Path) -> None:
    labels = LabelSet(name=HOSTILE, labels=(HOSTILE, "other"), exclusive=False)
    made = []
    for index, name in enumerate((HOSTILE, f"second {HOSTILE}")):
        path = tmp_path / str(index)
        recipe = Recipe(name="x")
        Run.create(path, command="train", recipe={**recipe.to_json(), "name": name}, digest=str(index))
        rng = np.random.default_rng(index)
        scores = SplitScores(
            split="test",
            label_set=labels,
            ids=tuple(f"{HOSTILE}{row}" for row in range(40)),
            groups=tuple(map(str, range(40))),
            scores=rng.random((40, 2)).astype(np.float32),
            targets=np.eye(2, dtype=np.float32)[np.arange(40) % 2],
        )
        samples = [
            replace(sample, subject=replace(sample.subject, id=subject_id))
            for sample, subject_id in zip(drawn.samples, scores.ids, strict=True)
        ]
        save_split(path, scores, samples, dict.fromkeys(scores.ids, f"{HOSTILE} {index}"))
        made.append(path)
    page = read_page(write_comparison(load_comparison(made, resamples=10), tmp_path / "page.html"))
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert HOSTILE in page.text
