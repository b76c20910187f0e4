"""Late fusions: picture and words are read apart, and meet as two vectors.

Goes in: image tokens, token ids of a description with their mask. Comes out: one vector for each subject.
Knows nothing about: encoders, tokenizers, labels.

Baselines of the kind that most of the field uses. A subject without a description has nothing to read: its
text vector is zero.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mien.model.fusion import Fusion, qformer_config
from mien.model.pooling import AttentionPool
from mien.model.qformer import QFormer
from mien.recipe import ModelOptions

__all__ = ["ConcatFusion", "GatedFusion"]


class _LateFusion(Fusion):
    """A reader of the description, and a projection of image tokens to its width."""

    uses_image = True
    uses_text = True

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        assert image_dim is not None  # checked above
        self.reader = _reader(options, vocab_size)
        self.image = _projection(options, image_dim)


class ConcatFusion(_LateFusion):
    """The usual baseline: the mean image token beside the mean of the description as read by a transformer
    of its own. Words and image never meet before the head; the frames of a clip are a bag."""

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        self.dim = 2 * options.width

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        text = _read(self.reader, text_ids, text_mask)
        return torch.cat((self.image(self.look(image).mean(dim=1)), text), dim=1)


class GatedFusion(_LateFusion):
    """A gated multimodal unit (Arevalo et al. 2017, equation 1): for each number of the vector, a gate that
    sees both decides how much of it comes from the picture and how much from the words.

    The image tokens are pooled by attention. Where there is no description, all comes from the picture.
    """

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        self.attention = AttentionPool(options.width)
        self.gate = nn.Linear(2 * options.width, options.width)
        self.dim = options.width

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        text = _read(self.reader, text_ids, text_mask)
        seen: Tensor = self.attention(self.image(self.look(image)))
        gate: Tensor = self.gate(torch.cat((seen, text), dim=1)).sigmoid()
        if text_mask is not None:
            gate = gate.where(text_mask.any(dim=1, keepdim=True), 1.0)
        return gate * seen + (1 - gate) * text


def _reader(options: ModelOptions, vocab_size: int | None) -> QFormer:
    """A Q-Former without queries and without an image is a BERT."""
    return QFormer(
        qformer_config(options, image_dim=None, vocab_size=vocab_size, num_queries=0, keep_text=True)
    )


def _projection(options: ModelOptions, image_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(image_dim, options.width),
        nn.GELU(),
        nn.LayerNorm(options.width),
        nn.Dropout(options.dropout),
    )


def _read(
    reader: QFormer, text_ids: Int[Tensor, "batch text"] | None, text_mask: Bool[Tensor, "batch text"] | None
) -> Float[Tensor, "batch width"]:
    """The mean of the words' vectors, zero where there are no words."""
    if text_ids is not None and not text_ids.shape[1]:
        return reader.queries.new_zeros(len(text_ids), reader.config.width)
    words = reader(None, text_ids, text_mask)
    if text_mask is None:
        mean: Tensor = words.mean(dim=1)
        return mean
    real = text_mask[:, :, None].to(words.dtype)
    total: Tensor = (words * real).sum(dim=1)
    return total / real.sum(dim=1).clamp(min=1)
