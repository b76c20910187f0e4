"""The Q-Former: learned query tokens read an image and a description, and become a few vectors.

As in InstructBLIP (Dai et al. 2023, section 2.3) on BERT's post-norm layers: queries and text share
self-attention; only the queries attend to the image, in every `cross_every`-th layer from the first; each
kind has its own feed-forward. With the same weights the output equals that of transformers'
`InstructBlipQFormerModel`; `mien.model.layers` says what is computed differently.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mien.errors import UsageError
from mien.model.layers import NORM_EPSILON, Layer, QFormerConfig

__all__ = ["QFormer", "QFormerConfig"]

# BERT's standard deviation of initial weights, at BERT's width. A sum over fewer inputs needs larger weights
# to be as large; without this, narrow models take several times as many steps to start learning.
_INITIAL_STD, _BERT_WIDTH = 0.02, 768


class QFormer(nn.Module):
    """A transformer over query tokens, text tokens, or both, with cross-attention to image tokens.

    Args:
        config: The shape. Only the parts that it uses are built.
    """

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.query_tokens = nn.Parameter(torch.zeros(config.num_queries, config.width))
        if config.vocab_size is not None:
            self.word_embeddings = nn.Embedding(config.vocab_size, config.width)
            self.position_embeddings = nn.Embedding(config.max_positions, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.layers))
        std = _INITIAL_STD * (_BERT_WIDTH / config.width) ** 0.5
        nn.init.normal_(self.query_tokens, std=std)
        for module in self.modules():
            _initialize(module, std)

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None = None,
        text_ids: Int[Tensor, "batch text"] | None = None,
        text_mask: Bool[Tensor, "batch text"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """The hidden states of the queries, followed by those of the text if `keep_text`.

        Args:
            image: Image tokens, shape (batch, patch, image_dim); needed if and only if `image_dim` is set.
            text_ids: Token ids, shape (batch, text).
            text_mask: True where a text token is real, shape (batch, text). A masked token changes no other
                token's state.

        Returns:
            Hidden states, shape (batch, query, width) or (batch, query + text, width).

        Raises:
            UsageError: If the inputs are not those that the Q-Former was built for.
        """
        batch = self._batch_size(image, text_ids)
        hidden_states = self._embed(batch, text_ids)
        attention_mask = self._attention_mask(batch, text_mask)
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask, image)
        return hidden_states

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
        hidden_states = self.query_tokens.expand(batch, -1, -1)
        if text_ids is not None:
            text = self.word_embeddings(text_ids) + self.position_embeddings.weight[: text_ids.shape[1]]
            hidden_states = torch.cat((hidden_states, text), dim=1)
        embedded: Tensor = self.dropout(self.norm(hidden_states))
        return embedded

    def _attention_mask(
        self, batch: int, text_mask: Bool[Tensor, "batch text"] | None
    ) -> Bool[Tensor, "batch 1 1 token"] | None:
        """True for tokens that all others may attend to; None if that is every token."""
        if text_mask is None:
            return None
        if not self.config.num_queries and text_mask.shape[1]:
            # Attention over no token at all is a mean over nothing. The first token stands in; its state is
            # not read.
            text_mask = torch.cat(
                (text_mask[:, :1] | ~text_mask.any(dim=1, keepdim=True), text_mask[:, 1:]), 1
            )
        queries = text_mask.new_ones(batch, self.config.num_queries)
        return torch.cat((queries, text_mask), dim=1)[:, None, None, :]


def _initialize(module: nn.Module, std: float) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
