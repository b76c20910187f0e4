"""Comparing runs: seeds in one row, pairs on the same samples, published scores with caveats."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.cli.render.results import render_comparison
from mien.errors import DataError, RunError, UsageError
from mien.evaluate.results.build import build_difference
from mien.evaluate.results.comparison import compare_runs
from mien.evaluate.results.published import PUBLISHED, comparison_caveats, published_rows
from mien.evaluate.results.results import SplitAccess
from mien.evaluate.results.split_accesses import read_split_accesses, record_split_access
from mien.evaluate.scores import SplitScores, scores_file
from mien.labels import EMOTIC
from mien.recipe import EvaluateOptions, ModelOptions, Recipe, TrainOptions
from mien.runs import Run


def scores(seed: int, *, signal: float, rows: int = 60) -> SplitScores:
    targets = (np.random.default_rng(0).random((rows, len(EMOTIC))) < 0.3).astype(np.float32)
    noise = np.random.default_rng([seed, round(10 * signal)]).normal(size=targets.shape)
    return SplitScores(
        split="test",
        label_set=EMOTIC,
        ids=tuple(f"id{row}" for row in range(rows)),
        groups=tuple(f"image{row // 2}" for row in range(rows)),
        scores=(1 / (1 + np.exp(-(signal * targets + noise)))).astype(np.float32),
        targets=targets,
    )


def run(path: Path, found: SplitScores, *, name: str = "fused", seed: int = 0, width: int = 128) -> Path:
    """A scored run; its seed, directory and number of resamples do not count as settings."""
    recipe = Recipe(
        name=name,
        train=TrainOptions(seed=seed),
        model=ModelOptions(width=width),
        evaluate=EvaluateOptions(bootstrap=10 + seed),
    )
    Run.create(path, command="mien train", recipe=recipe.to_json(), digest=recipe.digest())
    found.save(scores_file(path, found.split))
    return path


def test_seeds_of_one_recipe_are_one_row_and_pairs_use_the_same_samples(tmp_path: Path) -> None:
    good = [scores(seed, signal=2.5) for seed in (0, 1)]
    poor = scores(0, signal=0.5)
    paths = [run(tmp_path / f"good{seed}", one, seed=seed) for seed, one in enumerate(good)]
    paths.append(run(tmp_path / "poor", poor, name="narrow", width=64))
    found = compare_runs(paths, resamples=100)
    assert [(row.name, row.metric, row.seeds) for row in found.results.rows] == [
        ("fused", "mAP", (0, 1)),
        ("narrow", "mAP", (0,)),
    ]
    (gap,) = found.results.differences
    assert gap == build_difference(("fused", good), ("narrow", [poor]), metric="mAP", resamples=100)
    assert gap.excludes_zero
    assert found.settings == {"fused": {"model.width": 128}, "narrow": {"model.width": 64}}
    text = render_comparison(found)
    assert "fused - narrow" in text
    assert "narrow: model.width = 64" in text


def test_others_are_compared_with_the_first_run(tmp_path: Path) -> None:
    paths = [
        run(tmp_path / name, scores(0, signal=signal), name=name)
        for name, signal in (("b", 1.0), ("a", 2.0), ("c", 0.0))
    ]
    found = compare_runs(paths, metrics=["mAP", "mRA"], resamples=20)
    pairs = [(item.a, item.b, item.metric) for item in found.results.differences]
    assert pairs == [("b", "a", "mAP"), ("b", "c", "mAP"), ("b", "a", "mRA"), ("b", "c", "mRA")]
    assert found.settings == {"b": {}, "a": {}, "c": {}}


def test_two_runs_of_one_recipe_and_seed_are_two_rows(tmp_path: Path) -> None:
    paths = [run(tmp_path / name, scores(seed, signal=1.0)) for seed, name in enumerate(("then", "now"))]
    found = compare_runs(paths, resamples=20)
    assert [row.name for row in found.results.rows] == [str(path) for path in paths]


def test_one_run_alone_is_a_table_without_differences(tmp_path: Path) -> None:
    found = compare_runs([run(tmp_path / "one", scores(0, signal=1.0))], resamples=20)
    assert len(found.results.rows) == 1
    assert found.results.differences == ()


def _other(kind: str, base: SplitScores) -> SplitScores:
    if kind == "ids":
        return replace(base, ids=("else", *base.ids[1:]))
    if kind == "order":
        return replace(base, ids=base.ids[::-1])
    if kind == "targets":
        targets = base.targets.copy()
        targets[3, 4] = 1 - targets[3, 4]
        return replace(base, targets=targets)
    if kind == "images":
        return replace(base, groups=tuple(str(row // 3) for row in range(len(base))))
    return replace(base, label_set=replace(base.label_set, name="other"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ids", "1 only in the first, such as 'id0', 1 only in the second, such as 'else'"),
        ("order", "another order"),
        ("targets", "the targets of 1, such as 'id3'"),
        ("images", "share an image"),
        ("label set", "'emotic' and 'other'"),
    ],
)
def test_different_samples_are_an_error_that_names_both_runs(tmp_path: Path, kind: str, words: str) -> None:
    base = scores(0, signal=1.0)
    paths = [
        run(tmp_path / "first", base),
        run(tmp_path / "second", _other(kind, base), name="other"),
    ]
    with pytest.raises(DataError) as caught:
        compare_runs(paths, resamples=10)
    assert words in str(caught.value)
    assert all(f"{path} (60 samples of 'test')" in str(caught.value) for path in paths)


def test_a_copy_of_the_data_elsewhere_is_the_same_data(tmp_path: Path) -> None:
    base = scores(0, signal=1.0)
    moved = replace(base, groups=tuple(f"elsewhere/{group}" for group in base.groups))
    found = compare_runs(
        [run(tmp_path / "a", base, name="a"), run(tmp_path / "b", moved, name="b")], resamples=10
    )
    assert found.results.differences[0].value == 0


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no runs"):
        compare_runs([])
    path = run(tmp_path / "one", scores(0, signal=1.0))
    with pytest.raises(UsageError, match="given twice"):
        compare_runs([path, tmp_path / "." / "one"])
    with pytest.raises(RunError, match="no scores at"):
        compare_runs([path], split="val")
    with pytest.raises(RunError, match="is not a run"):
        compare_runs([tmp_path])


def test_split_accesses_are_counted_from_the_events_and_shown(tmp_path: Path) -> None:
    path = run(tmp_path / "one", scores(0, signal=1.0))
    assert read_split_accesses(path) == ()
    for split, model in (("test", "aaa"), ("val", "aaa"), ("test", "bbb"), ("test", "bbb")):
        record_split_access(path, split, model=model, n=60)
    test = SplitAccess(split="test", times=3, weights=2)
    assert read_split_accesses(path) == (test, SplitAccess(split="val", times=1, weights=1))
    found = compare_runs([path], resamples=10)
    assert found.split_accesses == {str(path): test}
    assert "has scored test 3 times" in render_comparison(found)


def test_the_comparison_as_json_has_the_keys_of_results(tmp_path: Path) -> None:
    paths = [run(tmp_path / name, scores(0, signal=s), name=name) for name, s in (("a", 1.0), ("b", 2.0))]
    found = compare_runs(paths, resamples=10)
    row = published_rows("emotic", ["mAP"])[0]
    document: dict[str, Any] = json.loads(
        json.dumps(replace(found, published=((row, "a caveat"),)).to_json())
    )
    assert {"name", "metric", "split", "value", "low", "high", "chance", "n", "seeds"} <= set(
        document["rows"][0]
    )
    assert {"a", "b", "metric", "value", "low", "high"} <= set(document["differences"][0])
    assert document["published"][0]["caveats"] == "a caveat"
    assert document["published"][0]["value"] == 0.3913


# --- Published scores ---


def test_published_rows_are_on_the_same_dataset_and_metric() -> None:
    assert published_rows("playhouse", ["mAP"]) == ()
    assert published_rows("emotic", ["accuracy"]) == ()
    assert published_rows("emotic", ["mAP_emotic"]) == ()  # no publication says that it uses it
    found = published_rows("bold", ["mRA", "mAP"])
    assert [row.metric for row in found] == ["mRA"] * 3 + ["mAP"] * 3
    assert [row.value for row in found[:3]] == sorted((row.value for row in found[:3]), reverse=True)
    marks = {(row.dataset, row.metric): row.value for row in PUBLISHED if row.name == "Xenos et al."}
    assert marks == {
        ("emotic", "mAP"): 0.3852,
        ("caers", "accuracy"): 0.9308,
        ("bold", "mAP"): 0.2666,
        ("bold", "mRA"): 0.6983,
    }
    assert all(row.source and 0 < row.value < 1 for row in PUBLISHED)


def test_drawn_scenes_in_an_official_layout_are_not_mistaken_for_the_dataset() -> None:
    row = published_rows("emotic", ["mAP"])[1]
    assert comparison_caveats(row, split="test", n=7203, official=7203, drawn=False) == ""
    drawn = comparison_caveats(row, split="test", n=40, official=7203, drawn=True)
    assert "40 subjects here, 7,203 in the whole split" in drawn
    assert "only drawn scenes" in drawn
    assert "on split test, the runs on val" in comparison_caveats(
        row, split="val", n=3315, official=3315, drawn=False
    )
    assert "unknown whether" in comparison_caveats(row, split="test", n=50, official=None, drawn=False)
    doubtful = published_rows("emotic", ["mAP"])[0]
    assert comparison_caveats(doubtful, split="test", n=7203, official=7203, drawn=False) == "split doubtful"
