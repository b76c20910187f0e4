"""Where the queries of a Q-Former look: attention rolled out over its layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mien.model.pooling import Pool
from mien.model.qformer import QFormer

__all__ = ["AttentionRollout", "roll_out_attention"]


@dataclass(frozen=True, slots=True)
class AttentionRollout:
    """How much of the final state of each query goes back to each input, by attention alone.

    Of a query, all inputs together have 1. Attention says where a state was read from, and not what it did to
    the prediction.

    Attributes:
        patches: The share of each image token, shape (batch, query, patch).
        tokens: The share of each query and, after them, of each text token, shape (batch, query, token).
        weights: How much each query counts in the fused vector, shape (batch, query); they sum to 1.
    """

    patches: Float[Tensor, "batch query patch"]
    tokens: Float[Tensor, "batch query token"]
    weights: Float[Tensor, "batch query"]


@torch.no_grad()
def roll_out_attention(
    qformer: QFormer,
    pool: Pool,
    image: Float[Tensor, "batch patch image_dim"],
    text_ids: Int[Tensor, "batch text"] | None = None,
    text_mask: Bool[Tensor, "batch text"] | None = None,
) -> AttentionRollout:
    """Attention rollout (Abnar and Zuidema 2020, section 3) with the image as a second source.

    Each attention and its residual connection count for one half, in self-attention and in cross-attention.
    Weights are the means of the heads.

    Args:
        qformer: A Q-Former that attends to images.
        pool: What makes one vector of its queries.
        image: Image tokens, prepared.
        text_ids: Token ids.
        text_mask: True where a text token is real.
    """
    with _recorded_weights(qformer) as recorded:
        queries = qformer(image, text_ids, text_mask)[:, : qformer.config.num_queries]
    batch, num_patches = image.shape[:2]
    num_tokens = recorded[0][1].shape[2]
    tokens = torch.eye(num_tokens, device=image.device).expand(batch, -1, -1)
    patches = image.new_zeros(batch, num_tokens, num_patches)
    for is_cross, weights in recorded:
        count = weights.shape[1]
        if is_cross:
            read = torch.cat((0.5 * tokens[:, :count], tokens[:, count:]), dim=1)
            seen = torch.cat((0.5 * (patches[:, :count] + weights), patches[:, count:]), dim=1)
        else:
            read = 0.5 * (tokens[:, :count] + weights @ tokens)
            seen = 0.5 * (patches[:, :count] + weights @ patches)
        tokens, patches = read, seen
    num_queries = qformer.config.num_queries
    return AttentionRollout(patches[:, :num_queries], tokens[:, :num_queries], pool.weights(queries))


@contextmanager
def _recorded_weights(qformer: QFormer) -> Iterator[list[tuple[bool, Tensor]]]:
    """The weights of each attention in the order of the calls, and whether it is cross-attention."""
    recorded: list[tuple[bool, Tensor]] = []
    modules: list[tuple[Any, bool]] = []
    for layer in qformer.layers:
        modules.append((layer.self_attention, False))
        if layer.cross_attention is not None:
            modules.append((layer.cross_attention, True))

    def record(module: Any, inputs: tuple[Tensor, ...], *, is_cross: bool) -> None:
        recorded.append((is_cross, module.attention_weights(*inputs)))

    hooks = [
        module.register_forward_pre_hook(partial(record, is_cross=is_cross)) for module, is_cross in modules
    ]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()
