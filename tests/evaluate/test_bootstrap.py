"""Intervals: weighted metrics equal those of repeated samples; intervals cover the truth as stated."""

from __future__ import annotations

import numpy as np
import pytest

from mien.errors import DataError
from mien.evaluate import bootstrap
from mien.evaluate.bootstrap import (
    Interval,
    difference,
    interval,
    intervals,
    label_intervals,
)
from mien.evaluate.metrics.classification import ACCURACY
from mien.evaluate.metrics.dimensions import VAD_MAE
from mien.evaluate.metrics.metric import Metric, SampleWeight
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.ranking import MAP, MAP_TAIL
from mien.evaluate.metrics.table import resolve_metric
from mien.labels import CAERS, EMOTIC


def given(metric: Metric, targets: np.ndarray, *scores: np.ndarray) -> MetricInput:
    return MetricInput(metric=metric, targets=targets, scores=scores)


def _data(seed: int, rows: int = 120, labels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Scores full of ties, targets with a rare label and one that no sample has."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((rows, labels)) < 0.3).astype(np.float64)
    targets[:, 1] = 0.0
    targets[:, 2] = np.arange(rows) == 3
    return np.round(0.6 * rng.random((rows, labels)) + 0.3 * targets, 1), targets


def _alone(rows: int) -> list[str]:
    return [str(row) for row in range(rows)]


def _one_tail(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels so unequally frequent that the same are rarest in every draw."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((120, 5)) < (0.8, 0.05, 0.6, 0.04, 0.0)).astype(np.float64)
    return np.round(0.6 * rng.random((120, 5)) + 0.3 * targets, 1), targets


def _exclusive(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = np.eye(4)[rng.integers(0, 4, 120)]
    return np.round(rng.random((120, 4)) + 0.4 * targets, 1), targets


def _probabilities(seed: int) -> tuple[np.ndarray, np.ndarray]:
    scores, targets = _exclusive(seed)
    return scores / scores.sum(axis=1, keepdims=True), targets


def _with_gaps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.random((120, 3))
    targets[rng.random((120, 3)) < 0.3] = np.nan
    return rng.random((120, 3)), targets


def _labels_and_dimensions(seed: int) -> tuple[np.ndarray, np.ndarray]:
    scores, targets = _data(seed)
    values, dimensions = _with_gaps(seed)
    rows = min(len(scores), len(values))
    return np.hstack((scores[:rows], values[:rows])), np.hstack((targets[:rows], dimensions[:rows]))


def _mean_shift(targets: np.ndarray, scores: np.ndarray, sample_weight: SampleWeight) -> np.ndarray:
    shift: np.ndarray = (scores - targets).mean(axis=1) @ sample_weight.astype(np.float64)
    mean: np.ndarray = shift / sample_weight.sum(axis=0)
    return mean


@pytest.mark.parametrize(
    ("item", "make"),
    [
        (MAP, _data),
        (ACCURACY, _exclusive),
        (resolve_metric("macro_f1", CAERS), _exclusive),
        (resolve_metric("macro_f1", EMOTIC), _data),
        (VAD_MAE, _with_gaps),
        (resolve_metric("mRA", EMOTIC), _data),
        (resolve_metric("mAP_emotic", EMOTIC), _data),
        (MAP_TAIL, _one_tail),
        (resolve_metric("ECE", EMOTIC), _data),
        (resolve_metric("Brier", EMOTIC), _data),
        (resolve_metric("ECE", CAERS), _probabilities),
        (resolve_metric("Brier", CAERS), _probabilities),
        (resolve_metric("mR2", EMOTIC), _with_gaps),
        (resolve_metric("ERS", EMOTIC), _labels_and_dimensions),
        (Metric(name="shift", title="from outside", function=_mean_shift, chance=lambda _: 0.0), _data),
    ],
    ids=lambda item: item.function.__name__ if isinstance(item, Metric) else "",
)
def test_resampled_metrics_equal_the_metrics_of_repeated_samples(item: Metric, make) -> None:  # type: ignore[no-untyped-def]
    scores, targets = make(0)
    counts = np.random.default_rng(1).integers(0, 4, (len(scores), 20))
    found = item.values(targets, scores, counts.astype(np.float32))
    for column, times in enumerate(counts.T):
        rows = np.repeat(np.arange(len(scores)), times)
        assert found[column] == pytest.approx(item.value(targets[rows], scores[rows]))


def test_the_tail_is_that_of_the_split_in_every_resample() -> None:
    rng = np.random.default_rng(14)
    targets = (rng.random((80, 6)) < 0.15).astype(np.float64)
    targets[:, 4] = 0.0
    targets[:, 0], targets[:, 3] = np.arange(80) < 6, np.arange(80) >= 73  # 6 and 7, so that draws disagree
    scores = rng.random((80, 6))
    rarest = sorted(sorted((0, 1, 2, 3, 5), key=lambda label: targets[:, label].sum())[:2])
    counts = rng.integers(0, 4, (80, 40))
    found = MAP_TAIL.values(targets, scores, counts.astype(np.float32))
    otherwise = 0
    for column, times in enumerate(counts.T):
        rows = np.repeat(np.arange(80), times)
        fixed = MAP.value(targets[rows][:, rarest], scores[rows][:, rarest])
        assert found[column] == pytest.approx(fixed)
        otherwise += MAP_TAIL.value(targets[rows], scores[rows]) != pytest.approx(fixed)
    assert otherwise  # some resample alone would have another tail


def test_a_resample_without_positives_is_undefined_and_not_zero() -> None:
    targets = np.array([[1.0], [0.0]])
    weights = np.array([[0.0, 1.0], [2.0, 1.0]], dtype=np.float32)
    found = MAP.values(targets, np.array([[0.9], [0.1]]), weights)
    assert np.isnan(found[0])
    assert found[1] == 1.0


def test_the_interval_contains_the_value_and_is_reproducible() -> None:
    scores, targets = _data(2)
    first = interval(given(MAP, targets, scores), groups=_alone(120), resamples=300)
    assert first.low < first.value < first.high
    assert first == interval(given(MAP, targets, scores), groups=_alone(120), resamples=300)
    assert first != interval(given(MAP, targets, scores), groups=_alone(120), resamples=300, seed=1)


def test_the_interval_does_not_depend_on_how_resamples_are_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, targets = _data(3)
    whole = interval(given(MAP, targets, scores), groups=_alone(120), resamples=50)
    monkeypatch.setattr(bootstrap, "_MAX_WEIGHTS", 7 * 120)
    assert interval(given(MAP, targets, scores), groups=_alone(120), resamples=50) == whole


def test_people_in_one_image_are_drawn_together() -> None:
    # Every sample four times: as 480 images the interval is half as wide as it is as 120 images of four.
    scores, targets = (np.repeat(array, 4, axis=0) for array in _data(4))
    apart = interval(given(MAP, targets, scores), groups=_alone(480), resamples=500)
    together = interval(given(MAP, targets, scores), groups=np.repeat(_alone(120), 4).tolist(), resamples=500)
    assert together.value == apart.value
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert 1.6 < ratio < 2.4


def test_the_interval_of_a_mean_agrees_with_theory() -> None:
    rng = np.random.default_rng(5)
    targets = np.eye(2)[np.zeros(400, dtype=int)]
    scores = np.eye(2)[(rng.random(400) < 0.3).astype(int)]
    found = interval(given(ACCURACY, targets, scores), groups=_alone(400), resamples=2000)
    half = 1.96 * np.sqrt(found.value * (1 - found.value) / 400)
    assert found.high - found.value == pytest.approx(half, rel=0.12)
    assert found.value - found.low == pytest.approx(half, rel=0.12)


def test_several_seeds_are_averaged_within_each_resample() -> None:
    scores, targets = _data(6)
    rng = np.random.default_rng(6)
    other = np.clip(scores + 0.1 * rng.random(scores.shape), 0, 1)
    both = interval(given(MAP, targets, scores, other), groups=_alone(120), resamples=200)
    alone = [interval(given(MAP, targets, one), groups=_alone(120), resamples=200) for one in (scores, other)]
    assert both.value == pytest.approx((alone[0].value + alone[1].value) / 2)


def test_a_model_does_not_differ_from_itself() -> None:
    scores, targets = _data(7)
    found = difference(
        given(MAP, targets, scores), given(MAP, targets, scores), groups=_alone(120), resamples=100
    )
    assert found == Interval(value=0.0, low=0.0, high=0.0)


def test_pairing_finds_a_difference_that_two_intervals_hide() -> None:
    scores, targets = _data(8, rows=200)
    better = scores + 0.12 * targets * (np.random.default_rng(8).random(targets.shape) < 0.5)
    gap = difference(
        given(MAP, targets, better), given(MAP, targets, scores), groups=_alone(200), resamples=500
    )
    one, other = (
        interval(given(MAP, targets, s), groups=_alone(200), resamples=500) for s in (better, scores)
    )
    assert gap.low > 0
    assert one.low < other.high  # the two intervals overlap
    back = difference(
        given(MAP, targets, scores), given(MAP, targets, better), groups=_alone(200), resamples=500
    )
    assert (back.value, back.low, back.high) == pytest.approx((-gap.value, -gap.high, -gap.low))


def test_several_metrics_at_once_equal_each_alone() -> None:
    scores, targets = _data(11)
    other = np.clip(scores + 0.05, 0, 1)
    items = [
        given(resolve_metric(name, EMOTIC), targets, scores, other)
        for name in ("mAP", "mRA", "mAP_emotic", "Brier")
    ]
    together = intervals(items, groups=_alone(120), resamples=60)
    alone = [interval(item, groups=_alone(120), resamples=60) for item in items]
    assert list(together) == alone
    assert len({one.low for one in together}) >= 3


def test_label_intervals_leave_out_labels_without_positives() -> None:
    scores, targets = _data(9)
    found = label_intervals(targets, [scores], groups=_alone(120), resamples=100)
    assert found[1] is None
    assert [one is None for one in found] == [False, True, False, False, False]
    assert all(one.low <= one.value <= one.high for one in found if one is not None and one.high < 1)


def test_one_image_gives_no_interval() -> None:
    scores, targets = _data(10)
    found = interval(given(MAP, targets, scores), groups=["same.jpg"] * 120)
    assert found.value == MAP.value(targets, scores)
    assert np.isnan([found.low, found.high]).all()
    with pytest.raises(DataError, match="no scores"):
        interval(given(MAP, targets), groups=_alone(120))


# Prevalence of some labels of EMOTIC's test split, from the commonest to the rarest.
_LONG_TAIL = np.array([0.48, 0.05, 0.03, 0.03, 0.03, 0.02, 0.02, 0.02, 0.02])


class _Population:
    """Any number of test sets: two models of known quality, the first the better one, on a long tail."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(12)

    def draw(self, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Targets, and the scores of both models."""
        targets = (self._rng.random((rows, len(_LONG_TAIL))) < _LONG_TAIL).astype(np.float64)
        seen, *own = self._rng.normal(size=(3, *targets.shape))
        first, second = (0.8 * seen + 0.6 * noise for noise in own)
        return targets, first + 1.3 * targets, second + targets


def test_intervals_cover_the_truth_about_as_often_as_stated() -> None:
    """60 small test sets. Nominal is 0.95; around the mean of the resamples, scores have less."""
    population = _Population()
    drawn = [population.draw(250) for _ in range(400)]
    of_score = float(np.mean([MAP.value(targets, first) for targets, first, _ in drawn]))
    of_difference = of_score - float(np.mean([MAP.value(targets, second) for targets, _, second in drawn]))
    held = {"score": 0, "difference": 0}
    for _ in range(60):
        targets, first, second = population.draw(250)
        score = interval(given(MAP, targets, first), groups=_alone(250), resamples=150)
        gap = difference(
            given(MAP, targets, first), given(MAP, targets, second), groups=_alone(250), resamples=150
        )
        held["score"] += score.low <= of_score <= score.high
        held["difference"] += gap.low <= of_difference <= gap.high
    assert held["score"] / 60 >= 0.87
    assert held["difference"] / 60 >= 0.9


def test_an_interval_stays_within_the_bounds_and_contains_its_value() -> None:
    targets = (np.arange(60) < 2).astype(np.float64)[:, None]
    for scores in (targets, 1 - targets, np.random.default_rng(13).random((60, 1))):
        found = interval(given(MAP, targets, scores), groups=_alone(60), resamples=200)
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_an_error_beyond_the_scale_keeps_its_interval() -> None:
    """A model that was hardly trained estimates dimensions far from 0 to 1."""
    rng = np.random.default_rng(3)
    values, targets = rng.random((30, 3)) + 2.0, rng.random((30, 3))
    found = interval(given(VAD_MAE, targets, values), groups=[str(n) for n in range(30)], resamples=50)
    assert 1 < found.low <= found.value <= found.high
