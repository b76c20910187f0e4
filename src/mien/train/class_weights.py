"""How much each label counts: rare ones more, by how many samples of train have them.

Goes in: the targets of the split that is learned from. Comes out: one weight for each label.
Knows nothing about: logits, losses, label names.

A label without any positive sample has no frequency to weigh it by: its weight is 1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["LabelCounts", "effective_number_weights", "positive_weights"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelCounts:
    """How many samples have each label; soft targets add up to a count that need not be whole."""

    positives: Float[Tensor, " label"]
    samples: int

    @classmethod
    def of(cls, targets: Float[Tensor, "sample label"], device: torch.device | str = "cpu") -> "LabelCounts":
        """The counts of a split, as float32 on a device."""
        return cls(positives=targets.double().sum(dim=0).float().to(device), samples=len(targets))

    @property
    def without_positives(self) -> list[int]:
        """The places of labels that no sample has."""
        return (self.positives == 0).nonzero().flatten().tolist()


def positive_weights(counts: LabelCounts, *, power: float, cap: float) -> Float[Tensor, " label"]:
    """How many negatives there are for a positive, to the `power`, kept within 1 / `cap` and `cap`."""
    positives = counts.positives
    ratio = ((counts.samples - positives) / positives.clamp(min=torch.finfo(torch.float32).tiny)) ** power
    return torch.where(positives > 0, ratio.clamp(1 / cap, cap), torch.ones_like(ratio))


def effective_number_weights(counts: LabelCounts, *, beta: float) -> Float[Tensor, " label"]:
    """(1 - beta) / (1 - beta^n) for a label with n positives (Cui et al. 2019, Proposition 1, section 4).

    Scaled so that the mean is 1 over the labels that have positives.
    """
    positives = counts.positives.double()
    has = positives > 0
    # expm1: beta^n is all but 1 for a rare label and beta near 1.
    number = torch.expm1(positives * torch.tensor(beta, dtype=torch.float64).log()) / (beta - 1)
    weights = torch.where(
        has, 1 / number.clamp(min=torch.finfo(torch.float64).tiny), torch.zeros_like(number)
    )
    scaled = weights / (weights.sum() / has.sum().clamp(min=1)).clamp(min=torch.finfo(torch.float64).tiny)
    return torch.where(has, scaled, torch.ones_like(scaled)).float()
