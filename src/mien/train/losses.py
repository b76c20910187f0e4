"""Losses: what training makes small.

Goes in: a classifier's output, targets. Comes out: one number to differentiate.
Knows nothing about: models, optimisers, label names.
"""

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mien.errors import ConfigError
from mien.labels import LabelSet
from mien.model.classifier import ClassifierOutput
from mien.recipe import TrainOptions

__all__ = ["Loss", "binary_cross_entropy", "cross_entropy", "dimension_loss", "make_loss"]

Loss = Callable[[ClassifierOutput, Tensor, Tensor], Tensor]

# Below one point of EMOTIC's ten the error counts squared, above it as it is: annotators differ by more.
_BETA: Final = 0.1


def binary_cross_entropy(
    logits: Float[Tensor, "batch label"], targets: Float[Tensor, "batch label"]
) -> Float[Tensor, ""]:
    """For sets in which any number of labels may hold; targets in 0..1. The mean over both axes."""
    return F.binary_cross_entropy_with_logits(logits, targets)


def cross_entropy(
    logits: Float[Tensor, "batch label"], targets: Float[Tensor, "batch label"]
) -> Float[Tensor, ""]:
    """For sets in which exactly one label holds; each row of targets sums to 1."""
    return F.cross_entropy(logits, targets)


def dimension_loss(
    values: Float[Tensor, "batch dimension"], targets: Float[Tensor, "batch dimension"]
) -> Float[Tensor, ""]:
    """Smooth L1 (Girshick 2015, eq. 3) over what was annotated, that is, not NaN; 0 if nothing was."""
    annotated = targets.isfinite()
    # A product with the mask would let NaN through, and its gradient as well.
    errors = F.smooth_l1_loss(
        values, torch.where(annotated, targets, values.detach()), reduction="sum", beta=_BETA
    )
    return errors / annotated.sum().clamp(min=1)


def make_loss(options: TrainOptions, label_set: LabelSet) -> Loss:
    """The loss that `[train]` asks for: of the labels, and of the dimensions if the classifier has them."""
    kind = options.loss
    if kind == "auto":
        kind = "cross_entropy" if label_set.exclusive else "bce"
    if kind == "cross_entropy" and not label_set.exclusive:
        raise ConfigError(
            f"train.loss 'cross_entropy' needs exactly one label; in set {label_set.name!r} several may hold",
            hint="set train.loss to 'auto' or 'bce'",
        )
    label_loss = cross_entropy if kind == "cross_entropy" else binary_cross_entropy

    def loss(output: ClassifierOutput, targets: Tensor, dimensions: Tensor) -> Tensor:
        total = label_loss(output.logits, targets)
        if output.dimensions is not None:
            total = total + dimension_loss(output.dimensions, dimensions)
        return total

    return loss
