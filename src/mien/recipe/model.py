"""The section `[model]`: how image and text tokens are fused."""

from __future__ import annotations

from typing import Self

from pydantic import Field, JsonValue, model_validator

from mien.recipe.options import Options

__all__ = ["ModelOptions"]


class ModelOptions(Options):
    """`[model]`: the fusion and its size."""

    fusion: str = "qformer"
    """Fusion: see `mien.registry`, or your own as `package.module:Class`."""

    init: str = "random"
    """Initial weights of the Q-Former: `random`, or a BERT, BLIP-2 or InstructBLIP by name or folder."""

    width: int = Field(default=128, gt=0, le=65_536)
    """Size of a token; a multiple of `heads`."""

    layers: int = Field(default=2, gt=0, le=1000)
    """Number of layers."""

    heads: int = Field(default=4, gt=0)
    """Number of attention heads."""

    num_queries: int = Field(default=8, gt=0, le=65_536)
    """Number of query tokens."""

    cross_every: int = Field(default=2, gt=0)
    """Every how many layers the queries attend to the image."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout probability."""

    label_names: bool = False
    """Whether a label that the description names gets a learned bonus; not where a fusion reads no text."""

    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of this fusion; its class declares and checks them."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"model.width {self.width} must be a multiple of model.heads {self.heads}")
        return self
