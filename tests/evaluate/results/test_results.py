"""Result rows and their file."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import DataError, RunError
from mien.evaluate.evaluation import save_split, write_evaluation
from mien.evaluate.results.build import build_difference, build_label_rows, build_score_rows
from mien.evaluate.results.examples import examples_file, read_examples
from mien.evaluate.results.results import (
    MIN_POSITIVES,
    Difference,
    Evaluation,
    SplitAccess,
    read_results,
    write_results,
)
from mien.evaluate.scores import SplitScores, scores_file
from mien.labels import CAERS, EMOTIC, LabelSet
from mien.recipe import EvaluateOptions
from mien.types import Sample, Subject, Target


def _scores(seed: int, *, signal: float = 0.3, label_set: LabelSet = EMOTIC, rows: int = 80) -> SplitScores:
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed)
    if label_set.exclusive:
        targets = np.eye(len(label_set))[fixed.integers(0, len(label_set), rows)]
    else:
        targets = (fixed.random((rows, len(label_set))) < 0.2).astype(float)
        targets[:, 0] = 0.0
        targets[:, 1] = np.arange(rows) < MIN_POSITIVES - 1
    dimensions = fixed.random((rows, 3)).astype(np.float32)
    return SplitScores(
        split="test",
        label_set=label_set,
        ids=tuple(f"id{row}" for row in range(rows)),
        groups=tuple(f"image{row // 2}" for row in range(rows)),
        scores=(0.6 * rng.random(targets.shape) + signal * targets).astype(np.float32),
        targets=targets.astype(np.float32),
        dimensions=dimensions + np.float32(0.1),
        dimension_targets=dimensions,
    )


def test_rows_of_a_multi_label_set() -> None:
    runs = [_scores(seed) for seed in (1, 2)]
    row, vad = build_score_rows("fused", runs, seeds=(1, 2), resamples=100)
    assert (row.name, row.metric, row.split, row.n, row.seeds, row.labels) == (
        "fused",
        "mAP",
        "test",
        80,
        (1, 2),
        25,
    )
    assert row.low is not None
    assert row.high is not None
    assert row.low < row.value < row.high
    assert row.value > row.chance
    assert vad.metric == "vad_mae"
    assert vad.value == pytest.approx(0.1, abs=1e-6)
    assert vad.labels is None


def test_rows_of_an_exclusive_set() -> None:
    plain = replace(_scores(1, label_set=CAERS), dimensions=None)
    rows = build_score_rows("fused", [plain], seeds=(1,), resamples=100)
    assert [row.metric for row in rows] == ["accuracy", "macro_f1"]


def test_metrics_can_be_chosen() -> None:
    rows = build_score_rows("fused", [_scores(1)], seeds=(1,), metrics=("macro_f1",), resamples=50)
    assert [row.metric for row in rows] == ["macro_f1"]
    with pytest.raises(DataError, match="vad_mae needs valence"):
        build_score_rows("fused", [replace(_scores(1), dimensions=None)], seeds=(1,), metrics=("vad_mae",))


def test_the_tail_counts_its_own_labels() -> None:
    rows = build_score_rows("fused", [_scores(1)], seeds=(1,), metrics=("mAP", "mAP_tail"), resamples=50)
    assert [row.labels for row in rows] == [25, 9]
    assert rows[1].low is not None
    assert rows[1].high is not None
    assert rows[1].low <= rows[1].value <= rows[1].high
    assert rows[1].chance < rows[0].chance


def test_a_real_difference_excludes_zero_and_a_spurious_one_does_not() -> None:
    good, same, poor = ([_scores(seed, signal=s)] for seed, s in ((1, 0.4), (2, 0.4), (3, 0.1)))
    found = build_difference(("good", good), ("poor", poor), metric="mAP", resamples=200)
    assert (found.a, found.b, found.metric, found.split) == ("good", "poor", "mAP", "test")
    assert found.value > 0
    assert found.excludes_zero
    assert not build_difference(("good", good), ("same", same), metric="mAP", resamples=200).excludes_zero


def test_only_the_same_samples_are_compared() -> None:
    other = replace(_scores(2), ids=tuple(f"other{row}" for row in range(80)))
    with pytest.raises(DataError, match="not of the same samples"):
        build_difference(("a", [_scores(1)]), ("b", [other]), metric="mAP")
    targets = _scores(1).targets.copy()
    targets[0, 5] = 1 - targets[0, 5]
    with pytest.raises(DataError, match="not of the same samples"):
        build_score_rows("a", [_scores(1), replace(_scores(2), targets=targets)], seeds=(1, 2))
    with pytest.raises(DataError, match="no scores"):
        build_label_rows([])


def test_label_rows_have_prevalence_and_omit_labels_without_samples() -> None:
    rows = build_label_rows([_scores(1), _scores(2)], resamples=50)
    assert [row.label for row in rows] == list(EMOTIC.labels[1:])
    truth = _scores(1).targets
    assert [row.positives for row in rows] == truth.sum(axis=0)[1:].astype(int).tolist()
    assert rows[3].prevalence == pytest.approx(truth[:, 4].mean())
    rare, *others = rows
    assert (rare.positives, rare.low, rare.high) == (MIN_POSITIVES - 1, None, None)
    assert all(row.low is not None and row.low <= row.value for row in others)


def test_results_load_as_written(tmp_path: Path) -> None:
    runs = [_scores(1)]
    results = Evaluation(
        rows=build_score_rows("fused", runs, seeds=(1,), resamples=50),
        differences=(build_difference(("a", runs), ("b", [_scores(2)]), metric="mAP", resamples=50),),
        labels=build_label_rows(runs, resamples=50),
    )
    path = tmp_path / "results.json"
    write_results(path, results)
    assert read_results(path) == results
    raw = json.loads(path.read_text())
    assert raw["schema"] == 1
    keys = {"name", "metric", "split", "value", "low", "high", "chance", "n", "seeds"}
    assert all(keys <= set(row) for row in raw["rows"])
    assert {"a", "b", "metric", "value", "low", "high"} <= set(raw["differences"][0])


def test_split_accesses_are_written_and_read_also_under_their_old_name(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    access = SplitAccess(split="test", times=3, weights=2)
    write_results(path, Evaluation(split_accesses=(access,)))
    document = json.loads(path.read_text())
    assert document["split_accesses"] == [asdict(access)]
    document["looks"] = document.pop("split_accesses")  # as mien 0.1 writes them
    path.write_text(json.dumps(document))
    assert read_results(path).split_accesses == (access,)


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    difference = Difference(a="x", b="y", metric="mAP", split="test", value=0.1, low=0.0, high=1.0)
    later = {**asdict(difference), "p": 0.01}
    path.write_text(json.dumps({"schema": 1, "rows": [], "differences": [later], "more": 1}))
    assert read_results(path).differences == (difference,)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": 2}', '{"schema": 1}', '{"schema": 1, "rows": [{}], "differences": []}'],
)
def test_a_damaged_results_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(RunError, match="no results"):
        read_results(path)
    path.write_text(text)
    with pytest.raises(RunError, match="cannot be read"):
        read_results(path)


def test_an_evaluation_writes_everything_a_report_needs(tmp_path: Path) -> None:
    scores = _scores(1)
    samples = [
        Sample(subject=Subject.still(id, tmp_path / "x.png"), target=Target(labels={}), split="test")
        for id in scores.ids
    ]
    save_split(tmp_path, scores, samples, {"id0": "words"})
    options = EvaluateOptions(bootstrap=50)
    results = write_evaluation(tmp_path, [scores], name="qformer", seed=3, options=options)
    assert read_results(tmp_path / "evaluation.json") == results
    assert [(row.metric, row.seeds) for row in results.rows] == [("mAP", (3,)), ("vad_mae", (3,))]
    assert len(results.labels) == 25
    assert SplitScores.load(scores_file(tmp_path, "test")).ids == scores.ids
    assert [example.id for example in read_examples(examples_file(tmp_path, "test"))] == list(scores.ids)


def test_rows_for_bold_combine_labels_and_dimensions() -> None:
    scores = _scores(1)
    rows = build_score_rows("fused", [scores], seeds=(1,), metrics=("mAP", "mRA", "mR2", "ERS"), resamples=50)
    value = {row.metric: row.value for row in rows}
    assert value["ERS"] == pytest.approx((value["mR2"] + (value["mAP"] + value["mRA"]) / 2) / 2)
    assert {row.metric: row.labels is None for row in rows}["mR2"]
    with pytest.raises(DataError, match="ERS needs valence"):
        build_score_rows("fused", [replace(scores, dimensions=None)], seeds=(1,), metrics=("ERS",))
