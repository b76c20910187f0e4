"""Losses: what training makes small.

Goes in: a classifier's output, targets. Comes out: one number to differentiate.
Knows nothing about: models, optimisers, label names. The labels' part is in `label_losses`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mien.errors import ConfigError
from mien.labels import LabelSet
from mien.model.classifier import ClassifierOutput
from mien.recipe.options import Options
from mien.recipe.recipe import TrainOptions
from mien.train.class_weights import LabelCounts, effective_number_weights, positive_weights
from mien.train.label_losses import (
    AsymmetricOptions,
    BinaryOptions,
    ClassBalancedOptions,
    CrossEntropyOptions,
    FocalOptions,
    LabelLoss,
    asymmetric_loss,
    balanced_binary_cross_entropy,
    balanced_cross_entropy,
    binary_cross_entropy,
    cross_entropy,
    focal_loss,
    smoothed,
)

__all__ = ["WHOLE", "Loss", "Share", "binary_cross_entropy", "cross_entropy", "dimension_loss", "make_loss"]

# Below one point of EMOTIC's ten the error counts squared, above it as it is: annotators differ by more.
_BETA: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which share of a batch a part of it is: of its samples, and of its annotated dimensions."""

    samples: float = 1.0
    annotated: float = 1.0


WHOLE: Final = Share()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The labels' loss (None: they do not learn), and the dimensions' times a weight if the classifier has
    them."""

    labels: LabelLoss | None
    exclusive: bool
    label_smoothing: float
    dimension_weight: float

    def __call__(
        self,
        output: ClassifierOutput,
        targets: Float[Tensor, "batch label"],
        dimensions: Float[Tensor, "batch dimension"],
        share: Share = WHOLE,
    ) -> Float[Tensor, ""]:
        """What these samples add to the batch's loss; the whole of it if they are the batch."""
        total = output.logits.new_zeros(())
        if self.labels is not None:
            wanted = smoothed(targets, self.label_smoothing, exclusive=self.exclusive)
            total = self.labels(output.logits, wanted) * share.samples
        if output.dimensions is not None:
            weight = self.dimension_weight * share.annotated
            total = total + weight * dimension_loss(output.dimensions.float(), dimensions)
        return total


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


def make_loss(options: TrainOptions, label_set: LabelSet, counts: LabelCounts | None = None) -> Loss:
    """The loss that `[train]` asks for. `counts`: of train, where a loss weighs labels by them; all alike
    without. ConfigError for unknown options, or a loss that does not fit the label set."""
    kind = options.loss
    if kind == "auto":
        kind = "cross_entropy" if label_set.exclusive else "bce"
    if kind == "cross_entropy" and not label_set.exclusive:
        raise ConfigError(
            f"train.loss 'cross_entropy' needs exactly one label; in set {label_set.name!r} several may hold",
            hint="set train.loss to 'auto' or 'bce'",
        )
    own, build = _LOSSES[kind]
    given: Any = own.parse(options.loss_options, where=f"train.loss_options of {kind!r}")
    if counts is None:
        counts = LabelCounts(positives=torch.zeros(len(label_set)), samples=0)
    softmax = label_set.exclusive and kind in ("cross_entropy", "class_balanced")
    return Loss(
        labels=None if options.heads == "dimensions" else build(given, counts, label_set.exclusive),
        exclusive=softmax,
        label_smoothing=options.label_smoothing,
        dimension_weight=options.dimension_weight,
    )


def _bce(own: BinaryOptions, counts: LabelCounts, exclusive: bool) -> LabelLoss:
    if not own.positive_weights:
        return binary_cross_entropy
    weights = positive_weights(counts, power=own.power, cap=own.cap)
    return partial(binary_cross_entropy, positive_weights=weights)


def _cross_entropy(own: CrossEntropyOptions, counts: LabelCounts, exclusive: bool) -> LabelLoss:
    return cross_entropy


def _focal(own: FocalOptions, counts: LabelCounts, exclusive: bool) -> LabelLoss:
    return partial(focal_loss, gamma=own.gamma, alpha=own.alpha)


def _asl(own: AsymmetricOptions, counts: LabelCounts, exclusive: bool) -> LabelLoss:
    return partial(asymmetric_loss, **own.model_dump())


def _class_balanced(own: ClassBalancedOptions, counts: LabelCounts, exclusive: bool) -> LabelLoss:
    weights = effective_number_weights(counts, beta=own.beta)
    function = balanced_cross_entropy if exclusive else balanced_binary_cross_entropy
    return partial(function, weights=weights, gamma=own.gamma)


_LOSSES: Final[dict[str, tuple[type[Options], Callable[[Any, LabelCounts, bool], LabelLoss]]]] = {
    "asl": (AsymmetricOptions, _asl),
    "bce": (BinaryOptions, _bce),
    "class_balanced": (ClassBalancedOptions, _class_balanced),
    "cross_entropy": (CrossEntropyOptions, _cross_entropy),
    "focal": (FocalOptions, _focal),
}
