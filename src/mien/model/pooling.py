"""Pooling: several vectors become one."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["AttentionPool", "Pool", "PoolMode"]

PoolMode = Literal["mean", "attention", "concat", "class"]


class Pool(nn.Module):
    """The hidden states of the queries as one vector of `dim` numbers.

    Args:
        mode: "mean": their mean. "attention": a weighted mean with learned weights, which starts as the plain
            mean. "concat": concatenated. "class": concatenated as well, with one query per label, whose logit
            is read from that query alone, as in Query2Label (Liu et al. 2021, section 3.2).
        num_queries: Number of queries.
        width: Width of a hidden state.
    """

    def __init__(self, mode: PoolMode, *, num_queries: int, width: int) -> None:
        super().__init__()
        self.flat = mode in ("concat", "class")
        self.dim = width * (num_queries if self.flat else 1)
        self.attention = AttentionPool(width) if mode == "attention" else None

    def forward(self, queries: Float[Tensor, "batch query width"]) -> Float[Tensor, "batch dim"]:
        if self.attention is not None:
            pooled: Tensor = self.attention(queries)
            return pooled
        return queries.flatten(1) if self.flat else queries.mean(dim=1)

    def weights(self, queries: Float[Tensor, "batch query width"]) -> Float[Tensor, "batch query"]:
        """How much of the vector comes from each query; equal where they are concatenated."""
        if self.attention is not None:
            return self.attention.weights(queries)
        return torch.full_like(queries[:, :, 0], 1 / queries.shape[1])


class AttentionPool(nn.Module):
    """The mean of vectors, weighted by the softmax of a learned score. It starts as the plain mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.zeros(width))

    def forward(self, vectors: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch width"]:
        # (batch, 1, token) by (batch, token, width)
        return (self.weights(vectors)[:, None, :] @ vectors)[:, 0]

    def weights(self, vectors: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token"]:
        """The weight of each vector; they sum to 1."""
        return (vectors @ self.score).softmax(dim=1)
