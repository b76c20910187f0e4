"""Losses: what a training minimizes.

A label loss is a function of logits and targets. It is listed as a "loss" in `mien.registry`, chosen by
`train.loss`, and has its options class next to it. `build_loss` adds the loss of the dimensions.

Every label loss is a mean over samples of a term that reads one sample only, so the losses of micro-batches
add up to the loss of the batch. Each is linear in the targets and so accepts soft ones: a target t counts t
times as a positive and 1 - t times as a negative. All compute in float32, for logits of any precision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, Self, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from mien.errors import ConfigError
from mien.labels import LabelSet
from mien.model.classifier import ClassifierOutput
from mien.recipe import Options, TrainOptions
from mien.registry import resolve

__all__ = [
    "WHOLE_BATCH",
    "AsymmetricOptions",
    "BatchFraction",
    "BinaryOptions",
    "ClassBalancedOptions",
    "FocalOptions",
    "LabelCounts",
    "LossOptions",
    "TrainingLoss",
    "asymmetric_loss",
    "binary_cross_entropy",
    "build_loss",
    "class_balanced_loss",
    "cross_entropy",
    "dimension_loss",
    "effective_number_weights",
    "focal_loss",
    "label_loss",
    "positive_weights",
    "smooth_targets",
]

# "by_label_set": softmax if exactly one label holds, sigmoid if any number may.
Activation = Literal["sigmoid", "softmax", "by_label_set"]
Function = TypeVar("Function", bound=Callable[..., Tensor])

# Smooth L1 is quadratic below one point of EMOTIC's ten and linear above: annotators differ by more.
_BETA: Final = 0.1


# --- What a loss may know of the training labels ---


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelCounts:
    """How many training samples have each label; with soft targets the counts need not be whole numbers."""

    positives: Float[Tensor, " label"]
    num_samples: int

    @classmethod
    def of(cls, targets: Float[Tensor, "sample label"], device: torch.device | str = "cpu") -> "LabelCounts":
        """Count the targets of a split; the counts are float32 on `device`."""
        return cls(positives=targets.double().sum(dim=0).float().to(device), num_samples=len(targets))

    @property
    def without_positives(self) -> list[int]:
        """The indices of labels that no sample has."""
        return (self.positives == 0).nonzero().flatten().tolist()


def positive_weights(counts: LabelCounts, *, power: float, cap: float) -> Float[Tensor, " label"]:
    """The ratio of negatives to positives, to the `power`, clamped to [1 / `cap`, `cap`].

    A label without positives gets weight 1.
    """
    positives = counts.positives
    ratio = ((counts.num_samples - positives) / positives.clamp(min=torch.finfo(torch.float32).tiny)) ** power
    return torch.where(positives > 0, ratio.clamp(1 / cap, cap), torch.ones_like(ratio))


def effective_number_weights(counts: LabelCounts, *, beta: float) -> Float[Tensor, " label"]:
    """(1 - beta) / (1 - beta^n) for a label with n positives (Cui et al. 2019, Proposition 1, section 4).

    Scaled to a mean of 1 over the labels with positives; a label without positives gets weight 1.
    """
    positives = counts.positives.double()
    has = positives > 0
    # expm1, because beta^n is close to 1 for a rare label and beta near 1.
    number = torch.expm1(positives * torch.tensor(beta, dtype=torch.float64).log()) / (beta - 1)
    weights = torch.where(
        has, 1 / number.clamp(min=torch.finfo(torch.float64).tiny), torch.zeros_like(number)
    )
    scaled = weights / (weights.sum() / has.sum().clamp(min=1)).clamp(min=torch.finfo(torch.float64).tiny)
    return torch.where(has, scaled, torch.ones_like(scaled)).float()


# --- The contract ---


class LossOptions(Options):
    """Base of a label loss's [train.loss_options]; without fields of its own, for a loss without options."""

    def arguments(self, counts: LabelCounts, *, exclusive: bool) -> dict[str, Any]:
        """The keyword arguments of the loss function: the options, unless a subclass computes others.

        Args:
            counts: The training labels, for losses that weight labels by their frequency.
            exclusive: Whether exactly one label holds.
        """
        return self.model_dump()


@dataclass(frozen=True, slots=True)
class _Registration:
    options: type[LossOptions]
    activation: Activation


def label_loss(
    options: type[LossOptions] = LossOptions, *, activation: Activation = "sigmoid"
) -> Callable[[Function], Function]:
    """Declare a function as a label loss.

    The function takes logits and targets, both of shape (batch, label), and the keyword arguments that
    `options.arguments` returns. It returns a scalar.

    Args:
        options: The class that parses [train.loss_options].
        activation: What turns the logits into probabilities. "softmax" refuses label sets in which several
            labels may hold. Label smoothing follows it.
    """

    def declare(function: Function) -> Function:
        function.registration = _Registration(options, activation)  # type: ignore[attr-defined]
        return function

    return declare


# --- Label losses ---


class BinaryOptions(LossOptions):
    """[train.loss_options] of "bce".

    Attributes:
        positive_weights: Whether the positives of a label count as often as it has negatives per positive in
            the training split, to the `power`, at most `cap` times.
        power: The exponent of these weights.
        cap: The highest of these weights.
    """

    positive_weights: bool = False
    power: float = Field(default=1.0, gt=0)
    cap: float = Field(default=10.0, ge=1)

    def arguments(self, counts: LabelCounts, *, exclusive: bool) -> dict[str, Any]:
        weights = positive_weights(counts, power=self.power, cap=self.cap) if self.positive_weights else None
        return {"positive_weights": weights}


@label_loss(BinaryOptions)
def binary_cross_entropy(
    logits: Float[Tensor, "batch label"],
    targets: Float[Tensor, "batch label"],
    positive_weights: Float[Tensor, " label"] | None = None,
) -> Float[Tensor, ""]:
    """Binary cross-entropy, the mean over samples and labels; targets are in 0..1."""
    return F.binary_cross_entropy_with_logits(logits.float(), targets, pos_weight=positive_weights)


@label_loss(activation="softmax")
def cross_entropy(
    logits: Float[Tensor, "batch label"], targets: Float[Tensor, "batch label"]
) -> Float[Tensor, ""]:
    """Cross-entropy for label sets in which exactly one label holds; each row of targets sums to 1."""
    return F.cross_entropy(logits.float(), targets)


class FocalOptions(LossOptions):
    """[train.loss_options] of "focal".

    Attributes:
        gamma: How much less well-classified samples count; 0 is cross-entropy.
        alpha: The weight of positives; negatives have 1 - `alpha`. By default both have 1.
    """

    gamma: float = Field(default=2.0, ge=0)
    alpha: float | None = Field(default=None, gt=0, lt=1)


@label_loss(FocalOptions)
def focal_loss(
    logits: Float[Tensor, "batch label"],
    targets: Float[Tensor, "batch label"],
    *,
    gamma: float,
    alpha: float | None = None,
) -> Float[Tensor, ""]:
    """-(1 - p)^gamma log p for positives, -p^gamma log(1 - p) for negatives (Lin et al. 2017, eq. 4, 5).

    Without `alpha` positives and negatives both have weight 1.
    """
    positive, negative = _focal_terms(logits.float(), gamma)
    share = 0.5 if alpha is None else alpha
    scale = 2.0 if alpha is None else 1.0
    return scale * (share * targets * positive + (1 - share) * (1 - targets) * negative).mean()


class AsymmetricOptions(LossOptions):
    """[train.loss_options] of "asl"; the defaults are the paper's.

    Attributes:
        gamma_positive: Exponent of positives, as `gamma` of the focal loss.
        gamma_negative: Exponent of negatives, likewise.
        margin: Probability below which negatives are ignored.
    """

    gamma_positive: float = Field(default=0.0, ge=0)
    gamma_negative: float = Field(default=4.0, ge=0)
    margin: float = Field(default=0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _has_finite_gradient(self) -> Self:
        if 0 < self.gamma_negative < 1 and self.margin > 0:
            raise ValueError(
                "gamma_negative between 0 and 1 has no gradient at the margin: give 0, or 1 or more"
            )
        return self


@label_loss(AsymmetricOptions)
def asymmetric_loss(
    logits: Float[Tensor, "batch label"],
    targets: Float[Tensor, "batch label"],
    *,
    gamma_positive: float,
    gamma_negative: float,
    margin: float,
) -> Float[Tensor, ""]:
    """Asymmetric loss: focuses more on hard negatives and ignores easy ones (Ridnik et al. 2021, section 2).

    L+ = -(1 - p)^gamma_positive log p, L- = -p_m^gamma_negative log(1 - p_m), p_m = max(p - margin, 0). This
    is the mean, where the authors take the sum, so that the learning rate need not follow the batch size.
    """
    positive, negative = _focal_terms(logits.float(), gamma_positive)
    if margin > 0:
        rest = (torch.sigmoid(-logits.float()) + margin).clamp(max=1)  # 1 - p_m
        negative = -rest.log() if gamma_negative == 0 else -((1 - rest) ** gamma_negative) * rest.log()
    else:
        _, negative = _focal_terms(logits.float(), gamma_negative)
    return (targets * positive + (1 - targets) * negative).mean()


class ClassBalancedOptions(LossOptions):
    """[train.loss_options] of "class_balanced".

    Attributes:
        beta: How much rare labels gain: 0 weights all labels alike, toward 1 by the inverse of their number.
        gamma: Exponent of the focal weighting, as in the paper; 0 for none.
    """

    beta: float = Field(default=0.999, ge=0, lt=1)
    gamma: float = Field(default=0.0, ge=0)

    def arguments(self, counts: LabelCounts, *, exclusive: bool) -> dict[str, Any]:
        weights = effective_number_weights(counts, beta=self.beta)
        return {"weights": weights, "gamma": self.gamma, "softmax": exclusive}


@label_loss(ClassBalancedOptions, activation="by_label_set")
def class_balanced_loss(
    logits: Float[Tensor, "batch label"],
    targets: Float[Tensor, "batch label"],
    *,
    weights: Float[Tensor, " label"],
    gamma: float = 0.0,
    softmax: bool = False,
) -> Float[Tensor, ""]:
    """Cross-entropy, or focal loss if `gamma` is not 0, with one weight per label (Cui et al. 2019).

    Sigmoid: the weight applies to a label's positives and negatives alike, so scores remain probabilities.
    Softmax: the mean over samples, not over weights, so a batch of rare labels makes a larger step.
    """
    if not softmax:
        positive, negative = _focal_terms(logits.float(), gamma)
        return (weights * (targets * positive + (1 - targets) * negative)).mean()
    log_p = logits.float().log_softmax(dim=1)
    if gamma:
        # 1 - p, clamped from below because p may round to 1.
        rest = (-torch.expm1(log_p)).clamp(min=torch.finfo(torch.float32).tiny)
        log_p = rest**gamma * log_p
    return -(weights * targets * log_p).sum(dim=1).mean()


def _focal_terms(logits: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The loss of each logit if its target were 1, and if it were 0."""
    log_p, log_rest = F.logsigmoid(logits), F.logsigmoid(-logits)
    if gamma == 0:
        return -log_p, -log_rest
    # Powers computed from logarithms have finite gradients even where p rounds to 0 or 1.
    return -(gamma * log_rest).exp() * log_p, -(gamma * log_p).exp() * log_rest


def smooth_targets(
    targets: Float[Tensor, "batch label"], smoothing: float, *, softmax: bool
) -> Float[Tensor, "batch label"]:
    """Label smoothing (Szegedy et al. 2016, section 7): mix the targets with the uniform distribution.

    That is 1 / (number of labels) for a softmax, and 1/2 for independent labels.
    """
    if smoothing == 0:
        return targets
    return targets * (1 - smoothing) + smoothing / (targets.shape[1] if softmax else 2)


# --- Dimensions ---


def dimension_loss(
    values: Float[Tensor, "batch dimension"], targets: Float[Tensor, "batch dimension"]
) -> Float[Tensor, ""]:
    """Smooth L1 (Girshick 2015, eq. 3), the mean over annotated targets (those that are not NaN).

    Returns 0 if none is annotated.
    """
    annotated = targets.isfinite()
    # Multiplying by the mask would let NaN through, in the gradient as well.
    errors = F.smooth_l1_loss(
        values, torch.where(annotated, targets, values.detach()), reduction="sum", beta=_BETA
    )
    return errors / annotated.sum().clamp(min=1)


# --- The loss of a training ---


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFraction:
    """The fraction of a batch that a micro-batch holds: of its samples, and of its annotated dimensions."""

    samples: float = 1.0
    annotated: float = 1.0


WHOLE_BATCH: Final = BatchFraction()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLoss:
    """The label loss, plus the weighted dimension loss if the classifier predicts dimensions.

    `labels` is None if only dimensions are learned. `softmax`: how targets are smoothed.
    """

    labels: Callable[[Tensor, Tensor], Tensor] | None
    softmax: bool
    label_smoothing: float
    dimension_weight: float

    def __call__(
        self,
        output: ClassifierOutput,
        targets: Float[Tensor, "batch label"],
        dimensions: Float[Tensor, "batch dimension"],
        fraction: BatchFraction = WHOLE_BATCH,
    ) -> Float[Tensor, ""]:
        """What these samples contribute to the loss of their batch."""
        total = output.logits.new_zeros(())
        if self.labels is not None:
            smoothed = smooth_targets(targets, self.label_smoothing, softmax=self.softmax)
            total = self.labels(output.logits, smoothed) * fraction.samples
        if output.dimensions is not None:
            weight = self.dimension_weight * fraction.annotated
            total = total + weight * dimension_loss(output.dimensions.float(), dimensions)
        return total


def build_loss(options: TrainOptions, label_set: LabelSet, counts: LabelCounts | None = None) -> TrainingLoss:
    """Build the loss that [train] names.

    Args:
        options: The section [train] of a recipe.
        label_set: The labels of the logits.
        counts: The training labels, for losses that weight labels by frequency; None weights them equally.

    Raises:
        ConfigError: The loss or one of its options is unknown, or the loss does not fit the label set.
    """
    name = options.loss
    if name == "auto":
        name = "cross_entropy" if label_set.exclusive else "bce"
    function = resolve("loss", name)
    declared = getattr(function, "registration", None)
    if not (callable(function) and isinstance(declared, _Registration)):
        raise ConfigError(
            f"loss {name!r} is not a label loss", hint="decorate it with mien.train.losses.label_loss"
        )
    if declared.activation == "softmax" and not label_set.exclusive:
        raise ConfigError(
            f"train.loss {name!r} needs exactly one label; in set {label_set.name!r} several may hold",
            hint="set train.loss to 'auto' or 'bce'",
        )
    given = declared.options.parse(options.loss_options, where=f"train.loss_options of {name!r}")
    if counts is None:
        counts = LabelCounts(positives=torch.zeros(len(label_set)), num_samples=0)
    labels = partial(function, **given.arguments(counts, exclusive=label_set.exclusive))
    return TrainingLoss(
        labels=None if options.heads == "dimensions" else labels,
        softmax=declared.activation != "sigmoid" and label_set.exclusive,
        label_smoothing=options.label_smoothing,
        dimension_weight=options.dimension_weight,
    )
