"""The classifier: a fusion and one linear head for the labels, and one for valence, arousal, dominance.

Goes in: what the fusion takes, or pictures, if it has an encoder of its own. Comes out: a logit for each
label, and three numbers where asked.
Knows nothing about: which label stands where, losses, thresholds.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.model.fusion import Fusion
from mien.types import DIMENSIONS

__all__ = ["Classifier", "ClassifierOutput", "scores_of"]

_RAREST = 1e-3  # a label that no sample has starts as if one in a thousand had it


@dataclass(frozen=True, slots=True)
class ClassifierOutput:
    """What the heads say; `dimensions` is on the targets' 0..1 scale, which it may leave a little."""

    logits: Float[Tensor, "batch label"]
    dimensions: Float[Tensor, "batch dimension"] | None


class Classifier(nn.Module):
    """One fully connected layer on the fused vector for each kind of answer. Without `labels` everybody gets
    the same logits, those of the labels' base rates, which never learn.

    `encoder` may be set: one that learns along, from squares of pixels (batch, picture, row, column, channel)
    to tokens.
    """

    def __init__(self, fusion: Fusion, num_labels: int, *, dimensions: bool, labels: bool = True) -> None:
        super().__init__()
        self.encoder: nn.Module | None = None
        self.fusion = fusion
        self.labels = _label_head(fusion, num_labels) if labels else _BaseRates(num_labels)
        self.dimensions = nn.Linear(fusion.dim, len(DIMENSIONS)) if dimensions else None

    @property
    def estimates_labels(self) -> bool:
        """Whether labels are learned; else their scores are the same for everybody."""
        return not isinstance(self.labels, _BaseRates)

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"]
        | UInt8[Tensor, "batch picture row column channel"]
        | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> ClassifierOutput:
        """Logits for `scores_of`, and dimensions if the classifier was built with them."""
        if self.encoder is not None and image is not None:
            image = self.encoder(image)
        fused = self.fusion(image, text_ids, text_mask)
        dimensions = None if self.dimensions is None else self.dimensions(fused)
        return ClassifierOutput(self.labels(fused), dimensions)

    @torch.no_grad()
    def start_from(
        self,
        prevalence: Float[Tensor, " label"],
        dimension_means: Float[Tensor, " dimension"],
        *,
        exclusive: bool,
    ) -> None:
        """Sets the heads' biases so that the first guess is the average answer.

        Otherwise the first steps go into learning how rare each label is (Lin et al. 2017, section 4.1).
        """
        common = prevalence.clamp(_RAREST, 1 - _RAREST)
        self.labels.bias.copy_(common.log() if exclusive else common.logit())
        if self.dimensions is not None:
            self.dimensions.bias.copy_(dimension_means)


class _LabelHead(nn.Module):
    """A logit for each label, read from that label's own part of the fused vector."""

    def __init__(self, num_labels: int, width: int) -> None:
        super().__init__()
        spread = width**-0.5  # as torch initialises a linear layer of this width
        self.weight = nn.Parameter(torch.empty(num_labels, width).uniform_(-spread, spread))
        self.bias = nn.Parameter(torch.zeros(num_labels))

    def forward(self, fused: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch label"]:
        parts = fused.view(len(fused), *self.weight.shape)
        return (parts * self.weight).sum(dim=-1) + self.bias


class _BaseRates(nn.Module):
    """The same logits for everybody."""

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
            f"{fusion.num_label_parts} queries cannot stand for {num_labels} labels, one each",
            hint=f"set model.num_queries to {num_labels}, or choose another model.options.pooling",
        )
    return _LabelHead(num_labels, fusion.dim // num_labels)


def scores_of(logits: Float[Tensor, "batch label"], *, exclusive: bool) -> Float[Tensor, "batch label"]:
    """Scores in 0..1: they sum to 1 if exactly one label holds, else each stands for itself."""
    return logits.softmax(dim=-1) if exclusive else logits.sigmoid()
