"""What a random order reaches in average precision: the chance level of data summaries and of scores."""

from functools import lru_cache

__all__ = ["random_average_precision"]


def random_average_precision(num_positives: int, num_samples: int) -> float:
    """The mean of average precision over all orders of the samples (Bestgen 2015); at least 1 positive.

    It is above the prevalence, the more the fewer samples there are: by .038 where 10 of 100 have the label,
    by .0008 where 1,000 of 10,000 have it.
    """
    harmonic = _harmonic(num_samples)
    others = (num_positives - 1) / max(1, num_samples - 1)  # prevalence among the other samples
    return (others * (num_samples - harmonic) + harmonic) / num_samples


@lru_cache(maxsize=64)
def _harmonic(number: int) -> float:
    return sum(1 / rank for rank in range(1, number + 1))
