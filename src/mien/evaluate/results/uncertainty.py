"""Builds the rows of results that say how far to trust an answer: prediction sets, and who gets an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from mien.evaluate.bootstrap import RESAMPLES, Interval, resample_weights, resampled_interval
from mien.evaluate.calibration.abstention import answered_accuracy, are_right, confidences
from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.calibration.conformal import PredictionSets, image_shares, likely_coverage
from mien.evaluate.metrics.classification import true_labels
from mien.evaluate.metrics.metric import PerResample, SampleWeight, mean_over_rows, safe_divide, unit_weight
from mien.evaluate.results.results import AbstentionRow, Evaluation, SetRow
from mien.evaluate.scores import SplitScores

__all__ = ["ANSWERED", "build_abstention_rows", "build_set_rows", "rate_uncertainty"]

ANSWERED: Final = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
_MIN_ANSWERED: Final = 10  # people; the accuracy of fewer says nothing

Values = Float64[np.ndarray, "point resample"]


def rate_uncertainty(
    scores: SplitScores, calibration: Calibration | None, *, name: str = "", resamples: int = RESAMPLES
) -> Evaluation:
    """Prediction sets and abstention on a split, and why there are no sets.

    Nothing for a model that predicts no labels, nor on the split that the calibration was fitted on.
    """
    if not scores.has_labels or (calibration is not None and calibration.split == scores.split):
        return Evaluation()
    found = Evaluation(abstention=build_abstention_rows(scores, calibration, name=name, resamples=resamples))
    if calibration is None:
        return found
    sets = calibration.prediction_sets
    if sets is None:
        note = "no prediction sets: the calibration is of an earlier version of mien; fit it again"
        return found + Evaluation(notes=(note,))
    return found + Evaluation(
        prediction_sets=build_set_rows(scores, sets, name=name, resamples=resamples),
        notes=(calibration.set_note,) if calibration.set_note else (),
    )


def build_set_rows(
    scores: SplitScores, sets: PredictionSets, *, name: str = "", resamples: int = RESAMPLES
) -> tuple[SetRow, ...]:
    """One row per coverage for which sets can leave out any label, of the people who have a label."""
    exclusive = scores.label_set.exclusive
    truth = true_labels(scores.targets, exclusive=exclusive)
    people = np.flatnonzero(truth.any(axis=1))
    groups, truth = [scores.groups[index] for index in people], truth[people]
    rows = []
    for cuts in sets.cuts:
        bounded = np.array([score is not None for score in cuts.scores])
        if not truth[:, bounded].any():
            continue  # every set has all labels, or no one has a label that sets can leave out
        contained = sets.apply(scores.scores[people], cuts.coverage)
        judged = _Judged.of(truth, contained, groups, bounded=bounded, exclusive=exclusive)
        value = float(judged.coverage(unit_weight(len(people)))[0])
        drawn = [judged.coverage(weight) for weight in resample_weights(groups, resamples, 0)]
        bounds = resampled_interval(value, np.concatenate([np.empty(0), *drawn]))
        fewest = min(np.array(sets.num_images)[bounded].tolist())
        likely_low, likely_high = likely_coverage(cuts.coverage, fewest)
        sizes = contained.sum(axis=1)
        rows.append(
            SetRow(
                name=name,
                split=scores.split,
                coverage=cuts.coverage,
                value=bounds.value,
                low=_low(bounds),
                high=_high(bounds),
                size=float(sizes.mean()),
                single=float((sizes == 1).mean()),
                complete=float((~(truth & ~contained).any(axis=1)).mean()),
                labels=len(scores.label_set),
                n=len(people),
                fitted_on=sets.split,
                likely_low=likely_low,
                likely_high=likely_high,
                is_default=cuts.coverage == sets.coverage,
            )
        )
    return tuple(rows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """What is to be covered, and whether it is: one column where exactly one label holds, else one per label.

    The weights of a column are those of the guarantee: 1 per image with someone who counts, shared by them.
    """

    weights: Float64[np.ndarray, "sample column"]
    covered: Bool[np.ndarray, "sample column"]

    @classmethod
    def of(
        cls,
        truth: Bool[np.ndarray, "sample label"],
        contained: Bool[np.ndarray, "sample label"],
        groups: Sequence[str],
        *,
        bounded: Bool[np.ndarray, " label"],
        exclusive: bool,
    ) -> _Judged:
        if exclusive:
            return cls(
                weights=image_shares(groups)[:, None],
                covered=(truth & contained).any(axis=1, keepdims=True),
            )
        weights = np.zeros(truth.shape)
        for label, has_label in enumerate(truth.T):
            weights[has_label, label] = image_shares(
                [groups[row] for row in np.flatnonzero(has_label).tolist()]
            )
        return cls(weights=weights[:, bounded], covered=contained[:, bounded])

    def coverage(self, sample_weight: SampleWeight) -> PerResample:
        """The mean over the columns that someone counts in."""
        counts = sample_weight.astype(np.float64)
        hits, total = (self.weights * self.covered).T @ counts, self.weights.T @ counts
        return mean_over_rows(safe_divide(hits, total, otherwise=np.nan))


def build_abstention_rows(
    scores: SplitScores,
    calibration: Calibration | None = None,
    *,
    name: str = "",
    resamples: int = RESAMPLES,
) -> tuple[AbstentionRow, ...]:
    """The accuracy of the best label for the most confident people, from all of them to a tenth.

    If a calibration has a lowest confidence, the last row is of the people of whom the model is sure by it.
    """
    values = scores.scores if calibration is None else calibration.apply(scores.scores)
    right = are_right(scores.targets, values, exclusive=scores.label_set.exclusive)
    confidence = confidences(values)
    shares = [share for share in ANSWERED if share == 1 or share * len(scores) >= _MIN_ANSWERED]
    counts = [min(len(scores), int(np.ceil(share * len(scores) - 1e-9))) for share in shares]
    fitted = calibration if calibration is not None and calibration.min_confidence is not None else None
    sure = np.zeros(len(scores), dtype=np.bool_) if fitted is None else fitted.are_sure(values)

    def accuracies(weight: SampleWeight) -> Values:
        found = answered_accuracy(right, confidence, shares, weight)
        return np.concatenate((found, _accuracy_of(right, sure, weight)[None]))

    value = accuracies(unit_weight(len(scores)))[:, 0]
    drawn = _joined(
        [accuracies(weight) for weight in resample_weights(scores.groups, resamples, 0)], len(value)
    )
    rows = []
    for index, (share, count) in enumerate(
        zip((*shares, float(sure.mean())), (*counts, int(sure.sum())), strict=True)
    ):
        if not count:
            continue  # no one reaches the lowest confidence
        bounds = resampled_interval(float(value[index]), drawn[index])
        gain = resampled_interval(float(value[index] - value[0]), drawn[index] - drawn[0], is_difference=True)
        is_fitted = index == len(shares) and fitted is not None
        rows.append(
            AbstentionRow(
                name=name,
                split=scores.split,
                answered=share,
                value=bounds.value,
                low=_low(bounds),
                high=_high(bounds),
                gain=gain.value,
                gain_low=_low(gain),
                gain_high=_high(gain),
                n=count,
                fitted_on=fitted.split if is_fitted and fitted is not None else "",
                min_confidence=fitted.min_confidence if is_fitted and fitted is not None else None,
            )
        )
    return tuple(rows)


def _accuracy_of(
    right: Bool[np.ndarray, " sample"], sure: Bool[np.ndarray, " sample"], weight: SampleWeight
) -> Float64[np.ndarray, " resample"]:
    """The share of right answers among those of whom the model is sure; NaN without any."""
    counts = weight.astype(np.float64)
    return safe_divide((right & sure) @ counts, sure @ counts, otherwise=np.nan)


def _joined(blocks: list[Values], points: int) -> Values:
    return np.concatenate([np.empty((points, 0)), *blocks], axis=1)


def _low(bounds: Interval) -> float | None:
    return None if np.isnan(bounds.low) else bounds.low


def _high(bounds: Interval) -> float | None:
    return None if np.isnan(bounds.high) else bounds.high
