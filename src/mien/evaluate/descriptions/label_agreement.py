"""How well the labels that texts name agree with those that annotators chose.

Goes in: for each text the labels that it names, and the gold labels. Comes out: `Naming`.
Knows nothing about: how names are found in a text, or what a suspicious figure is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool

from mien.labels import LabelSet

__all__ = ["LabelNaming", "Naming", "Rate", "compare_names", "rate"]

_Z: Final = 1.96  # of a 95 % interval
_Truth = Bool[np.ndarray, "sample label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of `n`, with its 95 % interval (Wilson's, which holds near 0 and 1 as well)."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNaming:
    """How often texts name a label that is gold for them, and one that is not; None if there are no such.

    `lift` is the former by the latter.
    """

    label: str
    gold: int
    named_if_gold: float | None
    named_if_not: float | None
    lift: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Of `n` texts with gold labels: how many name any label, and how often the names are right.

    `first` is how often the label that a text names first is gold, among the texts that name one; `chance`
    what the same names reach if they are dealt out to the texts at random. `named_if_gold` and
    `named_if_not` are over all pairs of a text and a label.
    """

    n: int
    silent: int
    first: Rate | None
    chance: float | None
    named_if_gold: Rate | None
    named_if_not: Rate | None
    labels: tuple[LabelNaming, ...]


def rate(hits: int, n: int) -> Rate | None:
    """Hits out of n with their interval; None out of nothing."""
    if n == 0:
        return None
    value, scale = hits / n, 1 + _Z**2 / n
    middle = (value + _Z**2 / (2 * n)) / scale
    half = _Z / scale * math.sqrt(value * (1 - value) / n + _Z**2 / (4 * n**2))
    # Rounding may leave the value a hair outside.
    return Rate(value=value, low=min(value, middle - half), high=max(value, middle + half), n=n)


def compare_names(label_set: LabelSet, named: Sequence[Sequence[str]], truth: _Truth) -> Naming | None:
    """The figures of texts that name these labels, in the order in which they come; None for no texts."""
    if not named:
        return None
    said = np.array([label_set.encode(labels) for labels in named]) > 0
    firsts = [(label_set.index(labels[0]), row) for row, labels in enumerate(named) if labels]
    # Where no label is gold, none can be right.
    rated = [(label, row) for label, row in firsts if truth[row].any()]
    return Naming(
        n=len(named),
        silent=len(named) - len(firsts),
        first=rate(sum(bool(truth[row, label]) for label, row in rated), len(rated)),
        chance=_dealt_out(rated, truth),
        named_if_gold=rate(int((said & truth).sum()), int(truth.sum())),
        named_if_not=rate(int((said & ~truth).sum()), int((~truth).sum())),
        labels=tuple(
            _of_label(label, said[:, index], truth[:, index]) for index, label in enumerate(label_set.labels)
        ),
    )


def _dealt_out(rated: Sequence[tuple[int, int]], truth: _Truth) -> float | None:
    if not rated:
        return None
    labels, rows = (np.array(part) for part in zip(*rated, strict=True))
    return float(truth[rows].mean(axis=0)[labels].mean())


def _of_label(
    label: str, said: Bool[np.ndarray, " sample"], gold: Bool[np.ndarray, " sample"]
) -> LabelNaming:
    inside = float(said[gold].mean()) if gold.any() else None
    outside = float(said[~gold].mean()) if not gold.all() else None
    return LabelNaming(
        label=label,
        gold=int(gold.sum()),
        named_if_gold=inside,
        named_if_not=outside,
        lift=inside / outside if inside is not None and outside else None,
    )
