"""The metrics by their definitions, in plain Python: loops over samples and pairs.

Nothing is shared with the tested code or with scikit-learn.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np

Column = list[float]

BINS = 15


def columns(values: np.ndarray) -> list[Column]:
    return [[float(value) for value in column] for column in values.T]


def holding(target: Column) -> list[bool]:
    return [value >= 0.5 for value in target]


def one_hot(scores: np.ndarray) -> list[list[bool]]:
    """By label: the samples whose highest score it is, the first of equal ones."""
    places = [row.index(max(row)) for row in scores.tolist()]
    return [[place == label for place in places] for label in range(scores.shape[1])]


def average_precision(score: Column, holds: list[bool]) -> float:
    """The mean over positives of the precision among all samples that score at least as high."""
    found = []
    for own, hold in zip(score, holds, strict=True):
        if hold:
            above = [other_holds for other, other_holds in zip(score, holds, strict=True) if other >= own]
            found.append(sum(above) / len(above))
    return statistics.fmean(found)


def interpolated_precision(score: Column, holds: list[bool]) -> float:
    """The same, with the best precision at this score or a lower one."""

    def precision(threshold: float) -> float:
        above = [hold for own, hold in zip(score, holds, strict=True) if own >= threshold]
        return sum(above) / len(above)

    return statistics.fmean(
        max(precision(other) for other in set(score) if other <= own)
        for own, hold in zip(score, holds, strict=True)
        if hold
    )


def area(score: Column, holds: list[bool]) -> float:
    """How often a positive scores above a negative; ties count half."""
    wins = [
        1.0 if own > other else 0.5 if own == other else 0.0
        for own, hold in zip(score, holds, strict=True)
        if hold
        for other, other_holds in zip(score, holds, strict=True)
        if not other_holds
    ]
    return statistics.fmean(wins)


def mean_over_labels(
    of_label: Callable[[Column, list[bool]], float], *, both: bool = False
) -> Callable[[np.ndarray, np.ndarray], float]:
    """The mean over labels that some sample has, and with `both`, that some sample lacks."""

    def mean(scores: np.ndarray, targets: np.ndarray) -> float:
        pairs = [
            (score, holding(target)) for score, target in zip(columns(scores), columns(targets), strict=True)
        ]
        return statistics.fmean(
            of_label(score, holds) for score, holds in pairs if any(holds) and not (both and all(holds))
        )

    return mean


mean_precision = mean_over_labels(average_precision)
mean_area = mean_over_labels(area, both=True)


def tail_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    """Over the rarest third of the labels that some sample has."""
    counts = {label: sum(holding(target)) for label, target in enumerate(columns(targets))}
    held = sorted((count, label) for label, count in counts.items() if count)
    tail = [label for _, label in held[: math.ceil(len(held) / 3)]]
    return mean_precision(scores[:, tail], targets[:, tail])


def f1(predicted: list[list[bool]], truth: list[list[bool]]) -> float:
    found = []
    for said, held in zip(predicted, truth, strict=True):
        both = sum(one and other for one, other in zip(said, held, strict=True))
        if any(said) or any(held):
            recall, precision = (both / sum(one) if any(one) else 0.0 for one in (held, said))
            found.append(2 * recall * precision / (recall + precision) if both else 0.0)
    return statistics.fmean(found)


def f1_at_half(scores: np.ndarray, targets: np.ndarray) -> float:
    return f1([holding(one) for one in columns(scores)], [holding(one) for one in columns(targets)])


def f1_of_highest(scores: np.ndarray, targets: np.ndarray) -> float:
    return f1(one_hot(scores), one_hot(targets))


def share_right(scores: np.ndarray, targets: np.ndarray) -> float:
    pairs = zip(scores.tolist(), targets.tolist(), strict=True)
    return statistics.fmean(score.index(max(score)) == target.index(max(target)) for score, target in pairs)


def gaps(score: Column, came_true: list[bool]) -> float:
    total = 0.0
    for index in range(BINS):
        inside = [
            (own, true)
            for own, true in zip(score, came_true, strict=True)
            if index <= own * BINS < index + 1 or (own == 1 and index == BINS - 1)
        ]
        if inside:
            mean = statistics.fmean(own for own, _ in inside)
            share = statistics.fmean(true for _, true in inside)
            total += len(inside) / len(score) * abs(mean - share)
    return total


def calibration_of_labels(scores: np.ndarray, targets: np.ndarray) -> float:
    pairs = zip(columns(scores), columns(targets), strict=True)
    return statistics.fmean(gaps(score, holding(target)) for score, target in pairs)


def calibration_of_highest(scores: np.ndarray, targets: np.ndarray) -> float:
    pairs = zip(scores.tolist(), targets.tolist(), strict=True)
    right = [score.index(max(score)) == target.index(max(target)) for score, target in pairs]
    return gaps([max(score) for score in scores.tolist()], right)


def squares(score: Column, holds: list[bool]) -> Column:
    return [(own - float(hold)) ** 2 for own, hold in zip(score, holds, strict=True)]


def brier_of_labels(scores: np.ndarray, targets: np.ndarray) -> float:
    pairs = zip(columns(scores), columns(targets), strict=True)
    return statistics.fmean(cost for score, target in pairs for cost in squares(score, holding(target)))


def brier_of_classes(scores: np.ndarray, targets: np.ndarray) -> float:
    pairs = zip(columns(scores), one_hot(targets), strict=True)
    return math.fsum(cost for score, holds in pairs for cost in squares(score, holds)) / len(scores)


def annotated(values: np.ndarray, targets: np.ndarray) -> list[list[tuple[float, float]]]:
    """By dimension: pairs of prediction and target, where there is a target."""
    return [
        [(own, true) for own, true in zip(value, target, strict=True) if not math.isnan(true)]
        for value, target in zip(columns(values), columns(targets), strict=True)
    ]


def mean_error(values: np.ndarray, targets: np.ndarray) -> float:
    return statistics.fmean(abs(own - true) for pairs in annotated(values, targets) for own, true in pairs)


def mean_explained(values: np.ndarray, targets: np.ndarray) -> float:
    found = []
    for pairs in annotated(values, targets):
        truths = [true for _, true in pairs]
        if len(set(truths)) > 1:
            missed = statistics.fmean((own - true) ** 2 for own, true in pairs)
            found.append(1 - missed / statistics.pvariance(truths))
    return statistics.fmean(found)


def recognition(values: np.ndarray, targets: np.ndarray) -> float:
    labels = values[:, :-3], targets[:, :-3]
    ranked = (mean_precision(*labels) + mean_area(*labels)) / 2
    return (mean_explained(values[:, -3:], targets[:, -3:]) + ranked) / 2
