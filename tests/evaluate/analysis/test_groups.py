"""Rows by group of people: the metric of the group alone, its interval, and differences of groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mien.evaluate.analysis.groups import MAX_GROUPS, NOT_ANNOTATED, OTHERS, build_group_rows
from mien.evaluate.evaluation import save_split, write_evaluation
from mien.evaluate.metrics.metric_inputs import metric_value
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.results.breakdown_rows import GroupRow
from mien.evaluate.results.results import read_results
from mien.evaluate.scores import SplitScores
from mien.labels import CAERS, EMOTIC, LabelSet
from mien.recipe import EvaluateOptions
from mien.types import Sample, Subject, Target


def _scores(label_set: LabelSet, rows: int = 300, *, dimensions: bool = False) -> SplitScores:
    """Two people per image; the first half of the people is predicted better."""
    rng = np.random.default_rng(5)
    if label_set.exclusive:
        targets = np.eye(len(label_set))[rng.integers(len(label_set), size=rows)]
    else:
        targets = (rng.random((rows, len(label_set))) < 0.2).astype(float)
    signal = np.where(np.arange(rows) < rows // 2, 3.0, 0.5)[:, None]
    logits = signal * targets + rng.normal(size=targets.shape)
    truth = rng.random((rows, 3)) if dimensions else None
    return SplitScores(
        split="test",
        label_set=label_set,
        ids=tuple(map(str, range(rows))),
        groups=tuple(str(row // 2) for row in range(rows)),
        scores=(1 / (1 + np.exp(-logits))).astype(np.float32),
        targets=targets.astype(np.float32),
        dimensions=None if truth is None else (truth + 0.1).astype(np.float32),
        dimension_targets=None if truth is None else truth.astype(np.float32),
    )


def _halves(scores: SplitScores) -> dict[str, dict[str, str]]:
    return {one: {"age": "Adult" if int(one) < len(scores) // 2 else "Kid"} for one in scores.ids}


def _of(rows: tuple[GroupRow, ...], metric: str) -> list[GroupRow]:
    return [row for row in rows if row.metric == metric]


def test_a_group_has_the_metric_of_its_people_alone() -> None:
    scores = _scores(EMOTIC, dimensions=True)
    rows = build_group_rows(scores, _halves(scores), name="fused", resamples=200)
    assert list(dict.fromkeys(row.metric for row in rows)) == ["mAP", "mRA", "vad_mae"]
    adult, kid = _of(rows, "mRA")
    assert (adult.group, adult.n, adult.images, adult.labels) == ("Adult", 150, 75, 26)
    assert kid.value == pytest.approx(
        roc_auc_score(scores.targets[150:], scores.scores[150:], average="macro"), abs=1e-9
    )
    assert adult.value is not None
    assert kid.value is not None
    assert kid.compared_with == "Adult"
    assert kid.difference == pytest.approx(kid.value - adult.value)
    assert kid.excludes_zero  # by construction
    assert (adult.compared_with, adult.difference) == ("", None)
    assert all(
        row.low < row.value < row.high for row in rows if row.value is not None and row.low and row.high
    )
    assert all(row.compared_with == "" for row in _of(rows, "mAP"))  # it depends on how frequent labels are
    (error, _) = _of(rows, "vad_mae")
    assert error.value == pytest.approx(0.1, abs=1e-6)


def test_exclusive_labels_are_rated_by_accuracy() -> None:
    scores = _scores(CAERS)
    rows = build_group_rows(scores, _halves(scores), resamples=50)
    assert {row.metric for row in rows} == {"accuracy"}
    counted = sum(row.value * row.n for row in rows if row.value is not None) / len(scores)
    assert counted == pytest.approx(metric_value(resolve_metric("accuracy", CAERS), scores))


def test_a_real_gap_is_found_and_none_is_made_up() -> None:
    """Of 20 random halves of the same people, about one in twenty differs clearly."""
    scores, rng = _scores(CAERS, 200), np.random.default_rng(1)
    clear = 0
    for _ in range(20):
        chosen = rng.random(len(scores)) < 0.5
        halves = {one: {"half": str(bool(is_in))} for one, is_in in zip(scores.ids, chosen, strict=True)}
        clear += any(row.excludes_zero for row in build_group_rows(scores, halves, resamples=100))
    assert clear <= 4  # P(more) < 0.003 at 5 %


def test_people_without_the_attribute_are_a_group_and_tiny_groups_have_no_score() -> None:
    scores = _scores(EMOTIC, 60)
    attributes = {one: {"gender": "Male"} for one in scores.ids[:40]}
    attributes |= {one: {"gender": "Female"} for one in scores.ids[40:44]}
    rows = _of(build_group_rows(scores, attributes, resamples=20), "mAP")
    assert [(row.group, row.n) for row in rows] == [("Male", 40), ("Female", 4), (NOT_ANNOTATED, 16)]
    assert (rows[1].value, rows[1].low, rows[1].chance) == (None, None, None)


def test_people_without_the_attribute_are_never_the_reference() -> None:
    scores = _scores(EMOTIC, 60)
    rows = build_group_rows(scores, {one: {"gender": "Male"} for one in scores.ids[:20]}, resamples=20)
    assert {row.compared_with for row in _of(rows, "mRA")} == {"", "Male"}


def test_one_group_or_none_gives_no_rows_and_many_are_cut() -> None:
    scores = _scores(EMOTIC, 120)
    assert build_group_rows(scores, {}) == ()
    assert build_group_rows(scores, {one: {"age": "Adult"} for one in scores.ids}) == ()
    many = {one: {"age": str(int(one) // 6)} for one in scores.ids}
    rows = build_group_rows(scores, many, resamples=5)
    people = {row.group: row.n for row in rows}
    assert len(people) == MAX_GROUPS
    assert sum(people.values()) == 120
    assert people[OTHERS] == 120 - 6 * (MAX_GROUPS - 1)


def test_an_evaluation_writes_the_groups_of_saved_samples(tmp_path: Path) -> None:
    scores = _scores(EMOTIC, 40)
    samples = [
        Sample(subject=Subject.still(one, tmp_path / "x.png"), target=Target(labels={}), split="test")
        for one in scores.ids
    ]
    save_split(tmp_path, scores, samples, {}, attributes=_halves(scores))
    found = write_evaluation(tmp_path, [scores], name="fused", seed=0, options=EvaluateOptions(bootstrap=20))
    assert {row.group for row in found.groups} == {"Adult", "Kid"}
    assert read_results(tmp_path / "evaluation.json").groups == found.groups
