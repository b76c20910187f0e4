"""Late fusions: image and text are encoded separately, and combined as two vectors.

Baselines of the kind that is most common in the field. The text vector of a subject without a description is
zero.
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
    """A transformer that reads the description, and a projection of image tokens to its width."""

    uses_image = True
    uses_text = True

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        assert image_dim is not None  # checked above
        self.reader = _text_encoder(options, vocab_size)
        self.image = _projection(options, image_dim)


class ConcatFusion(_LateFusion):
    """The usual baseline: the mean image token concatenated with the mean hidden state of the description.

    Image and text do not interact before the head, and a clip is a bag of frames.
    """

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        self.dim = 2 * options.width

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        text = _mean_text(self.reader, text_ids, text_mask)
        return torch.cat((self.image(self.prepare_image(image).mean(dim=1)), text), dim=1)


class GatedFusion(_LateFusion):
    """A gated multimodal unit (Arevalo et al. 2017, equation 1).

    A gate that reads both vectors decides, for each dimension, how much comes from the image and how much
    from the text. Image tokens are pooled by attention. Without a description, the gate selects the image.
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
        text = _mean_text(self.reader, text_ids, text_mask)
        pooled: Tensor = self.attention(self.image(self.prepare_image(image)))
        gate: Tensor = self.gate(torch.cat((pooled, text), dim=1)).sigmoid()
        if text_mask is not None:
            gate = gate.where(text_mask.any(dim=1, keepdim=True), 1.0)
        return gate * pooled + (1 - gate) * text


def _text_encoder(options: ModelOptions, vocab_size: int | None) -> QFormer:
    """A Q-Former without queries and without an image, which is a BERT."""
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


def _mean_text(
    encoder: QFormer,
    text_ids: Int[Tensor, "batch text"] | None,
    text_mask: Bool[Tensor, "batch text"] | None,
) -> Float[Tensor, "batch width"]:
    """The mean hidden state of the real text tokens; zero if there are none."""
    if text_ids is not None and not text_ids.shape[1]:
        return encoder.query_tokens.new_zeros(len(text_ids), encoder.config.width)
    hidden_states = encoder(None, text_ids, text_mask)
    if text_mask is None:
        mean: Tensor = hidden_states.mean(dim=1)
        return mean
    is_real = text_mask[:, :, None].to(hidden_states.dtype)
    total: Tensor = (hidden_states * is_real).sum(dim=1)
    return total / is_real.sum(dim=1).clamp(min=1)
