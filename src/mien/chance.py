"""What a random order reaches in average precision: chance, for summaries of data and for scores alike.

Goes in: how many of how many samples have a label. Comes out: a number.
Knows nothing about: labels, scores.
"""

from functools import lru_cache

__all__ = ["random_precision"]


def random_precision(positives: int, rows: int) -> float:
    """The mean of average precision over all orders of the rows (Bestgen 2015); `positives` at least 1.

    Above the prevalence, the more the fewer rows there are: by .038 where 10 of 100 have the label, by .0008
    where 1,000 of 10,000 have it.
    """
    harmonic = _harmonic(rows)
    others = (positives - 1) / max(1, rows - 1)  # of the other rows, how many have the label
    return (others * (rows - harmonic) + harmonic) / rows


@lru_cache(maxsize=64)
def _harmonic(number: int) -> float:
    return sum(1 / place for place in range(1, number + 1))
