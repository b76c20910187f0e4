"""Which rows a step learns from, and which of them without their description.

Goes in: a split's targets and text lengths, `[train]`, the number of an epoch or a step. Comes out: rows.
Knows nothing about: models, losses, features.

All of it follows from the seed and a number alone, so a training that continues needs nothing kept.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mien.batches.batch import shuffled_batches
from mien.recipe import TrainOptions

__all__ = ["balanced_chances", "epoch_order", "variants_of", "wordless_rows"]

# Their own sequences of random numbers, beside those of the order and of dropout.
_WORDLESS, _VARIANTS = 2, 3


def epoch_order(
    lengths: Int[np.ndarray, " sample"],
    targets: Float[Tensor, "sample label"],
    options: TrainOptions,
    *,
    epoch: int,
) -> list[Int[np.ndarray, " batch"]]:
    """The rows of each step of an epoch: `batch_size` x `accumulate` of them, fewer in one step."""
    chances = balanced_chances(targets) if options.sampler == "balanced" else None
    size = options.batch_size * options.accumulate
    return shuffled_batches(lengths, size, seed=options.seed, epoch=epoch, chances=chances)


def balanced_chances(targets: Float[Tensor, "sample label"]) -> Float[np.ndarray, " sample"]:
    """How likely each sample is to be drawn: as one over the count of the rarest label that it has.

    A soft target counts as a label from one half on. A sample without labels is as likely as one that has
    the most frequent label only. Labels of one sample are drawn together, so that classes come closer to
    each other in frequency, and not to the same one.
    """
    has = targets >= 0.5
    counts = has.sum(dim=0)
    if not has.any():
        return np.full(len(targets), 1 / len(targets))
    rarest = torch.where(has, counts, counts.max()).min(dim=1).values
    chances = 1 / rarest.double()
    shares: np.ndarray = (chances / chances.sum()).numpy()
    return shares


def wordless_rows(num_rows: int, share: float, *, seed: int, step: int) -> Bool[np.ndarray, " batch"] | None:
    """Which rows of a step do without their description, by chance; None if no row ever does."""
    if share == 0:
        return None
    drawn: np.ndarray = np.random.default_rng([seed, step, _WORDLESS]).random(num_rows)
    return drawn < share


def variants_of(
    rows: Int[np.ndarray, " batch"], num_variants: int, *, seed: int, step: int
) -> Int[np.ndarray, " batch"] | None:
    """Which variant of its picture each row of a step shows, by chance; None if there is but one."""
    if num_variants == 1:
        return None
    return np.random.default_rng([seed, step, _VARIANTS]).integers(num_variants, size=len(rows))
