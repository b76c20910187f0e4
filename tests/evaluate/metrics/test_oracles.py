"""Every metric, in every difficult case, against its definition in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.evaluate.oracles import (
    brier_of_classes,
    brier_of_labels,
    calibration_of_highest,
    calibration_of_labels,
    f1_at_half,
    f1_of_highest,
    interpolated_precision,
    mean_area,
    mean_error,
    mean_explained,
    mean_over_labels,
    mean_precision,
    recognition,
    share_right,
    tail_precision,
)

from mien.errors import ConfigError, DataError
from mien.evaluate.metrics.metric import Metric
from mien.evaluate.metrics.ranking import random_interpolated_precisions
from mien.evaluate.metrics.table import load_metric, resolve_metric
from mien.labels import CAERS, EMOTIC, LabelSet
from mien.registry import registered_names

Made = tuple[np.ndarray, np.ndarray]

ROWS, LABELS = 40, 6


# --- Cases ---


def several(seed: int, *, levels: int = 0, soft: bool = False, bare: bool = False) -> Made:
    """Any number of labels. `levels`: few distinct scores, for ties; `bare`: a label that no sample has, one
    that only the first has, one that all have.
    """
    rng = np.random.default_rng(seed)
    truth = rng.random((ROWS, LABELS)) < rng.uniform(0.1, 0.5, LABELS)
    truth[0], truth[1] = True, False
    if bare:
        truth[:, 1], truth[:, 2], truth[:, 3] = False, np.arange(ROWS) == 0, True
    scores = np.clip(rng.random(truth.shape) * 0.8 + 0.2 * truth, 0, 1)
    if levels:
        scores = np.round(scores * levels) / levels
    if not soft:
        return scores, truth.astype(np.float64)
    targets = np.where(
        truth, rng.choice([0.5, 0.7, 1.0], truth.shape), rng.choice([0.0, 0.3, 0.49], truth.shape)
    )
    return scores, targets


def exclusive(seed: int, *, levels: int = 0, soft: bool = False, bare: bool = False) -> Made:
    """Exactly one label. `soft`: annotators disagree, the label is the most frequent choice; `bare`: labels
    that no sample has, one of which is predicted.
    """
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, LABELS - 2 if bare else LABELS, ROWS)
    targets = np.eye(LABELS)[classes]
    scores = rng.random((ROWS, LABELS)) + 0.6 * targets
    if bare:
        scores[:, LABELS - 1] = 0.0
    if levels:
        scores = 0.1 + np.round(scores * levels)
    if soft:
        targets = 0.4 * targets + 0.6 / LABELS
    return scores / scores.sum(axis=1, keepdims=True), targets


def dimensions(seed: int, *, levels: int = 0, soft: bool = False, bare: bool = False) -> Made:
    """Estimates that leave 0..1. `soft`: some are not annotated; `bare`: a dimension on which all agree."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(1, 11, (ROWS, 3)) / 10
    values = 0.5 * targets + 0.9 * rng.random(targets.shape) - 0.1
    if levels:
        values = np.round(values * levels) / levels
    if soft:
        targets[rng.random(targets.shape) < 0.4] = np.nan
    if bare:
        targets[:, 1] = np.where(np.isnan(targets[:, 1]), np.nan, 0.3)
    return values, targets


def both(seed: int, **case: Any) -> Made:
    (scores, targets), (values, truths) = several(seed, **case), dimensions(seed, **case)
    return np.hstack((scores, values)), np.hstack((targets, truths))


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "ties": {"levels": 4},
    "soft": {"soft": True},
    "without positives": {"bare": True},
    "all at once": {"levels": 4, "soft": True, "bare": True},
}
Make = Callable[..., Made]
ORACLES: dict[tuple[str, str], tuple[Callable[[np.ndarray, np.ndarray], float], Make]] = {
    ("mAP", "emotic"): (mean_precision, several),
    ("mAP_emotic", "emotic"): (mean_over_labels(interpolated_precision), several),
    ("mAP_tail", "emotic"): (tail_precision, several),
    ("mRA", "emotic"): (mean_area, several),
    ("macro_f1", "emotic"): (f1_at_half, several),
    ("ECE", "emotic"): (calibration_of_labels, several),
    ("Brier", "emotic"): (brier_of_labels, several),
    ("accuracy", "caers"): (share_right, exclusive),
    ("macro_f1", "caers"): (f1_of_highest, exclusive),
    ("ECE", "caers"): (calibration_of_highest, exclusive),
    ("Brier", "caers"): (brier_of_classes, exclusive),
    ("vad_mae", "emotic"): (mean_error, dimensions),
    ("mR2", "emotic"): (mean_explained, dimensions),
    ("ERS", "emotic"): (recognition, both),
}
SETS: dict[str, LabelSet] = {"emotic": EMOTIC, "caers": CAERS}


def resolve(name: str, label_set: str) -> Metric:
    return resolve_metric(name, SETS[label_set])


def test_every_metric_has_an_oracle() -> None:
    """One oracle is enough for a function that serves both kinds of label sets."""
    covered = {resolve(*key).function for key in ORACLES}
    for name in registered_names("metric"):
        for label_set in (EMOTIC, CAERS):
            try:
                found = resolve_metric(name, label_set).function
            except ConfigError:
                assert (name, label_set) == ("accuracy", EMOTIC)
                continue
            assert found in covered, name


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("key", ORACLES, ids="-".join)
def test_a_metric_equals_its_definition(key: tuple[str, str], case: str, seed: int) -> None:
    oracle, make = ORACLES[key]
    given = make(seed, **CASES[case])
    scores, targets = given
    assert resolve(*key).value(targets, scores) == pytest.approx(oracle(*given), abs=1e-9)


@pytest.mark.parametrize("key", ORACLES, ids="-".join)
def test_each_case_is_what_its_name_says(key: tuple[str, str]) -> None:
    """Ties, soft targets and missing labels each change the input, so they are really present."""
    _, make = ORACLES[key]
    plain = make(0)
    for case, given in ((name, make(0, **changes)) for name, changes in CASES.items() if name != "plain"):
        assert not (np.array_equal(given[0], plain[0]) and np.array_equal(given[1], plain[1])), case
    scores, _ = make(0, levels=4)
    assert len(np.unique(scores)) < len(np.unique(plain[0])) / 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ORACLES, ids="-".join)
def test_scores_that_are_not_finite_are_refused(key: tuple[str, str], bad: float) -> None:
    """In every column: labels and dimensions."""
    scores, targets = ORACLES[key][1](0)
    for column in range(scores.shape[1]):
        invalid = scores.copy()
        invalid[5, column] = bad
        with pytest.raises(DataError, match="not finite"):
            resolve(*key).value(targets, invalid)


@pytest.mark.parametrize("key", [key for key in ORACLES if load_metric(key[0]).reads_labels], ids="-".join)
def test_targets_that_are_not_finite_are_refused(key: tuple[str, str]) -> None:
    scores, targets = ORACLES[key][1](0)
    targets[5, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        resolve(*key).value(targets, scores)


@pytest.mark.parametrize("key", ORACLES, ids="-".join)
def test_an_empty_split_is_refused(key: tuple[str, str]) -> None:
    scores, targets = ORACLES[key][1](0)
    with pytest.raises(DataError):
        resolve(*key).value(targets[:0], scores[:0])


@pytest.mark.parametrize("name", ["mAP", "mAP_emotic", "mAP_tail"])
def test_equal_scores_for_all_reach_less_than_chance(name: str) -> None:
    _, targets = several(0, bare=True)
    metric = resolve(name, "emotic")
    assert metric.value(targets, np.full(targets.shape, 0.3)) < metric.chance(targets)


@pytest.mark.parametrize("name", ["mAP", "mAP_emotic"])
@pytest.mark.parametrize(("rows", "positives"), [(1, 1), (2, 1), (100, 2), (100, 50), (4000, 40)])
def test_chance_is_what_a_random_order_reaches(name: str, rows: int, positives: int) -> None:
    targets = (np.arange(rows) < positives).astype(np.float64)[:, None]
    metric = resolve(name, "emotic")
    orders = np.random.default_rng(1).permuted(np.tile(np.linspace(0, 1, rows), (2000, 1)), axis=1)
    reached = np.mean([metric.value(targets, one[:, None]) for one in orders[: 2000 if rows < 200 else 200]])
    assert reached == pytest.approx(metric.chance(targets), rel=0.08)


def test_chance_depends_on_counts_only_and_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = np.zeros((50, 4))
    targets[:7, 0], targets[10:17, 1], targets[:20, 2] = 1.0, 1.0, 1.0
    first = random_interpolated_precisions(targets)
    assert first[0] == first[1] < first[2]
    assert np.isnan(first[3])
    monkeypatch.setattr("numpy.random.default_rng", None)  # nothing more is drawn, in any order of labels
    again = random_interpolated_precisions(targets[::-1, ::-1])
    np.testing.assert_array_equal(again[::-1], first)


@pytest.mark.parametrize(("rows", "positives", "more"), [(100, 2, 0.04), (100, 50, 0.02), (4000, 40, 0.002)])
def test_chance_is_above_the_prevalence_for_few_samples(rows: int, positives: int, more: float) -> None:
    targets = (np.arange(rows) < positives).astype(np.float64)[:, None]
    assert load_metric("mAP").chance(targets) - positives / rows == pytest.approx(more, rel=0.25)
