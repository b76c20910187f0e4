"""The Q-Former: learnable queries read a picture and a description, and come out as a few vectors.

Goes in: image tokens of a frozen encoder, token ids of a description with their mask, either or both.
Comes out: one vector for each query (and, where asked, one for each text token).
Knows nothing about: encoders, tokenizers, labels, losses, or what the vectors are used for.

As in InstructBLIP (Dai et al. 2023, section 2.3) on BERT's post-norm layers: queries and text share
self-attention, queries alone look at the image (in every `cross_every`-th layer, from the first), and
each has a feed-forward of its own. With the same weights the result equals that of transformers'
`InstructBlipQFormerModel`. Three things are done otherwise, and change the time, not the result:
projections of the same input are one product; the last layer computes no text that nobody asked for;
keys and values of the image are not spelled out where a detour through the queries is shorter.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mien.errors import UsageError

__all__ = ["QFormer", "QFormerConfig"]

_NORM_EPSILON = 1e-12  # BERT's
# BERT's standard deviation of fresh weights, at BERT's width. A sum over fewer inputs needs larger weights
# to be as large; without that, narrow models take several times as many steps to get going.
_INITIAL_SPREAD, _ITS_WIDTH = 0.02, 768


@dataclass(frozen=True, slots=True, kw_only=True)
class QFormerConfig:
    """The shape of a Q-Former; the defaults from `width` to `cross_every` are InstructBLIP's.

    `image_dim` None: no image, so no cross-attention. `vocab_size` None: no text. Only what is used is
    built. `keep_text`: text vectors are wanted after the last layer as well.
    """

    image_dim: int | None
    vocab_size: int | None
    num_queries: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    feedforward: int = 3072
    cross_every: int = 2
    dropout: float = 0.1
    attention_dropout: float = 0.1
    max_positions: int = 512
    keep_text: bool = False

    @property
    def has_text(self) -> bool:
        return self.vocab_size is not None


class QFormer(nn.Module):
    """Queries, and text if there is any, through the layers; see the module's description."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.queries = nn.Parameter(torch.zeros(config.num_queries, config.width))
        if config.vocab_size is not None:
            self.words = nn.Embedding(config.vocab_size, config.width)
            self.positions = nn.Embedding(config.max_positions, config.width)
        self.norm = nn.LayerNorm(config.width, eps=_NORM_EPSILON)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(_Layer(config, index) for index in range(config.layers))
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
        queries = text_mask.new_ones(batch, self.config.num_queries)
        return torch.cat((queries, text_mask), dim=1)[:, None, None, :]


class _Layer(nn.Module):
    """Self-attention over all tokens, cross-attention of the queries, a feed-forward for each kind."""

    def __init__(self, config: QFormerConfig, index: int) -> None:
        super().__init__()
        self.num_queries = config.num_queries
        # After the last layer only the queries are read, unless the text is wanted as well.
        self.updates_text = config.has_text and (config.keep_text or index < config.layers - 1)
        self.self_attention = _SelfAttention(config)
        self.cross_attention = None
        if config.image_dim is not None and index % config.cross_every == 0:
            self.cross_attention = _CrossAttention(config, config.image_dim)
        self.query_feedforward = _FeedForward(config) if config.num_queries else None
        self.text_feedforward = _FeedForward(config) if self.updates_text else None

    def forward(
        self,
        states: Float[Tensor, "batch token width"],
        visible: Bool[Tensor, "batch 1 1 token"] | None,
        image: Float[Tensor, "batch patch image_dim"] | None,
    ) -> Float[Tensor, "batch kept width"]:
        kept = states.shape[1] if self.updates_text else self.num_queries
        states = self.self_attention(states, visible, kept)
        parts = []
        if self.query_feedforward is not None:
            queries = states[:, : self.num_queries]
            if self.cross_attention is not None:
                queries = self.cross_attention(queries, image)
            parts.append(self.query_feedforward(queries))
        if self.text_feedforward is not None and kept > self.num_queries:
            parts.append(self.text_feedforward(states[:, self.num_queries :]))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class _SelfAttention(nn.Module):
    """Every token looks at every visible one; then projection, dropout, addition, norm."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.attention_dropout
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = _Residual(config.width, config.width, config.dropout)

    def forward(
        self,
        states: Float[Tensor, "batch token width"],
        visible: Bool[Tensor, "batch 1 1 token"] | None,
        kept: int,
    ) -> Float[Tensor, "batch kept width"]:
        """The new states of the first `kept` tokens."""
        # All three as (batch, head, token, head_dim)
        query, key, value = (_split_heads(part, self.heads) for part in self._project(states, kept))
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, dropout_p=self.dropout if self.training else 0.0
        )
        output: Tensor = self.output(_join_heads(attended), states[:, :kept])
        return output

    def _project(self, states: Tensor, kept: int) -> tuple[Tensor, Tensor, Tensor]:
        width = states.shape[-1]
        if kept == states.shape[1]:
            query, key, value = self.query_key_value(states).chunk(3, dim=-1)
            return query, key, value
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = F.linear(states[:, :kept], weight[:width], bias[:width])
        key, value = F.linear(states, weight[width:], bias[width:]).chunk(2, dim=-1)
        return query, key, value


class _CrossAttention(nn.Module):
    """The queries look at the image tokens; then projection, dropout, addition, norm."""

    def __init__(self, config: QFormerConfig, image_dim: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.attention_dropout
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(image_dim, 2 * config.width)
        self.output = _Residual(config.width, config.width, config.dropout)

    def forward(
        self,
        queries: Float[Tensor, "batch query width"],
        image: Float[Tensor, "batch patch image_dim"],
    ) -> Float[Tensor, "batch query width"]:
        query = self.query(queries)
        # With fewer queries than a head has dimensions, bringing the queries to the image's space costs
        # less than bringing every image token to the heads' (the products are only bracketed anew).
        if query.shape[1] * self.heads < query.shape[2]:
            attended = self._attend_in_image_space(query, image)
        else:
            attended = self._attend_in_head_space(query, image)
        output: Tensor = self.output(attended, queries)
        return output

    def _attend_in_head_space(
        self, query: Float[Tensor, "batch query width"], image: Float[Tensor, "batch patch image_dim"]
    ) -> Float[Tensor, "batch query width"]:
        key, value = (_split_heads(part, self.heads) for part in self.key_value(image).chunk(2, dim=-1))
        dropout = self.dropout if self.training else 0.0
        return _join_heads(
            F.scaled_dot_product_attention(_split_heads(query, self.heads), key, value, dropout_p=dropout)
        )

    def _attend_in_image_space(
        self, query: Float[Tensor, "batch query width"], image: Float[Tensor, "batch patch image_dim"]
    ) -> Float[Tensor, "batch query width"]:
        batch, num_queries, width = query.shape
        # (head, head_dim, image_dim); the keys' bias adds the same to all of a query's scores: no effect.
        key_weight, value_weight = self.key_value.weight.view(2, self.heads, width // self.heads, -1)
        # Heads stand first where each has a weight of its own, the batch where each has an image of its own.
        by_head = (query * (width // self.heads) ** -0.5).view(-1, self.heads, width // self.heads)
        pulled = (by_head.transpose(0, 1) @ key_weight).view(self.heads, batch, num_queries, -1)
        pulled = pulled.transpose(0, 1).flatten(1, 2)
        scores = pulled @ image.transpose(1, 2)  # (batch, head x query, patch)
        weights = F.dropout(scores.softmax(dim=-1), self.dropout, self.training)
        mixed = (weights @ image).view(batch, self.heads, num_queries, -1)
        by_head = mixed.transpose(0, 1).flatten(1, 2) @ value_weight.transpose(1, 2)
        # (head, batch x query, head_dim) to (batch, query, width)
        attended: Tensor = by_head.transpose(0, 1).reshape(batch, num_queries, width)
        return attended + self.key_value.bias[width:]


class _FeedForward(nn.Module):
    """Wider, GELU, back; then dropout, addition, norm."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.feedforward)
        self.output = _Residual(config.feedforward, config.width, config.dropout)

    def forward(self, states: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        output: Tensor = self.output(F.gelu(self.inner(states)), states)
        return output


class _Residual(nn.Module):
    """Projection and dropout of what was computed, added to what it was computed from, normed."""

    def __init__(self, inner: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width, eps=_NORM_EPSILON)

    def forward(
        self, computed: Float[Tensor, "batch token inner"], states: Float[Tensor, "batch token width"]
    ) -> Float[Tensor, "batch token width"]:
        normed: Tensor = self.norm(self.dropout(self.dense(computed)) + states)
        return normed


def _split_heads(
    states: Float[Tensor, "batch token width"], heads: int
) -> Float[Tensor, "batch head token head_dim"]:
    batch, token, _ = states.shape
    return states.view(batch, token, heads, -1).transpose(1, 2)


def _join_heads(
    states: Float[Tensor, "batch head token head_dim"],
) -> Float[Tensor, "batch token width"]:
    return states.transpose(1, 2).flatten(2)


def _initialise(module: nn.Module, spread: float) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=spread)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
