"""Low-rank adapters: a large layer stays as it is, and a thin one beside it learns what to add.

Goes in: a tower, a rank. Comes out: the same tower, whose linear layers carry adapters; nothing else learns.
Knows nothing about: optimisers, which tower it is.

W x becomes W x + (alpha / rank) B A x, with A of (rank, in) and B of (out, rank), which starts at 0, so that
the first answer is the tower's own (Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1).
"""

import math
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.recipe.train import LoraPart

__all__ = ["LowRank", "add_lora"]

# How the libraries call the part of a layer that lets tokens look at each other.
_ATTENTION: Final = ("attn", "attention")
# What makes tokens of pixels; some of it is a linear layer, too.
_INPUT: Final = "embedding"


class LowRank(nn.Module):
    """A linear layer that is kept, and what is learned beside it."""

    def __init__(self, base: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.down = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, inputs: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch out"]:
        """What the layer says, and the correction."""
        thin = nn.functional.linear(inputs, self.down)
        added: Tensor = nn.functional.linear(thin, self.up)
        kept: Tensor = self.base(inputs)
        return torch.add(kept, added, alpha=self.scale)


def add_lora(layers: nn.Module, *, rank: int, alpha: float, where: LoraPart) -> None:
    """Puts adapters into the linear layers of attention, or of every layer, in place.

    What was there gets no gradient any more. ConfigError if there is no such layer.
    """
    layers.requires_grad_(requires_grad=False)
    found = [
        (name, module)
        for name, module in layers.named_modules()
        if type(module) is nn.Linear and _INPUT not in name and (where == "all" or _is_attention(name))
    ]
    if not found:
        raise ConfigError(
            f"the encoder has no linear layer for train.lora_layers {where!r}",
            hint='set train.lora_layers to "all", or choose a ViT',
        )
    for name, linear in found:
        parent, _, own = name.rpartition(".")
        setattr(layers.get_submodule(parent), own, LowRank(linear, rank=rank, alpha=alpha))


def _is_attention(name: str) -> bool:
    return any(word in piece for piece in name.split(".") for word in _ATTENTION)
