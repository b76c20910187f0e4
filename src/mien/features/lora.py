"""Low-rank adapters: a large linear layer stays frozen, and a small one learns what to add to it.

W x becomes W x + (alpha / rank) B A x, with A of shape (rank, in) and B of shape (out, rank). B starts at 0,
so that the first output is the original one (Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1).
"""

import math
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.recipe.train import LoraPart

__all__ = ["LoraLinear", "add_lora"]

# What the libraries call the attention part of a layer.
_ATTENTION: Final = ("attn", "attention")
# What makes tokens of pixels may contain linear layers, too.
_INPUT: Final = "embedding"


class LoraLinear(nn.Module):
    """A frozen linear layer with a low-rank adapter."""

    def __init__(self, base: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.down = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, inputs: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch out"]:
        """The layer's output plus the adapter's."""
        projected = nn.functional.linear(inputs, self.down)
        added: Tensor = nn.functional.linear(projected, self.up)
        output: Tensor = self.base(inputs)
        return torch.add(output, added, alpha=self.scale)


def add_lora(layers: nn.Module, *, rank: int, alpha: float, where: LoraPart) -> None:
    """Adds adapters to the linear layers of attention, or to all, in place, and freezes everything else.

    Raises:
        ConfigError: If there is no such layer.
    """
    layers.requires_grad_(requires_grad=False)
    linears = [
        (name, module)
        for name, module in layers.named_modules()
        if type(module) is nn.Linear and _INPUT not in name and (where == "all" or _is_attention(name))
    ]
    if not linears:
        raise ConfigError(
            f"the encoder has no linear layer for train.lora_layers {where!r}",
            hint='set train.lora_layers to "all", or choose a ViT',
        )
    for name, linear in linears:
        parent, _, own = name.rpartition(".")
        setattr(layers.get_submodule(parent), own, LoraLinear(linear, rank=rank, alpha=alpha))


def _is_attention(name: str) -> bool:
    return any(word in piece for piece in name.split(".") for word in _ATTENTION)
