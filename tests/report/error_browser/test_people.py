"""Which labels of a person are found, missed and false alarms, and by what a person is filtered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.evaluate.calibration.calibrate import fit_calibration
from mien.evaluate.results.examples import Example
from mien.evaluate.results.votes import Votes
from mien.evaluate.scores import SplitScores
from mien.labels import LabelSet
from mien.report.error_browser.people import person_entry
from mien.report.predictions import predict_labels

_SET = LabelSet(name="mood", labels=("Glad", "Sad", "Cross"), exclusive=False)


def _scores(values: list[list[float]], truth: list[list[int]], label_set: LabelSet = _SET) -> SplitScores:
    ids = tuple(f"p{row}" for row in range(len(values)))
    return SplitScores(
        split="test",
        label_set=label_set,
        ids=ids,
        groups=ids,
        scores=np.array(values, dtype=np.float32),
        targets=np.array(truth, dtype=np.float32),
    )


def _example(votes: Votes | None = None) -> Example:
    return Example(
        id="p0",
        images=(Path("x.png"),),
        frames=(None,),
        boxes=(None,),
        labels={},
        dimensions=None,
        description="words",
        votes=votes,
    )


def test_labels_are_found_missed_or_false_alarms() -> None:
    scores = _scores([[0.9, 0.2, 0.7]], [[1, 1, 0]])
    entry = person_entry(0, scores, predict_labels(scores, None), _example(), 0.8)
    assert [(item.label, item.kind, item.score) for item in entry.labels] == [
        ("Glad", "h", "0.90"),
        ("Cross", "f", "0.70"),
        ("Sad", "m", "0.20"),
    ]
    assert set(entry.classes.split()) == {
        *("t0", "t1", "h0", "m1", "f2"),
        *("at", "ah", "am", "af"),
        "right",
        "g0",
    }
    assert (entry.best, entry.is_right, entry.rating) == ("Glad", True, "0.80")


def test_someone_without_labels_has_the_best_score_and_is_neither_right_nor_wrong() -> None:
    scores = _scores([[0.1, 0.4, 0.2]], [[0, 0, 0]])
    entry = person_entry(0, scores, predict_labels(scores, None), _example(), float("nan"))
    assert [(item.label, item.kind) for item in entry.labels] == [("Sad", "o")]
    assert (entry.is_right, entry.rating, entry.classes) == (None, "", "g0")


def test_where_one_label_holds_the_best_is_predicted() -> None:
    exclusive = LabelSet(name="one", labels=("Glad", "Sad", "Cross"), exclusive=True)
    scores = _scores([[0.3, 0.4, 0.3]], [[1, 0, 0]], exclusive)
    found = predict_labels(scores, None)
    assert found.predicted.tolist() == [[False, True, False]]
    entry = person_entry(0, scores, found, _example(), 0.5)
    assert {"m0", "f1", "wrong"} <= set(entry.classes.split())


def test_fitted_thresholds_decide_on_calibrated_scores() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 3)) < 0.3).astype(int)
    values = (0.1 + 0.25 * truth + 0.05 * rng.random((200, 3))).tolist()  # below 0.5, and well apart
    scores = _scores(values, truth.tolist())
    calibration = fit_calibration(replace(scores, split="val"))
    assert not predict_labels(scores, None).predicted.any()
    found = predict_labels(scores, calibration)
    assert (found.predicted == truth.astype(bool)).mean() > 0.99
    assert "split val" in found.rule
    np.testing.assert_allclose(found.scores, calibration.apply(scores.scores))


@pytest.mark.parametrize(
    ("chosen", "group"),
    [({"Glad": 3, "Sad": 3}, "g3"), ({"Glad": 3, "Sad": 1}, "g2"), ({"Glad": 1, "Sad": 1}, "g1"), ({}, "g0")],
)
def test_people_are_grouped_by_agreement(chosen: dict[str, int], group: str) -> None:
    scores = _scores([[0.9, 0.2, 0.7]], [[1, 1, 0]])
    example = _example(Votes(annotators=3, chosen=chosen))
    entry = person_entry(0, scores, predict_labels(scores, None), example, 0.8)
    assert group in entry.classes.split()
    assert next(item.votes for item in entry.labels) == f"{chosen.get('Glad', 0)}/3"
