"""Intervals: the resampled metrics equal the plain ones, and the intervals mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from mien.errors import DataError
from mien.evaluate import bootstrap
from mien.evaluate.bootstrap import (
    Asked,
    Interval,
    difference,
    interval,
    intervals,
    label_intervals,
)
from mien.evaluate.metrics.table import METRICS, Metric, metric
from mien.evaluate.metrics.weighted import resampled
from mien.labels import CAERS, EMOTIC

MAP = metric("mAP", EMOTIC)


def _data(seed: int, rows: int = 120, labels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Scores full of ties, targets with a rare label and one that nobody has."""
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


def _shifted(scores: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean(scores - targets))


@pytest.mark.parametrize(
    ("item", "make"),
    [
        (METRICS["mAP"], _data),
        (METRICS["accuracy"], _exclusive),
        (METRICS["macro_f1"], _exclusive),
        (metric("macro_f1", EMOTIC), _data),
        (METRICS["vad_mae"], _with_gaps),
        (METRICS["mRA"], _data),
        (METRICS["mAP_emotic"], _data),
        (METRICS["mAP_tail"], _one_tail),
        (metric("ECE", EMOTIC), _data),
        (metric("Brier", EMOTIC), _data),
        (METRICS["ECE"], _probabilities),
        (METRICS["Brier"], _probabilities),
        (METRICS["mR2"], _with_gaps),
        (METRICS["ERS"], _labels_and_dimensions),
        (Metric(name="mAP", title="a metric that mien does not know", function=_shifted), _data),
    ],
    ids=lambda item: item.function.__name__ if isinstance(item, Metric) else "",
)
def test_resampled_metrics_equal_the_metrics_of_repeated_samples(item: Metric, make) -> None:  # type: ignore[no-untyped-def]
    scores, targets = make(0)
    counts = np.random.default_rng(1).integers(0, 4, (len(scores), 20))
    found = resampled(item, scores, targets, counts.astype(np.float32))
    for column, times in enumerate(counts.T):
        rows = np.repeat(np.arange(len(scores)), times)
        assert found[column] == pytest.approx(item.function(scores[rows], targets[rows]))


def test_the_tail_is_that_of_the_split_in_every_resample() -> None:
    rng = np.random.default_rng(14)
    targets = (rng.random((80, 6)) < 0.15).astype(np.float64)
    targets[:, 4] = 0.0
    targets[:, 0], targets[:, 3] = np.arange(80) < 6, np.arange(80) >= 73  # 6 and 7, so that draws disagree
    scores = rng.random((80, 6))
    rarest = sorted(sorted((0, 1, 2, 3, 5), key=lambda label: targets[:, label].sum())[:2])
    counts = rng.integers(0, 4, (80, 40))
    found = resampled(METRICS["mAP_tail"], scores, targets, counts.astype(np.float32))
    otherwise = 0
    for column, times in enumerate(counts.T):
        rows = np.repeat(np.arange(80), times)
        fixed = MAP.function(scores[rows][:, rarest], targets[rows][:, rarest])
        assert found[column] == pytest.approx(fixed)
        otherwise += METRICS["mAP_tail"].function(scores[rows], targets[rows]) != pytest.approx(fixed)
    assert otherwise  # some draw has other rarest labels of its own


def test_a_resample_without_positives_is_not_defined_and_not_zero() -> None:
    targets = np.array([[1.0], [0.0]])
    weights = np.array([[0.0, 1.0], [2.0, 1.0]], dtype=np.float32)
    found = resampled(MAP, np.array([[0.9], [0.1]]), targets, weights)
    assert np.isnan(found[0])
    assert found[1] == 1.0


def test_the_interval_holds_the_value_and_repeats() -> None:
    scores, targets = _data(2)
    first = interval(MAP, [scores], targets, groups=_alone(120), resamples=300)
    assert first.low < first.value < first.high
    assert first == interval(MAP, [scores], targets, groups=_alone(120), resamples=300)
    assert first != interval(MAP, [scores], targets, groups=_alone(120), resamples=300, seed=1)


def test_the_interval_does_not_depend_on_how_resamples_are_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, targets = _data(3)
    whole = interval(MAP, [scores], targets, groups=_alone(120), resamples=50)
    monkeypatch.setattr(bootstrap, "_MAX_WEIGHTS", 7 * 120)
    assert interval(MAP, [scores], targets, groups=_alone(120), resamples=50) == whole


def test_people_in_one_picture_are_drawn_together() -> None:
    # Every sample four times: as 480 pictures the interval is half as wide as as 120 pictures of four.
    scores, targets = (np.repeat(array, 4, axis=0) for array in _data(4))
    apart = interval(MAP, [scores], targets, groups=_alone(480), resamples=500)
    together = interval(MAP, [scores], targets, groups=np.repeat(_alone(120), 4).tolist(), resamples=500)
    assert together.value == apart.value
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert 1.6 < ratio < 2.4


def test_the_interval_of_a_mean_is_the_one_of_theory() -> None:
    rng = np.random.default_rng(5)
    targets = np.eye(2)[np.zeros(400, dtype=int)]
    scores = np.eye(2)[(rng.random(400) < 0.3).astype(int)]
    found = interval(metric("accuracy", CAERS), [scores], targets, groups=_alone(400), resamples=2000)
    half = 1.96 * np.sqrt(found.value * (1 - found.value) / 400)
    assert found.high - found.value == pytest.approx(half, rel=0.12)
    assert found.value - found.low == pytest.approx(half, rel=0.12)


def test_several_seeds_are_averaged_within_each_resample() -> None:
    scores, targets = _data(6)
    rng = np.random.default_rng(6)
    other = np.clip(scores + 0.1 * rng.random(scores.shape), 0, 1)
    both = interval(MAP, [scores, other], targets, groups=_alone(120), resamples=200)
    alone = [interval(MAP, [one], targets, groups=_alone(120), resamples=200) for one in (scores, other)]
    assert both.value == pytest.approx((alone[0].value + alone[1].value) / 2)


def test_a_model_does_not_differ_from_itself() -> None:
    scores, targets = _data(7)
    found = difference(MAP, [scores], [scores], targets, groups=_alone(120), resamples=100)
    assert found == Interval(value=0.0, low=0.0, high=0.0)


def test_pairing_finds_a_difference_that_two_intervals_hide() -> None:
    scores, targets = _data(8, rows=200)
    better = scores + 0.12 * targets * (np.random.default_rng(8).random(targets.shape) < 0.5)
    gap = difference(MAP, [better], [scores], targets, groups=_alone(200), resamples=500)
    one, other = (interval(MAP, [s], targets, groups=_alone(200), resamples=500) for s in (better, scores))
    assert gap.low > 0
    assert one.low < other.high  # the two intervals overlap
    back = difference(MAP, [scores], [better], targets, groups=_alone(200), resamples=500)
    assert (back.value, back.low, back.high) == pytest.approx((-gap.value, -gap.high, -gap.low))


def test_several_metrics_at_once_are_each_as_alone() -> None:
    scores, targets = _data(11)
    other = np.clip(scores + 0.05, 0, 1)
    asked = [
        Asked(metric=metric(name, EMOTIC), scores=[scores, other], targets=targets)
        for name in ("mAP", "mRA", "mAP_emotic", "Brier")
    ]
    together = intervals(asked, groups=_alone(120), resamples=60)
    alone = [interval(one.metric, one.scores, one.targets, groups=_alone(120), resamples=60) for one in asked]
    assert list(together) == alone
    assert len({one.low for one in together}) >= 3


def test_label_intervals_leave_out_labels_without_positives() -> None:
    scores, targets = _data(9)
    found = label_intervals([scores], targets, groups=_alone(120), resamples=100)
    assert found[1] is None
    assert [one is None for one in found] == [False, True, False, False, False]
    assert all(one.low <= one.value <= one.high for one in found if one is not None and one.high < 1)


def test_one_picture_gives_no_interval() -> None:
    scores, targets = _data(10)
    with pytest.raises(DataError, match="no interval from 1 picture"):
        interval(MAP, [scores], targets, groups=["same.jpg"] * 120)
    with pytest.raises(DataError, match="no scores"):
        interval(MAP, [], targets, groups=_alone(120))


# Prevalence of some labels of EMOTIC's test split, from the commonest to the rarest.
_LONG_TAIL = np.array([0.48, 0.05, 0.03, 0.03, 0.03, 0.02, 0.02, 0.02, 0.02])


class _Population:
    """Test sets without end: two models of known quality, the first the better one, on a long tail."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(12)

    def draw(self, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Targets, and the scores of both models."""
        targets = (self._rng.random((rows, len(_LONG_TAIL))) < _LONG_TAIL).astype(np.float64)
        seen, *own = self._rng.normal(size=(3, *targets.shape))
        first, second = (0.8 * seen + 0.6 * noise for noise in own)
        return targets, first + 1.3 * targets, second + targets


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """60 small test sets. Nominal is 0.95; turned back, the percentile interval of mAP seldom holds it."""
    population = _Population()
    targets, first, second = population.draw(100_000)
    of_score = MAP.function(first, targets)
    of_difference = of_score - MAP.function(second, targets)
    held = {"score": 0, "difference": 0, "percentile": 0}
    for _ in range(60):
        targets, first, second = population.draw(250)
        score = interval(MAP, [first], targets, groups=_alone(250), resamples=150)
        gap = difference(MAP, [first], [second], targets, groups=_alone(250), resamples=150)
        held["score"] += score.low <= of_score <= score.high
        held["difference"] += gap.low <= of_difference <= gap.high
        held["percentile"] += 2 * score.value - score.high <= of_score <= 2 * score.value - score.low
    assert held["score"] / 60 >= 0.8
    assert held["difference"] / 60 >= 0.9
    assert held["percentile"] / 60 <= 0.6


def test_an_interval_stays_within_the_scale_and_holds_its_value() -> None:
    targets = (np.arange(60) < 2).astype(np.float64)[:, None]
    for scores in (targets, 1 - targets, np.random.default_rng(13).random((60, 1))):
        found = interval(MAP, [scores], targets, groups=_alone(60), resamples=200)
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_an_error_beyond_the_scale_keeps_its_interval() -> None:
    """A model that was hardly trained estimates dimensions far from 0 to 1."""
    rng = np.random.default_rng(3)
    values, targets = rng.random((30, 3)) + 2.0, rng.random((30, 3))
    found = interval(METRICS["vad_mae"], [values], targets, groups=[str(n) for n in range(30)], resamples=50)
    assert 1 < found.low <= found.value <= found.high
