"""Pooling: several vectors as one.

Goes in: the vectors of the queries, or the tokens of a picture. Comes out: one vector for each subject.
Knows nothing about: what the vectors stand for.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["AttentionPool", "Pool", "PoolMode"]

PoolMode = Literal["mean", "attention", "concat", "class"]


class Pool(nn.Module):
    """The queries' vectors as one, of `dim` numbers.

    "mean" of all; "attention": a mean with learned weights, which begins as the plain one; "concat": side by
    side; "class": side by side as well, one query for each label, whose logit is read from it alone, as in
    Query2Label (Liu et al. 2021, section 3.2).
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


class AttentionPool(nn.Module):
    """The mean of all vectors, weighted by how each one scores; at first they all score the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.zeros(width))

    def forward(self, vectors: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch width"]:
        weights = (vectors @ self.score).softmax(dim=1)
        # (batch, 1, token) by (batch, token, width)
        return (weights[:, None, :] @ vectors)[:, 0]
