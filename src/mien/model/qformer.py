"""The Q-Former: learnable queries read a picture and a description, and come out as a few vectors.

Goes in: image tokens of an encoder, token ids of a description with their mask, either or both.
Comes out: one vector for each query (and, where asked, one for each text token).
Knows nothing about: encoders, tokenizers, labels, losses, or what the vectors are used for.

As in InstructBLIP (Dai et al. 2023, section 2.3) on BERT's post-norm layers: queries and text share
self-attention, queries alone look at the image (in every `cross_every`-th layer, from the first), and
each has a feed-forward of its own. With the same weights the result equals that of transformers'
`InstructBlipQFormerModel`; see `layers` for what is done otherwise on the way.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mien.errors import UsageError
from mien.model.layers import NORM_EPSILON, Layer, QFormerConfig

__all__ = ["QFormer", "QFormerConfig"]

# BERT's standard deviation of fresh weights, at BERT's width. A sum over fewer inputs needs larger weights
# to be as large; without that, narrow models take several times as many steps to get going.
_INITIAL_SPREAD, _ITS_WIDTH = 0.02, 768


class QFormer(nn.Module):
    """Queries, and text if there is any, through the layers; see the module's description."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.queries = nn.Parameter(torch.zeros(config.num_queries, config.width))
        if config.vocab_size is not None:
            self.words = nn.Embedding(config.vocab_size, config.width)
            self.positions = nn.Embedding(config.max_positions, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.layers))
        spread = _INITIAL_SPREAD * (_ITS_WIDTH / config.width) ** 0.5
        nn.init.normal_(self.queries, std=spread)
        for module in self.modules():
            _initialise(module, spread)

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None = None,
        text_ids: Int[Tensor, "batch text"] | None = None,
        text_mask: Bool[Tensor, "batch text"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """The vectors of the queries, followed by those of the text if `keep_text`.

        The mask is true where a text token is real; a masked token changes no other token's vector.
        """
        batch = self._batch_size(image, text_ids)
        states = self._embed(batch, text_ids)
        visible = self._visible(batch, text_mask)
        for layer in self.layers:
            states = layer(states, visible, image)
        return states

    def _batch_size(self, image: Tensor | None, text_ids: Tensor | None) -> int:
        if (image is None) != (self.config.image_dim is None):
            built, got = self.config.image_dim, "no image" if image is None else "an image"
            raise UsageError(f"this Q-Former was built with image_dim {built}, and got {got}")
        if text_ids is not None and not self.config.has_text:
            raise UsageError("this Q-Former was built without a vocabulary, and got text")
        first = text_ids if image is None else image
        if first is None:
            raise UsageError("this Q-Former was built for text alone, and got none")
        return first.shape[0]

    def _embed(
        self, batch: int, text_ids: Int[Tensor, "batch text"] | None
    ) -> Float[Tensor, "batch token width"]:
        states = self.queries.expand(batch, -1, -1)
        if text_ids is not None:
            text = self.words(text_ids) + self.positions.weight[: text_ids.shape[1]]
            states = torch.cat((states, text), dim=1)
        embedded: Tensor = self.dropout(self.norm(states))
        return embedded

    def _visible(
        self, batch: int, text_mask: Bool[Tensor, "batch text"] | None
    ) -> Bool[Tensor, "batch 1 1 token"] | None:
        """Which tokens may be looked at by all; None if that is every one."""
        if text_mask is None:
            return None
        if not self.config.num_queries and text_mask.shape[1]:
            # Who sees nothing at all would be a mean over nothing; the first token stands in, unread.
            text_mask = torch.cat(
                (text_mask[:, :1] | ~text_mask.any(dim=1, keepdim=True), text_mask[:, 1:]), 1
            )
        queries = text_mask.new_ones(batch, self.config.num_queries)
        return torch.cat((queries, text_mask), dim=1)[:, None, None, :]


def _initialise(module: nn.Module, spread: float) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=spread)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
