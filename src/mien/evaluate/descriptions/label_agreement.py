"""How well the labels that texts name agree with those that annotators chose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool

from mien.labels import LabelSet

__all__ = ["LabelAgreement", "LabelNaming", "Rate", "measure_agreement", "rate"]

_Z: Final = 1.96  # of a 95 % interval
_Truth = Bool[np.ndarray, "sample label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share, with its 95 % interval (Wilson's, which holds near 0 and 1 as well).

    Attributes:
        value: The share, from 0 to 1.
        low: Lower bound of the interval.
        high: Upper bound of the interval.
        n: How many texts the share is of.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNaming:
    """How often texts name one label.

    Attributes:
        label: The label.
        gold: For how many texts it is a gold label.
        named_if_gold: The share of the texts with that gold label that name it; None if there are none.
        named_if_not: The share of all other texts that name it; None if there are none.
        lift: `named_if_gold` divided by `named_if_not`; None if it is not defined.
    """

    label: str
    gold: int
    named_if_gold: float | None
    named_if_not: float | None
    lift: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAgreement:
    """How often texts name their gold labels.

    Attributes:
        n: How many texts have gold labels.
        unlabeled: How many of those texts name no label.
        first: How often the first label that a text names is gold, among texts that name one.
        chance: The value of `first` if the same names were assigned to the texts at random.
        named_if_gold: How often a text names a label that is gold, over all pairs of a text and a label.
        named_if_not: How often a text names a label that is not gold, over all pairs of a text and a label.
        labels: How often texts name each label.
    """

    n: int
    unlabeled: int
    first: Rate | None
    chance: float | None
    named_if_gold: Rate | None
    named_if_not: Rate | None
    labels: tuple[LabelNaming, ...]


def rate(hits: int, n: int) -> Rate | None:
    """`hits` out of `n` with an interval; None if n is 0."""
    if n == 0:
        return None
    value, scale = hits / n, 1 + _Z**2 / n
    middle = (value + _Z**2 / (2 * n)) / scale
    half = _Z / scale * math.sqrt(value * (1 - value) / n + _Z**2 / (4 * n**2))
    # Rounding may leave the value slightly outside.
    return Rate(value=value, low=min(value, middle - half), high=max(value, middle + half), n=n)


def measure_agreement(
    label_set: LabelSet, named: Sequence[Sequence[str]], truth: _Truth
) -> LabelAgreement | None:
    """Compares the labels that each text names, in order, with its gold labels; None for no texts.

    Args:
        label_set: The labels.
        named: The labels that each text names, the first one first.
        truth: The gold labels, [text, label].
    """
    if not named:
        return None
    is_named = np.array([label_set.encode(labels) for labels in named]) > 0
    firsts = [(label_set.index(labels[0]), row) for row, labels in enumerate(named) if labels]
    # A text without gold labels cannot be right.
    rated = [(label, row) for label, row in firsts if truth[row].any()]
    return LabelAgreement(
        n=len(named),
        unlabeled=len(named) - len(firsts),
        first=rate(sum(bool(truth[row, label]) for label, row in rated), len(rated)),
        chance=_chance(rated, truth),
        named_if_gold=rate(int((is_named & truth).sum()), int(truth.sum())),
        named_if_not=rate(int((is_named & ~truth).sum()), int((~truth).sum())),
        labels=tuple(
            _label_naming(label, is_named[:, index], truth[:, index])
            for index, label in enumerate(label_set.labels)
        ),
    )


def _chance(rated: Sequence[tuple[int, int]], truth: _Truth) -> float | None:
    if not rated:
        return None
    labels, rows = (np.array(part) for part in zip(*rated, strict=True))
    return float(truth[rows].mean(axis=0)[labels].mean())


def _label_naming(
    label: str, is_named: Bool[np.ndarray, " sample"], gold: Bool[np.ndarray, " sample"]
) -> LabelNaming:
    if_gold = float(is_named[gold].mean()) if gold.any() else None
    if_not = float(is_named[~gold].mean()) if not gold.all() else None
    return LabelNaming(
        label=label,
        gold=int(gold.sum()),
        named_if_gold=if_gold,
        named_if_not=if_not,
        lift=if_gold / if_not if if_gold is not None and if_not else None,
    )
