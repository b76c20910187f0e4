"""Whether importance is faithful: deletion and insertion curves, next to those of random orders.

What matters most is hidden first (deletion) or shown first (insertion), and the score is read on the way
(Petsiuk et al. 2018, section 3.3). If importance is faithful, the score drops sooner than in a random order,
and rises sooner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats
from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

__all__ = [
    "Curve",
    "CurveDict",
    "Faithfulness",
    "FaithfulnessDict",
    "Hideable",
    "RandomOrders",
    "measure_faithfulness",
]

_LEVEL: Final = 0.95  # of random orders are below the chance limit


class Hideable(Protocol):
    """Parts of an input, words or regions, each of which can be hidden."""

    num_parts: int

    def scores(self, hidden: Bool[np.ndarray, "variant part"]) -> Float[np.ndarray, "variant label"]:
        """The scores with some parts hidden, for each choice of parts."""


class CurveDict(TypedDict):
    """`Curve` as plain values."""

    shares: list[float]
    scores: list[float]
    area: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A score while more and more parts are hidden or shown.

    Attributes:
        shares: Which share of the parts is hidden or shown, from 0 to 1.
        scores: The score of the label at each of these shares.
    """

    shares: tuple[float, ...]
    scores: tuple[float, ...]

    @property
    def area(self) -> float:
        """The area under the curve, which is the mean score on the way, from 0 to 1."""
        return float(np.trapezoid(self.scores, self.shares))

    def to_dict(self) -> CurveDict:
        """Plain values for JSON."""
        return {"shares": list(self.shares), "scores": list(self.scores), "area": self.area}


class FaithfulnessDict(TypedDict):
    """`Faithfulness` as plain values."""

    method: str
    gain: float
    limit: float
    is_faithful: bool
    deletion: CurveDict
    insertion: CurveDict
    random_deletion: CurveDict
    random_insertion: CurveDict


@dataclass(frozen=True, slots=True, kw_only=True)
class Faithfulness:
    """How well an importance predicts what hiding does to the score of a label.

    Attributes:
        method: How importance was estimated: "attention", "occlusion" or "gradient".
        deletion: The score while the most important parts are hidden first.
        insertion: The score while the most important parts are shown first.
        random_deletion: The mean deletion curve of random orders.
        random_insertion: The mean insertion curve of random orders.
        limit: A random order gains more than this with a probability of 5 %, by the spread of those tried.
    """

    method: str
    deletion: Curve
    insertion: Curve
    random_deletion: Curve
    random_insertion: Curve
    limit: float

    @property
    def gain(self) -> float:
        """Area of insertion minus area of deletion, from -1 to 1. The mean of random orders is 0."""
        return self.insertion.area - self.deletion.area

    @property
    def is_faithful(self) -> bool:
        """Whether the gain is above what random orders reach."""
        return self.gain > self.limit

    def to_dict(self) -> FaithfulnessDict:
        """Plain values for JSON."""
        return {
            "method": self.method,
            "gain": self.gain,
            "limit": self.limit,
            "is_faithful": self.is_faithful,
            "deletion": self.deletion.to_dict(),
            "insertion": self.insertion.to_dict(),
            "random_deletion": self.random_deletion.to_dict(),
            "random_insertion": self.random_insertion.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomOrders:
    """The curves of random orders, each with the reversed order, whose gain is the opposite.

    Attributes:
        counts: How many parts are hidden at each point.
        deletion: Scores, shape (order, point, label), two orders per pair.
        insertion: The same for insertion.
        ends: Scores with nothing hidden and with everything hidden, shape (2, label).
    """

    counts: tuple[int, ...]
    deletion: Float[np.ndarray, "order point label"]
    insertion: Float[np.ndarray, "order point label"]
    ends: Float[np.ndarray, "2 label"]

    @classmethod
    def draw(cls, parts: Hideable, *, pairs: int, steps: int, seed: int) -> RandomOrders:
        """Scores random orders of the parts.

        Args:
            parts: At least one.
            pairs: Number of random orders; each counts in both directions.
            steps: Points of a curve after the first, at most one per part.
            seed: Of the orders.
        """
        number = parts.num_parts
        counts = _counts(number, steps)
        ends = parts.scores(np.array([[False] * number, [True] * number]))
        rng = np.random.default_rng(seed)
        deletion, insertion = [], []
        for _ in range(pairs):
            order = rng.permutation(number)
            forth, back = (_curve_scores(parts, some, counts, ends) for some in (order, order[::-1]))
            # Showing the first parts hides the others, which are the first ones of the reversed order.
            deletion += [forth, back]
            insertion += [back[::-1], forth[::-1]]
        return cls(counts=counts, deletion=np.stack(deletion), insertion=np.stack(insertion), ends=ends)

    def limit(self, label: int) -> float:
        """The gain that a random order exceeds with a probability of 5 %."""
        shares = np.array(self.counts) / self.counts[-1]
        gains = np.trapezoid(self.insertion[::2, :, label] - self.deletion[::2, :, label], shares, axis=1)
        # Their mean is 0, because each order has a reversed one.
        return float(stats.t.ppf(_LEVEL, len(gains)) * np.sqrt((gains**2).mean()))


def measure_faithfulness(
    parts: Hideable,
    importance: Mapping[str, Float[np.ndarray, " part"]],
    label: int,
    random: RandomOrders,
) -> tuple[Faithfulness, ...]:
    """Deletion and insertion by each importance, next to random orders.

    Args:
        parts: What is hidden.
        importance: The importance of each part, by method.
        label: The index of the label.
        random: Those of the same parts.
    """
    number, counts = parts.num_parts, random.counts
    shares = tuple(count / number for count in counts)
    found = []
    for method, values in importance.items():
        order = np.argsort(-values, kind="stable")
        forth, back = (
            _curve_scores(parts, some, counts, random.ends)[:, label] for some in (order, order[::-1])
        )
        found.append(
            Faithfulness(
                method=method,
                deletion=_curve(shares, forth),
                insertion=_curve(shares, back[::-1]),
                random_deletion=_curve(shares, random.deletion[:, :, label].mean(axis=0)),
                random_insertion=_curve(shares, random.insertion[:, :, label].mean(axis=0)),
                limit=random.limit(label),
            )
        )
    return tuple(found)


def _counts(number: int, steps: int) -> tuple[int, ...]:
    """How many parts are hidden at each point; the counts of a curve read backwards are the same."""
    half = [round(number * step / steps) for step in range(steps // 2 + 1)]
    middle = [number / 2] if steps % 2 == 0 and number % 2 == 0 else []
    below = [count for count in half if count < number / 2]
    return tuple(dict.fromkeys([*below, *map(int, middle), *(number - count for count in reversed(below))]))


def _curve_scores(
    parts: Hideable,
    order: Int[np.ndarray, " part"],
    counts: Sequence[int],
    ends: Float[np.ndarray, "2 label"],
) -> Float[np.ndarray, "point label"]:
    """The scores while parts are hidden in this order; the ends are known."""
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    between = [rank < count for count in counts[1:-1]]
    middle = parts.scores(np.stack(between)) if between else np.empty((0, ends.shape[1]))
    return np.concatenate([ends[:1], middle, ends[1:]])


def _curve(shares: tuple[float, ...], scores: Float[np.ndarray, " point"]) -> Curve:
    return Curve(shares, tuple(map(float, scores)))
