"""Losses of the labels alone, by the names that `train.loss` knows, each with options of its own.

Goes in: logits, targets. Comes out: one number, the mean over samples (and labels, where each stands alone).
Knows nothing about: models, dimensions, label names.

Every loss here is a mean over samples of something that looks at one sample only, so that parts of a batch
add up to the whole. All are linear in the targets, and so take soft ones: a target t is t of a positive and
1 - t of a negative. They are computed in float32 whatever the logits' precision.
"""

from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from mien.recipe.options import Options

__all__ = [
    "AsymmetricOptions",
    "BinaryOptions",
    "ClassBalancedOptions",
    "CrossEntropyOptions",
    "FocalOptions",
    "LabelLoss",
    "asymmetric_loss",
    "balanced_binary_cross_entropy",
    "balanced_cross_entropy",
    "binary_cross_entropy",
    "cross_entropy",
    "focal_loss",
    "smoothed",
]

LabelLoss = Callable[[Float[Tensor, "batch label"], Float[Tensor, "batch label"]], Float[Tensor, ""]]


class BinaryOptions(Options):
    """[train.loss_options] of "bce". `positive_weights`: positives of rare labels count more, by the ratio of
    negatives to positives in train to the `power`, at most `cap` times."""

    positive_weights: bool = False
    power: float = Field(default=1.0, gt=0)
    cap: float = Field(default=10.0, ge=1)


class CrossEntropyOptions(Options):
    """[train.loss_options] of "cross_entropy": none; see `train.label_smoothing`."""


class FocalOptions(Options):
    """[train.loss_options] of "focal". `alpha`: the share of positives' weight, the rest is negatives'."""

    gamma: float = Field(default=2.0, ge=0)
    alpha: float | None = Field(default=None, gt=0, lt=1)


class AsymmetricOptions(Options):
    """[train.loss_options] of "asl"; the defaults are the paper's."""

    gamma_positive: float = Field(default=0.0, ge=0)
    gamma_negative: float = Field(default=4.0, ge=0)
    margin: float = Field(default=0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _has_a_slope(self) -> Self:
        if 0 < self.gamma_negative < 1 and self.margin > 0:
            raise ValueError(
                "gamma_negative between 0 and 1 has no gradient at the margin: give 0, or 1 or more"
            )
        return self


class ClassBalancedOptions(Options):
    """[train.loss_options] of "class_balanced". `gamma` above 0: focal as well, as in the paper."""

    beta: float = Field(default=0.999, ge=0, lt=1)
    gamma: float = Field(default=0.0, ge=0)


# --- Any number of labels may hold ---


def binary_cross_entropy(
    logits: Float[Tensor, "batch label"],
    targets: Float[Tensor, "batch label"],
    positive_weights: Float[Tensor, " label"] | None = None,
) -> Float[Tensor, ""]:
    """For sets in which any number of labels may hold; targets in 0..1. The mean over both axes."""
    return F.binary_cross_entropy_with_logits(logits.float(), targets, pos_weight=positive_weights)


def focal_loss(
    logits: Float[Tensor, "batch label"],
    targets: Float[Tensor, "batch label"],
    *,
    gamma: float,
    alpha: float | None = None,
) -> Float[Tensor, ""]:
    """-(1 - p)^gamma log p for positives, -p^gamma log(1 - p) for negatives (Lin et al. 2017, eq. 4, 5)."""
    positive, negative = _focal_parts(logits.float(), gamma)
    share = 0.5 if alpha is None else alpha
    # Without alpha both count whole, not half.
    scale = 2.0 if alpha is None else 1.0
    return scale * (share * targets * positive + (1 - share) * (1 - targets) * negative).mean()


def asymmetric_loss(
    logits: Float[Tensor, "batch label"],
    targets: Float[Tensor, "batch label"],
    *,
    gamma_positive: float,
    gamma_negative: float,
    margin: float,
) -> Float[Tensor, ""]:
    """Negatives focus harder than positives, and easy ones count nothing (Ridnik et al. 2021, section 2).

    L+ = -(1 - p)^gamma_positive log p, L- = -p_m^gamma_negative log(1 - p_m), p_m = max(p - margin, 0). The
    mean, where the authors sum: rates need not follow the batch.
    """
    positive, negative = _focal_parts(logits.float(), gamma_positive)
    if margin > 0:
        rest = (torch.sigmoid(-logits.float()) + margin).clamp(max=1)  # 1 - p_m
        negative = -rest.log() if gamma_negative == 0 else -((1 - rest) ** gamma_negative) * rest.log()
    else:
        _, negative = _focal_parts(logits.float(), gamma_negative)
    return (targets * positive + (1 - targets) * negative).mean()


def balanced_binary_cross_entropy(
    logits: Float[Tensor, "batch label"],
    targets: Float[Tensor, "batch label"],
    weights: Float[Tensor, " label"],
    *,
    gamma: float = 0.0,
) -> Float[Tensor, ""]:
    """Binary cross-entropy, or focal loss, in which each label has a weight, for positives and negatives
    alike: what is learned is still a probability."""
    positive, negative = _focal_parts(logits.float(), gamma)
    return (weights * (targets * positive + (1 - targets) * negative)).mean()


def _focal_parts(logits: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The loss of each logit if its target were 1, and if it were 0."""
    log_p, log_rest = F.logsigmoid(logits), F.logsigmoid(-logits)
    if gamma == 0:
        return -log_p, -log_rest
    # Powers by way of logarithms: their gradient is finite also where p rounds to 0 or 1.
    return -(gamma * log_rest).exp() * log_p, -(gamma * log_p).exp() * log_rest


# --- Exactly one label holds ---


def cross_entropy(
    logits: Float[Tensor, "batch label"], targets: Float[Tensor, "batch label"]
) -> Float[Tensor, ""]:
    """For sets in which exactly one label holds; each row of targets sums to 1."""
    return F.cross_entropy(logits.float(), targets)


def balanced_cross_entropy(
    logits: Float[Tensor, "batch label"],
    targets: Float[Tensor, "batch label"],
    weights: Float[Tensor, " label"],
    *,
    gamma: float = 0.0,
) -> Float[Tensor, ""]:
    """Cross-entropy in which each label has a weight, focal on softmax if `gamma` is not 0.

    The mean over samples, not over weights: a batch of rare labels moves the model further.
    """
    log_p = logits.float().log_softmax(dim=1)
    if gamma:
        # 1 - p, of which the logarithm is wanted, from below: p may round to 1.
        rest = (-torch.expm1(log_p)).clamp(min=torch.finfo(torch.float32).tiny)
        log_p = rest**gamma * log_p
    return -(weights * targets * log_p).sum(dim=1).mean()


def smoothed(
    targets: Float[Tensor, "batch label"], smoothing: float, *, exclusive: bool
) -> Float[Tensor, "batch label"]:
    """Targets that are a little less sure (Szegedy et al. 2016, section 7): mixed with "any label alike",
    which is one over their number where exactly one holds, and one half where each stands alone."""
    if smoothing == 0:
        return targets
    return targets * (1 - smoothing) + smoothing / (targets.shape[1] if exclusive else 2)
