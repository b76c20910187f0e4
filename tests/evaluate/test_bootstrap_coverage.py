"""Simulations: intervals cover the truth about as often as stated, also where people share an image."""

from __future__ import annotations

import numpy as np
import pytest

from mien.evaluate.bootstrap import difference, interval
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.table import resolve_metric
from mien.labels import CAERS, EMOTIC

ACCURACY = resolve_metric("accuracy", CAERS)
MAP, BRIER = (resolve_metric(name, EMOTIC) for name in ("mAP", "Brier"))
PREVALENCE = np.array([0.4, 0.15, 0.08])


class Crowd:
    """Test sets of images with one to four people, whose labels and errors are correlated within an image."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def images(self, count: int) -> np.ndarray:
        """The image of each person."""
        return np.repeat(np.arange(count), self.rng.integers(1, 5, count))

    def right(self, count: int, ease: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
        """Whether a model of accuracy `ease` is right about each person, and their images."""
        images = self.images(count)
        chances = self.rng.beta(2 * ease, 2 * (1 - ease), count)[images]
        return self.rng.random(len(images)) < chances, images

    def scored(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Targets, scores of a better and of a poorer model, images."""
        images = self.images(count)
        mood = self.rng.normal(size=(count, len(PREVALENCE)))[images]
        own, seen, first, second = self.rng.normal(size=(4, len(images), len(PREVALENCE)))
        latent = 0.7 * mood + np.sqrt(1 - 0.49) * own
        targets = (latent > _quantiles()).astype(np.float64)
        glare = self.rng.normal(size=(count, len(PREVALENCE)))[images]  # an error that an image shares
        shared = 0.6 * seen + 0.6 * glare
        better, poorer = (
            1 / (1 + np.exp(-(gain * targets + shared + 0.5 * noise - 2)))
            for gain, noise in ((1.8, first), (1.3, second))
        )
        return targets, better, poorer, images


def _quantiles() -> np.ndarray:
    """Where a standard normal exceeds with the probabilities `PREVALENCE`."""
    drawn = np.sort(np.random.default_rng(0).normal(size=200_000))
    found: np.ndarray = drawn[(len(drawn) * (1 - PREVALENCE)).astype(int)]
    return found


def _accuracy_coverage(sets: int, resamples: int) -> tuple[float, float]:
    """The share of intervals that cover the truth: over images, and as if people were independent."""
    crowd, covered = Crowd(1), np.zeros(2)
    for _ in range(sets):
        right, images = crowd.right(120)
        targets = np.eye(2)[np.zeros(len(right), dtype=int)]
        scores = np.eye(2)[(~right).astype(int)]
        for at, groups in enumerate((images, np.arange(len(right)))):
            item = MetricInput(metric=ACCURACY, targets=targets, scores=[scores])
            found = interval(item, groups=groups.astype(str).tolist(), resamples=resamples)
            covered[at] += found.low <= 0.6 <= found.high
    return covered[0] / sets, covered[1] / sets


def _difference_coverage(sets: int, resamples: int) -> tuple[float, float]:
    """The share of paired intervals of mAP and of Brier differences that cover the truth."""
    crowd, covered = Crowd(2), np.zeros(2)
    targets, better, poorer, _ = crowd.scored(60_000)
    truth = [item.value(targets, better) - item.value(targets, poorer) for item in (MAP, BRIER)]
    for _ in range(sets):
        targets, better, poorer, images = crowd.scored(120)
        for at, metric in enumerate((MAP, BRIER)):
            first, second = (
                MetricInput(metric=metric, targets=targets, scores=[scores]) for scores in (better, poorer)
            )
            found = difference(first, second, groups=images.astype(str).tolist(), resamples=resamples)
            covered[at] += found.low <= truth[at] <= found.high
    return covered[0] / sets, covered[1] / sets


def _score_coverage(images: int, sets: int, resamples: int) -> float:
    """The share of intervals of mAP itself that cover the mean of test sets of this many images."""
    crowd, covered = Crowd(3), 0
    drawn = [crowd.scored(images) for _ in range(1000)]
    truth = float(np.mean([MAP.value(targets, better) for targets, better, _, _ in drawn]))
    for _ in range(sets):
        targets, better, _, groups = crowd.scored(images)
        item = MetricInput(metric=MAP, targets=targets, scores=[better])
        found = interval(item, groups=groups.astype(str).tolist(), resamples=resamples)
        covered += found.low <= truth <= found.high
    return covered / sets


def test_resampling_images_holds_where_resampling_people_does_not() -> None:
    over_images, over_people = _accuracy_coverage(150, 150)
    assert 0.88 <= over_images <= 0.99
    assert over_people <= 0.87


def test_paired_differences_of_people_in_images_hold() -> None:
    of_map, of_brier = _difference_coverage(60, 150)
    assert of_map >= 0.87
    assert of_brier >= 0.87


@pytest.mark.slow
def test_intervals_hold_at_their_nominal_rate() -> None:
    over_images, over_people = _accuracy_coverage(600, 400)
    assert 0.92 <= over_images <= 0.975
    assert over_people <= 0.86
    of_map, of_brier = _difference_coverage(400, 400)
    assert 0.915 <= of_map <= 0.98
    assert 0.915 <= of_brier <= 0.98


@pytest.mark.slow
def test_intervals_of_map_hold_at_about_their_nominal_rate_with_few_and_many_images() -> None:
    for images in (120, 800):
        assert 0.91 <= _score_coverage(images, 300, 300) <= 0.975
