"""Rows of prediction sets and abstention: what is counted, on which split, and what is said instead."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.cli.render.results import render_results
from mien.evaluate.calibration.calibrate import fit_calibration
from mien.evaluate.results.results import Evaluation, read_results, write_results
from mien.evaluate.results.uncertainty import (
    ANSWERED,
    build_abstention_rows,
    build_set_rows,
    rate_uncertainty,
)
from mien.evaluate.scores import SplitScores
from mien.labels import CAERS, EMOTIC, LabelSet


def scored(label_set: LabelSet, split: str, *, seed: int = 0, rows: int = 600) -> SplitScores:
    """A calibrated model, with two people per image."""
    rng = np.random.default_rng(seed)
    odds = 1.8 * rng.normal(size=(rows, len(label_set))) - (0 if label_set.exclusive else 1.5)
    if label_set.exclusive:
        scores = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
        targets = np.eye(len(label_set))[[rng.choice(len(label_set), p=one) for one in scores]]
    else:
        scores = 1 / (1 + np.exp(-odds))
        targets = (rng.random(odds.shape) < scores).astype(float)
    return SplitScores(
        split=split,
        label_set=label_set,
        ids=tuple(map(str, range(rows))),
        groups=tuple(str(row // 2) for row in range(rows)),
        scores=scores.astype(np.float32),
        targets=targets.astype(np.float32),
    )


@pytest.mark.parametrize("label_set", [EMOTIC, CAERS], ids=["multi", "exclusive"])
def test_rows_count_what_was_promised(label_set: LabelSet) -> None:
    val, test = scored(label_set, "val", seed=1), scored(label_set, "test", seed=2)
    calibration = fit_calibration(val, coverage=0.7)
    sets = calibration.prediction_sets
    assert sets is not None
    rows = build_set_rows(test, sets, name="fused", resamples=80)
    assert [row.coverage for row in rows] == [0.7, 0.8, 0.9, 0.95]
    assert [row.is_default for row in rows] == [True, False, False, False]
    truth = test.targets > 0.5
    for row in rows:
        contained = sets.apply(test.scores, row.coverage)
        if label_set.exclusive:
            expected = contained[truth].mean()
        else:
            # One or two people of an image have the label: images count equally.
            by_label = []
            for label in range(26):
                images: dict[str, list[float]] = {}
                for person in np.flatnonzero(truth[:, label]):
                    images.setdefault(test.groups[person], []).append(float(contained[person, label]))
                by_label.append(np.mean([np.mean(one) for one in images.values()]))
            expected = np.mean(by_label)
        assert row.value == pytest.approx(expected)
        assert abs(row.value - row.coverage) < 0.06
        assert row.size == pytest.approx(contained.sum(axis=1).mean())
        assert row.complete == pytest.approx((~(truth & ~contained).any(axis=1)).mean())
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.value <= row.high
        assert row.likely_low < row.coverage < row.likely_high
        assert (row.fitted_on, row.split, row.labels) == ("val", "test", len(label_set))


def test_fewer_answers_of_a_calibrated_model_are_right_more_often() -> None:
    val, test = scored(CAERS, "val", seed=1), scored(CAERS, "test", seed=2)
    calibration = fit_calibration(val, answered=0.6)
    *curve, fitted = build_abstention_rows(test, calibration, resamples=80)
    assert [row.answered for row in curve] == list(ANSWERED)
    assert [row.n for row in curve] == [round(600 * share) for share in ANSWERED]
    values = [row.value for row in curve]
    assert all(later > earlier - 0.02 for earlier, later in itertools.pairwise(values))
    assert values[-1] > values[0] + 0.2
    everyone, half = curve[0], curve[5]
    assert (everyone.gain, everyone.gain_low, everyone.gain_high) == (0, 0, 0)
    assert half.gain == pytest.approx(half.value - everyone.value)
    assert half.gain_low is not None
    assert half.gain_low > 0
    assert (fitted.fitted_on, fitted.min_confidence) == ("val", calibration.min_confidence)
    assert fitted.answered == pytest.approx(0.6, abs=0.06)
    sure = calibration.are_sure(calibration.apply(test.scores))
    assert fitted.n == sure.sum()
    right = test.targets[np.arange(600), test.scores.argmax(axis=1)] > 0
    assert fitted.value == pytest.approx(right[sure].mean())


def test_nothing_is_rated_on_the_split_of_the_fit_and_without_labels() -> None:
    val, test = scored(EMOTIC, "val"), scored(EMOTIC, "test", seed=1)
    calibration = fit_calibration(val)
    assert rate_uncertainty(val, calibration) == Evaluation()
    assert rate_uncertainty(replace(test, has_labels=False), calibration) == Evaluation()
    assert rate_uncertainty(test, None, resamples=20).prediction_sets == ()
    assert len(rate_uncertainty(test, None, resamples=20).abstention) == len(ANSWERED)
    earlier = replace(calibration, prediction_sets=None, min_confidence=None)
    found = rate_uncertainty(test, earlier, resamples=20)
    assert "an earlier version of mien" in found.notes[0]
    assert all(not row.fitted_on for row in found.abstention)


def test_small_splits_are_rated_as_far_as_they_go() -> None:
    val, test = scored(CAERS, "val", rows=12), scored(CAERS, "test", seed=1, rows=12)
    found = rate_uncertainty(test, fit_calibration(val), resamples=20)
    assert [row.coverage for row in found.prediction_sets] == [
        0.8
    ]  # 4 images are enough, and 9 are not there
    assert found.notes == (
        "no prediction sets: a coverage of 90% needs 9 images with a label, and val has at most 6",
    )
    assert [row.answered for row in found.abstention if not row.fitted_on] == [1.0, 0.9]
    one = replace(test, groups=("a",) * 12)
    rated = rate_uncertainty(one, fit_calibration(val), resamples=20)
    assert {(row.low, row.high) for row in rated.prediction_sets} == {(None, None)}
    assert {(row.low, row.gain_high) for row in rated.abstention} == {(None, None)}


def test_rows_are_written_read_and_printed(tmp_path: Path) -> None:
    test = scored(EMOTIC, "test", seed=1)
    found = rate_uncertainty(test, fit_calibration(scored(EMOTIC, "val")), name="fused", resamples=20)
    write_results(tmp_path / "results.json", found)
    assert read_results(tmp_path / "results.json") == found
    text = render_results(found)
    for words in (
        "prediction sets",
        "fitted on val",
        "0.90",
        "of 26",
        "best label is right",
        "the surest 50%",
    ):
        assert words in text, words
    assert f"score at least {found.abstention[-1].min_confidence:.3f}, by val" in text
