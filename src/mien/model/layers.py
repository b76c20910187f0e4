"""The layers of a Q-Former: who looks at whom, and what each token does with what it saw.

Goes in: vectors of queries and text tokens, which of them may be seen, image tokens. Comes out: vectors.
Knows nothing about: words, pictures, where queries come from, what is done with the vectors.

BERT's post-norm layers with cross-attention, as in InstructBLIP (Dai et al. 2023, section 2.3). Three things
are done otherwise than in transformers' `InstructBlipQFormerModel`, and change the time, not the result:
projections of the same input are one product; the last layer computes no text that nobody asked for;
keys and values of the image are not spelled out where a detour through the queries is shorter.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = ["NORM_EPSILON", "Layer", "QFormerConfig"]

NORM_EPSILON = 1e-12  # BERT's


@dataclass(frozen=True, slots=True, kw_only=True)
class QFormerConfig:
    """The shape of a Q-Former; the defaults from `width` to `cross_every` are InstructBLIP's.

    `image_dim` None: no image, so no cross-attention. `vocab_size` None: no text. Only what is used is
    built. `keep_text`: text vectors are wanted after the last layer as well. `text_looks`: text tokens look
    at the image too, where by InstructBLIP only the queries do.
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
    text_looks: bool = False

    @property
    def has_text(self) -> bool:
        return self.vocab_size is not None


class Layer(nn.Module):
    """Self-attention over all tokens, cross-attention of the queries, a feed-forward for each kind."""

    def __init__(self, config: QFormerConfig, index: int) -> None:
        super().__init__()
        self.num_queries = config.num_queries
        self.text_looks = config.text_looks
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
        if self.text_looks and self.cross_attention is not None:
            states = self.cross_attention(states, image)
        parts = []
        if self.query_feedforward is not None:
            queries = states[:, : self.num_queries]
            if not self.text_looks and self.cross_attention is not None:
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
    """Some tokens, mostly the queries, look at the image's; then projection, dropout, addition, norm."""

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
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)

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
