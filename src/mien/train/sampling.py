"""Which samples each step trains on, and which of them without their description.

All draws depend on the seed and the number of the epoch or step alone, so resuming needs no saved state.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mien.batches.batch import shuffled_batches
from mien.recipe import TrainOptions

__all__ = ["draw_variants", "dropped_descriptions", "epoch_batches", "sampling_probabilities"]

# Random streams separate from those of the sample order and of dropout.
_DESCRIPTIONS, _VARIANTS = 2, 3


def epoch_batches(
    lengths: Int[np.ndarray, " sample"],
    targets: Float[Tensor, "sample label"],
    options: TrainOptions,
    *,
    epoch: int,
) -> list[Int[np.ndarray, " batch"]]:
    """The rows of each step of an epoch: `batch_size` x `accumulate` per step, fewer in one of them."""
    chances = sampling_probabilities(targets) if options.sampler == "balanced" else None
    size = options.batch_size * options.accumulate
    return shuffled_batches(lengths, size, seed=options.seed, epoch=epoch, chances=chances)


def sampling_probabilities(targets: Float[Tensor, "sample label"]) -> Float[np.ndarray, " sample"]:
    """The probability of drawing each sample: inverse to the count of its rarest label; they sum to 1.

    A soft target counts as a label from 0.5 on. A sample without labels is as likely as one that has only the
    most frequent label. Label frequencies move closer together but do not become equal, because the labels
    of a sample are drawn together.
    """
    has = targets >= 0.5
    counts = has.sum(dim=0)
    if not has.any():
        return np.full(len(targets), 1 / len(targets))
    rarest = torch.where(has, counts, counts.max()).min(dim=1).values
    inverse = 1 / rarest.double()
    probabilities: np.ndarray = (inverse / inverse.sum()).numpy()
    return probabilities


def dropped_descriptions(
    num_rows: int, rate: float, *, seed: int, step: int
) -> Bool[np.ndarray, " batch"] | None:
    """Which rows of a step lose their description, each with probability `rate`; None if `rate` is 0."""
    if rate == 0:
        return None
    drawn: np.ndarray = np.random.default_rng([seed, step, _DESCRIPTIONS]).random(num_rows)
    return drawn < rate


def draw_variants(
    rows: Int[np.ndarray, " batch"], num_variants: int, *, seed: int, step: int
) -> Int[np.ndarray, " batch"] | None:
    """Which augmented variant of its image each row of a step shows; None if there is only one."""
    if num_variants == 1:
        return None
    return np.random.default_rng([seed, step, _VARIANTS]).integers(num_variants, size=len(rows))
