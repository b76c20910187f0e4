"""Prediction sets: the labels that may hold, with a stated coverage, by split conformal prediction.

A set has the labels whose score reaches a cut, and always the highest one. The cuts are fitted on a split
that no weights were learned from.

Where exactly one label holds, there is one cut, below which the score of the true label lies for few people
(LAC; Sadinle, Lei and Wasserman 2019): the sets of the stated share of people contain their label, and are
the smallest on average. Where any number may hold, each label has a cut of its own, fitted to the people who
have it (label-conditional conformal prediction; Vovk, Gammerman and Shafer 2005): of those who have a label,
the stated share have it in their sets. Sets that contain all labels of a person are nearly all labels.

Images are exchangeable, the people of one image are not: they share a scene, and often labels and errors. So
every image has the same weight, which its people share (HCP; Lee, Barber and Willett 2023).
`docs/explanation/not-sure.md` says what that guarantees.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float64

from mien.evaluate.metrics.classification import true_labels
from mien.evaluate.metrics.targets import Labels
from mien.evaluate.scores import SplitScores

__all__ = [
    "COVERAGES",
    "PredictionSets",
    "SetCuts",
    "fit_prediction_sets",
    "image_shares",
    "likely_coverage",
    "min_images",
]

COVERAGES: Final = (0.8, 0.9, 0.95)  # in results, besides the one of predictions
_LIKELY: Final = 0.95
_ROUNDING: Final = 1e-9  # of sums of shares


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCuts:
    """The score from which on each label is in sets of this coverage.

    Attributes:
        coverage: The coverage, between 0 and 1.
        scores: The score of each label, as the model gives it; None for a label that always is in the set.
    """

    coverage: float
    scores: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSets:
    """Which labels may hold, given a model's scores as they are, not calibrated.

    Attributes:
        coverage: The stated coverage of predictions.
        cuts: The scores for each coverage, ascending.
        num_images: How many images with each label the cuts are fitted on; where exactly one label holds,
            how many images for all labels.
        split: The split.
        exclusive: Whether exactly one label holds.
    """

    coverage: float
    cuts: tuple[SetCuts, ...]
    num_images: tuple[int, ...]
    split: str
    exclusive: bool

    def __post_init__(self) -> None:
        for cuts in self.cuts:
            finite = all(score is None or math.isfinite(score) for score in cuts.scores)
            if not finite or len(cuts.scores) != len(self.num_images) or not 0 < cuts.coverage < 1:
                raise ValueError("the cuts of prediction sets are not one finite number for each label")
        if not any(cuts.coverage == self.coverage for cuts in self.cuts):
            raise ValueError(f"no cuts for a coverage of {self.coverage}")

    @property
    def unbounded(self) -> tuple[int, ...]:
        """Indices of the labels that are in every set of a prediction, because too few images have them."""
        scores = self._of(self.coverage).scores
        return tuple(index for index, score in enumerate(scores) if score is None)

    @property
    def is_promised(self) -> bool:
        """Whether the split is large enough for sets that leave out any label."""
        return len(self.unbounded) < len(self.num_images)

    def apply(self, scores: Labels, coverage: float | None = None) -> Bool[np.ndarray, "sample label"]:
        """Which labels are in each sample's set.

        Args:
            scores: The model's scores as they are, not calibrated.
            coverage: One of `cuts`; by default that of predictions.
        """
        cuts = self._of(self.coverage if coverage is None else coverage)
        lowest = np.array([-np.inf if score is None else score for score in cuts.scores])
        contained: np.ndarray = np.asarray(scores) >= lowest
        # An empty set would say that no label holds. The best label can only add to the coverage.
        contained[np.arange(len(contained)), np.argmax(scores, axis=1)] = True
        return contained

    def _of(self, coverage: float) -> SetCuts:
        return next(cuts for cuts in self.cuts if cuts.coverage == coverage)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PredictionSets:
        """The inverse of `dataclasses.asdict`; KeyError, TypeError or ValueError for damaged values."""
        return cls(
            coverage=float(values["coverage"]),
            cuts=tuple(
                SetCuts(
                    coverage=float(cuts["coverage"]),
                    scores=tuple(None if score is None else float(score) for score in cuts["scores"]),
                )
                for cuts in values["cuts"]
            ),
            num_images=tuple(map(int, values["num_images"])),
            split=str(values["split"]),
            exclusive=bool(values["exclusive"]),
        )


def fit_prediction_sets(scores: SplitScores, *, coverage: float) -> PredictionSets:
    """Fits the cuts of prediction sets to the scores of a split.

    Args:
        scores: The model's scores on a split that no weights were learned from.
        coverage: The stated coverage of predictions, between 0 and 1.
    """
    truth, groups = _truth(scores), np.array(scores.groups, dtype=object)
    values = scores.scores.astype(np.float64)
    if scores.label_set.exclusive:
        # The scores of the true labels; all labels have the cut and the number of images.
        conformity, people = [values[truth]], [truth.any(axis=1)]
    else:
        conformity = [values[has_label, label] for label, has_label in enumerate(truth.T)]
        people = list(truth.T)
    repeated = len(scores.label_set) // len(conformity)
    found = [
        SetCuts(
            coverage=level,
            scores=repeated
            * tuple(_cut(one, list(groups[who]), level) for one, who in zip(conformity, people, strict=True)),
        )
        for level in sorted({*COVERAGES, coverage})
    ]
    return PredictionSets(
        coverage=coverage,
        cuts=tuple(found),
        num_images=repeated * tuple(len(set(groups[who])) for who in people),
        split=scores.split,
        exclusive=scores.label_set.exclusive,
    )


def image_shares(groups: Sequence[str]) -> Float64[np.ndarray, " sample"]:
    """The share of each sample in its image: 1 divided by the number of people there."""
    counts = Counter(groups)
    return np.array([1 / counts[group] for group in groups], dtype=np.float64)


def min_images(coverage: float) -> int:
    """How many images a coverage needs: with fewer, only a set of all labels has it."""
    return math.ceil(coverage / (1 - coverage) - _ROUNDING)


def likely_coverage(coverage: float, num_images: int) -> tuple[float, float]:
    """The central 95 % of the coverage of a cut, over splits of so many images with one person each.

    It is a beta distribution (Vovk 2012). People who share an image make it a little narrower.
    """
    from scipy.special import betaincinv  # late: reading a calibration does not need it

    rank = math.ceil(coverage * (num_images + 1) - _ROUNDING)
    tail = (1 - _LIKELY) / 2
    low, high = (float(betaincinv(rank, num_images + 1 - rank, share)) for share in (tail, 1 - tail))
    return low, high


def _cut(conformity: Float64[np.ndarray, " sample"], groups: Sequence[str], coverage: float) -> float | None:
    """The highest cut that covers enough of the images and of one more, which counts as not covered."""
    num_images = len(set(groups))
    if num_images < min_images(coverage):
        return None
    order = np.argsort(-conformity, kind="stable")
    covered = np.cumsum(image_shares(groups)[order])
    last = int(np.searchsorted(covered, coverage * (num_images + 1) - _ROUNDING * num_images))
    return float(conformity[order[min(last, len(order) - 1)]])


def _truth(scores: SplitScores) -> Bool[np.ndarray, "sample label"]:
    truth: np.ndarray = true_labels(scores.targets, exclusive=scores.label_set.exclusive)
    return truth
