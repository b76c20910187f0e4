"""Simulations: intervals hold the truth about as often as they say, also where people share a picture."""

from __future__ import annotations

import numpy as np
import pytest

from mien.evaluate.bootstrap import difference, interval
from mien.evaluate.metrics.table import metric
from mien.labels import CAERS, EMOTIC

ACCURACY, MAP, BRIER = metric("accuracy", CAERS), metric("mAP", EMOTIC), metric("Brier", EMOTIC)
PREVALENCE = np.array([0.4, 0.15, 0.08])


class Crowd:
    """Test sets of pictures with one to four people, whom a picture makes alike in labels and in errors."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def pictures(self, count: int) -> np.ndarray:
        """The picture of each person."""
        return np.repeat(np.arange(count), self.rng.integers(1, 5, count))

    def right(self, count: int, ease: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
        """Whether a model of accuracy `ease` is right about each person, and their pictures."""
        pictures = self.pictures(count)
        chances = self.rng.beta(2 * ease, 2 * (1 - ease), count)[pictures]
        return self.rng.random(len(pictures)) < chances, pictures

    def scored(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Targets, scores of a better and of a poorer model, pictures."""
        pictures = self.pictures(count)
        mood = self.rng.normal(size=(count, len(PREVALENCE)))[pictures]
        own, seen, first, second = self.rng.normal(size=(4, len(pictures), len(PREVALENCE)))
        latent = 0.7 * mood + np.sqrt(1 - 0.49) * own
        targets = (latent > _quantiles()).astype(np.float64)
        glare = self.rng.normal(size=(count, len(PREVALENCE)))[pictures]  # an error that a picture shares
        shared = 0.6 * seen + 0.6 * glare
        better, poorer = (
            1 / (1 + np.exp(-(gain * targets + shared + 0.5 * noise - 2)))
            for gain, noise in ((1.8, first), (1.3, second))
        )
        return targets, better, poorer, pictures


def _quantiles() -> np.ndarray:
    """Where a standard normal exceeds with the probabilities `PREVALENCE`."""
    drawn = np.sort(np.random.default_rng(0).normal(size=200_000))
    found: np.ndarray = drawn[(len(drawn) * (1 - PREVALENCE)).astype(int)]
    return found


def _accuracy_covered(sets: int, resamples: int) -> tuple[float, float]:
    """The share of intervals that hold the truth: over pictures, and as if people were independent."""
    crowd, held = Crowd(1), np.zeros(2)
    for _ in range(sets):
        right, pictures = crowd.right(120)
        targets = np.eye(2)[np.zeros(len(right), dtype=int)]
        scores = np.eye(2)[(~right).astype(int)]
        for at, names in enumerate((pictures, np.arange(len(right)))):
            found = interval(
                ACCURACY, [scores], targets, groups=names.astype(str).tolist(), resamples=resamples
            )
            held[at] += found.low <= 0.6 <= found.high
    return held[0] / sets, held[1] / sets


def _differences_covered(sets: int, resamples: int) -> tuple[float, float]:
    """The share of paired intervals of mAP and of Brier differences that hold the truth."""
    crowd, held = Crowd(2), np.zeros(2)
    targets, better, poorer, _ = crowd.scored(60_000)
    truth = [item.function(better, targets) - item.function(poorer, targets) for item in (MAP, BRIER)]
    for _ in range(sets):
        targets, better, poorer, pictures = crowd.scored(120)
        for at, item in enumerate((MAP, BRIER)):
            found = difference(
                item, [better], [poorer], targets, groups=pictures.astype(str).tolist(), resamples=resamples
            )
            held[at] += found.low <= truth[at] <= found.high
    return held[0] / sets, held[1] / sets


def _scores_covered(pictures: int, sets: int, resamples: int) -> float:
    """The share of intervals of mAP itself that hold the truth, in test sets of so many pictures."""
    crowd, held = Crowd(3), 0
    targets, better, _, _ = crowd.scored(60_000)
    truth = MAP.function(better, targets)
    for _ in range(sets):
        targets, better, _, names = crowd.scored(pictures)
        found = interval(MAP, [better], targets, groups=names.astype(str).tolist(), resamples=resamples)
        held += found.low <= truth <= found.high
    return held / sets


def test_resampling_pictures_holds_where_resampling_people_does_not() -> None:
    over_pictures, over_people = _accuracy_covered(150, 150)
    assert 0.88 <= over_pictures <= 0.99
    assert over_people <= 0.87


def test_paired_differences_of_people_in_pictures_hold() -> None:
    of_map, of_brier = _differences_covered(60, 150)
    assert of_map >= 0.87
    assert of_brier >= 0.87


@pytest.mark.slow
def test_intervals_hold_at_their_nominal_rate() -> None:
    over_pictures, over_people = _accuracy_covered(600, 400)
    assert 0.92 <= over_pictures <= 0.975
    assert over_people <= 0.86
    of_map, of_brier = _differences_covered(400, 400)
    assert 0.915 <= of_map <= 0.98
    assert 0.915 <= of_brier <= 0.98


@pytest.mark.slow
def test_intervals_of_map_come_to_their_nominal_rate_with_many_pictures() -> None:
    """They are short where positives are few: some 2,000 people are enough for all but a little."""
    few, many = _scores_covered(120, 300, 300), _scores_covered(800, 300, 300)
    assert 0.82 <= few <= 0.93
    assert 0.89 <= many <= 0.975
