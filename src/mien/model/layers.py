"""The transformer layers of the Q-Former.

BERT's post-norm layers with cross-attention, as in InstructBLIP (Dai et al. 2023, section 2.3). Three
differences from transformers' `InstructBlipQFormerModel` change the speed, not the result: projections of the
same input are one matrix product; the last layer skips text states that are not used; cross-attention does
not project the image to keys and values where projecting the queries costs less.
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
    """The shape of a Q-Former. The defaults from `width` to `cross_every` are InstructBLIP's.

    Attributes:
        image_dim: Width of an image token. None builds no cross-attention.
        vocab_size: Number of token ids. None builds no text embeddings.
        num_queries: Number of learned query tokens.
        width: Width of the hidden states.
        layers: Number of layers.
        heads: Attention heads per layer.
        feedforward: Inner width of the feed-forward networks.
        cross_every: Every so many layers, from the first, have cross-attention.
        dropout: Dropout of embeddings and residual branches.
        attention_dropout: Dropout of attention weights.
        max_positions: Longest text, in tokens.
        keep_text: Return the text's hidden states after those of the queries.
        text_cross_attention: Text tokens attend to the image, too. In InstructBLIP only queries do.
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
    text_cross_attention: bool = False

    @property
    def has_text(self) -> bool:
        """Whether the Q-Former reads text."""
        return self.vocab_size is not None


class Layer(nn.Module):
    """Self-attention over all tokens, cross-attention to the image, one feed-forward per kind of token."""

    def __init__(self, config: QFormerConfig, index: int) -> None:
        super().__init__()
        self.num_queries = config.num_queries
        self.text_cross_attention = config.text_cross_attention
        # Only the queries are read after the last layer, unless the text is kept.
        self.updates_text = config.has_text and (config.keep_text or index < config.layers - 1)
        self.self_attention = _SelfAttention(config)
        self.cross_attention = None
        if config.image_dim is not None and index % config.cross_every == 0:
            self.cross_attention = _CrossAttention(config, config.image_dim)
        self.query_feedforward = _FeedForward(config) if config.num_queries else None
        self.text_feedforward = _FeedForward(config) if self.updates_text else None

    def forward(
        self,
        hidden_states: Float[Tensor, "batch token width"],
        attention_mask: Bool[Tensor, "batch 1 1 token"] | None,
        image: Float[Tensor, "batch patch image_dim"] | None,
    ) -> Float[Tensor, "batch updated width"]:
        """The new states of the queries and, if the layer updates it, of the text."""
        num_updated = hidden_states.shape[1] if self.updates_text else self.num_queries
        hidden_states = self.self_attention(hidden_states, attention_mask, num_updated)
        if self.text_cross_attention and self.cross_attention is not None:
            hidden_states = self.cross_attention(hidden_states, image)
        parts = []
        if self.query_feedforward is not None:
            queries = hidden_states[:, : self.num_queries]
            if not self.text_cross_attention and self.cross_attention is not None:
                queries = self.cross_attention(queries, image)
            parts.append(self.query_feedforward(queries))
        if self.text_feedforward is not None and num_updated > self.num_queries:
            parts.append(self.text_feedforward(hidden_states[:, self.num_queries :]))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class _SelfAttention(nn.Module):
    """Every token attends to every unmasked one; then projection, dropout, residual, norm."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.attention_dropout
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = _ResidualOutput(config.width, config.width, config.dropout)

    def forward(
        self,
        hidden_states: Float[Tensor, "batch token width"],
        attention_mask: Bool[Tensor, "batch 1 1 token"] | None,
        num_updated: int,
    ) -> Float[Tensor, "batch updated width"]:
        """The new states of the first `num_updated` tokens."""
        # All three as (batch, head, token, head_dim)
        query, key, value = (
            _split_heads(part, self.heads) for part in self._project(hidden_states, num_updated)
        )
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, dropout_p=self.dropout if self.training else 0.0
        )
        output: Tensor = self.output(_join_heads(attended), hidden_states[:, :num_updated])
        return output

    def attention_weights(
        self,
        hidden_states: Float[Tensor, "batch token width"],
        attention_mask: Bool[Tensor, "batch 1 1 token"] | None,
        num_updated: int,
    ) -> Float[Tensor, "batch updated token"]:
        """How the first `num_updated` tokens attend to all, mean of the heads; rows sum to 1."""
        query, key, _ = (_split_heads(part, self.heads) for part in self._project(hidden_states, num_updated))
        return _attention_weights(query, key, attention_mask)

    def _project(self, hidden_states: Tensor, num_updated: int) -> tuple[Tensor, Tensor, Tensor]:
        width = hidden_states.shape[-1]
        if num_updated == hidden_states.shape[1]:
            query, key, value = self.query_key_value(hidden_states).chunk(3, dim=-1)
            return query, key, value
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = F.linear(hidden_states[:, :num_updated], weight[:width], bias[:width])
        key, value = F.linear(hidden_states, weight[width:], bias[width:]).chunk(2, dim=-1)
        return query, key, value


class _CrossAttention(nn.Module):
    """Tokens, usually the queries, attend to the image tokens; then projection, dropout, residual, norm."""

    def __init__(self, config: QFormerConfig, image_dim: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.attention_dropout
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(image_dim, 2 * config.width)
        self.output = _ResidualOutput(config.width, config.width, config.dropout)

    def forward(
        self,
        hidden_states: Float[Tensor, "batch query width"],
        image: Float[Tensor, "batch patch image_dim"],
    ) -> Float[Tensor, "batch query width"]:
        query = self.query(hidden_states)
        # With fewer queries than a head has dimensions, projecting the queries to the image's space costs
        # less than projecting every image token to the heads' space. The products are the same, in another
        # order.
        if query.shape[1] * self.heads < query.shape[2]:
            attended = self._attend_in_image_space(query, image)
        else:
            attended = self._attend_in_head_space(query, image)
        output: Tensor = self.output(attended, hidden_states)
        return output

    def attention_weights(
        self,
        hidden_states: Float[Tensor, "batch query width"],
        image: Float[Tensor, "batch patch image_dim"],
    ) -> Float[Tensor, "batch query patch"]:
        """How the tokens attend to the image tokens, mean of the heads; rows sum to 1."""
        key, _ = self.key_value(image).chunk(2, dim=-1)
        query = self.query(hidden_states)
        return _attention_weights(_split_heads(query, self.heads), _split_heads(key, self.heads))

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
        # (head, head_dim, image_dim). The keys' bias adds the same to all scores of a query: no effect.
        key_weight, value_weight = self.key_value.weight.view(2, self.heads, width // self.heads, -1)
        # Heads come first where each has its own weight, the batch where each has its own image.
        by_head = (query * (width // self.heads) ** -0.5).view(-1, self.heads, width // self.heads)
        projected = (by_head.transpose(0, 1) @ key_weight).view(self.heads, batch, num_queries, -1)
        projected = projected.transpose(0, 1).flatten(1, 2)
        scores = projected @ image.transpose(1, 2)  # (batch, head x query, patch)
        weights = F.dropout(scores.softmax(dim=-1), self.dropout, self.training)
        mixed = (weights @ image).view(batch, self.heads, num_queries, -1)
        by_head = mixed.transpose(0, 1).flatten(1, 2) @ value_weight.transpose(1, 2)
        # (head, batch x query, head_dim) to (batch, query, width)
        attended: Tensor = by_head.transpose(0, 1).reshape(batch, num_queries, width)
        return attended + self.key_value.bias[width:]


class _FeedForward(nn.Module):
    """Two linear layers with GELU; then dropout, residual, norm."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.feedforward)
        self.output = _ResidualOutput(config.feedforward, config.width, config.dropout)

    def forward(
        self, hidden_states: Float[Tensor, "batch token width"]
    ) -> Float[Tensor, "batch token width"]:
        output: Tensor = self.output(F.gelu(self.inner(hidden_states)), hidden_states)
        return output


class _ResidualOutput(nn.Module):
    """Projection and dropout of a branch's output, added to its input and normed."""

    def __init__(self, inner: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)

    def forward(
        self, branch: Float[Tensor, "batch token inner"], hidden_states: Float[Tensor, "batch token width"]
    ) -> Float[Tensor, "batch token width"]:
        normed: Tensor = self.norm(self.dropout(self.dense(branch)) + hidden_states)
        return normed


def _attention_weights(
    query: Float[Tensor, "batch head query head_dim"],
    key: Float[Tensor, "batch head key head_dim"],
    attention_mask: Bool[Tensor, "batch 1 1 key"] | None = None,
) -> Float[Tensor, "batch query key"]:
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, float("-inf"))
    mean: Tensor = scores.softmax(dim=-1).mean(dim=1)
    return mean


def _split_heads(
    hidden_states: Float[Tensor, "batch token width"], heads: int
) -> Float[Tensor, "batch head token head_dim"]:
    batch, token, _ = hidden_states.shape
    return hidden_states.view(batch, token, heads, -1).transpose(1, 2)


def _join_heads(
    hidden_states: Float[Tensor, "batch head token head_dim"],
) -> Float[Tensor, "batch token width"]:
    return hidden_states.transpose(1, 2).flatten(2)
