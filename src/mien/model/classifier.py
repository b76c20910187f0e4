"""The classifier: a fusion, a linear head for the labels, and one for valence, arousal and dominance."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.model.fusion import Fusion
from mien.model.label_names import LabelTokens, NamedLabels
from mien.types import DIMENSIONS

__all__ = ["Classifier", "ClassifierOutput", "scores_from_logits"]

_MIN_PREVALENCE = 1e-3  # a label without samples starts as if one in a thousand had it


@dataclass(frozen=True, slots=True)
class ClassifierOutput:
    """The outputs of the heads.

    Attributes:
        logits: Shape (batch, label), for `scores_from_logits`.
        dimensions: Shape (batch, dimension): valence, arousal and dominance on the targets' scale of 0 to 1,
            which a linear head may leave a little; None if the classifier does not predict them.
    """

    logits: Float[Tensor, "batch label"]
    dimensions: Float[Tensor, "batch dimension"] | None


class Classifier(nn.Module):
    """One linear layer on the fused vector per kind of output.

    Args:
        fusion: What makes one vector per subject.
        num_labels: Number of labels.
        dimensions: Whether to predict valence, arousal and dominance.
        labels: Whether to learn the labels. Otherwise every subject gets the same logits, those of the
            labels' base rates, which are not trained.
        label_tokens: Per label, the token ids of each of its names. With them, a label that the description
            names gets a learned bonus.

    Attributes:
        encoder: A vision encoder that is trained with the classifier, or None. With one, `forward` takes
            pixels.

    Raises:
        ConfigError: If the fusion has one part per label, or there are names, for another number of labels.
    """

    def __init__(
        self,
        fusion: Fusion,
        num_labels: int,
        *,
        dimensions: bool,
        labels: bool = True,
        label_tokens: LabelTokens = (),
    ) -> None:
        super().__init__()
        self.encoder: nn.Module | None = None
        self.fusion = fusion
        self.labels = _label_head(fusion, num_labels) if labels else _BaseRates(num_labels)
        self.dimensions = nn.Linear(fusion.dim, len(DIMENSIONS)) if dimensions else None
        if label_tokens and len(label_tokens) != num_labels:
            raise ConfigError(
                f"names of {len(label_tokens)} labels for {num_labels} labels",
                hint="build the inputs with the labels of the dataset",
            )
        self.names = NamedLabels(label_tokens) if label_tokens and labels else None

    @property
    def predicts_labels(self) -> bool:
        """Whether labels are learned; otherwise their scores are the same for every subject."""
        return not isinstance(self.labels, _BaseRates)

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"]
        | UInt8[Tensor, "batch image height width channel"]
        | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> ClassifierOutput:
        """Logits, and dimensions if the classifier predicts them.

        Args:
            image: Image tokens, shape (batch, patch, image_dim), or, with an `encoder`, pixels of 0 to 255,
                shape (batch, image, height, width, channel); None if the fusion does not use it.
            text_ids: Token ids, shape (batch, text); None if the fusion does not use them.
            text_mask: True where a text token is real, shape (batch, text).
        """
        if self.encoder is not None and image is not None:
            image = self.encoder(image)
        return self.classify(image, text_ids, text_mask)

    def classify(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> ClassifierOutput:
        """`forward` of image tokens, also with an `encoder`."""
        fused = self.fusion(image, text_ids, text_mask)
        dimensions = None if self.dimensions is None else self.dimensions(fused)
        logits = self.labels(fused)
        if self.names is not None and text_ids is not None:
            logits = logits + self.names(text_ids)
        return ClassifierOutput(logits, dimensions)

    @torch.no_grad()
    def initialize_biases(
        self,
        prevalence: Float[Tensor, " label"],
        dimension_means: Float[Tensor, " dimension"],
        *,
        exclusive: bool,
    ) -> None:
        """Sets the heads' biases so that the first predictions are the average targets.

        Otherwise the first steps go into learning how rare each label is (Lin et al. 2017, section 4.1).

        Args:
            prevalence: The mean target of each label.
            dimension_means: The mean target of each dimension, 0 to 1.
            exclusive: Whether exactly one label holds.
        """
        clamped = prevalence.clamp(_MIN_PREVALENCE, 1 - _MIN_PREVALENCE)
        self.labels.bias.copy_(clamped.log() if exclusive else clamped.logit())
        if self.dimensions is not None:
            self.dimensions.bias.copy_(dimension_means)


class _LabelHead(nn.Module):
    """One logit per label, read from that label's part of the fused vector."""

    def __init__(self, num_labels: int, width: int) -> None:
        super().__init__()
        bound = width**-0.5  # as torch initializes a linear layer of this width
        self.weight = nn.Parameter(torch.empty(num_labels, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(num_labels))

    def forward(self, fused: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch label"]:
        parts = fused.view(len(fused), *self.weight.shape)
        return (parts * self.weight).sum(dim=-1) + self.bias


class _BaseRates(nn.Module):
    """The same logits for every subject."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_labels), requires_grad=False)

    def forward(self, fused: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch label"]:
        return self.bias.expand(len(fused), -1)


def _label_head(fusion: Fusion, num_labels: int) -> nn.Linear | _LabelHead:
    if fusion.num_label_parts is None:
        return nn.Linear(fusion.dim, num_labels)
    if fusion.num_label_parts != num_labels:
        raise ConfigError(
            f"{fusion.num_label_parts} queries for {num_labels} labels, and pooling 'class' needs one query "
            f"per label",
            hint=f"set model.num_queries to {num_labels}, or choose another model.options.pooling",
        )
    return _LabelHead(num_labels, fusion.dim // num_labels)


def scores_from_logits(
    logits: Float[Tensor, "batch label"], *, exclusive: bool
) -> Float[Tensor, "batch label"]:
    """Scores from 0 to 1: a softmax if exactly one label holds, else a sigmoid per label."""
    return logits.softmax(dim=-1) if exclusive else logits.sigmoid()
