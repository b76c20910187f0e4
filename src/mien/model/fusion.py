"""Fusions: how image tokens and a description become one vector. An ablation is another row of the table.

Goes in: image tokens of a frozen encoder, token ids of a description with their mask.
Comes out: one vector for each subject.
Knows nothing about: encoders, tokenizers, labels. `mien.registry` names the classes; a recipe may name its
own as "package.module:Class", a subclass of `Fusion` with the same constructor.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from mien.errors import ConfigError, UsageError
from mien.model.qformer import QFormer, QFormerConfig
from mien.options import Options
from mien.recipe import ModelOptions
from mien.registry import resolve

__all__ = [
    "ConcatFusion",
    "Fusion",
    "FusionOptions",
    "ImageOnlyFusion",
    "QFormerFusion",
    "TextOnlyFusion",
    "build_fusion",
    "fusion_class",
]


class FusionOptions(Options):
    """[model.options] of the fusions in this module.

    `feedforward`: inner width of the feed-forwards, in widths of the model. `attention_dropout`: BERT has
    0.1; without, a training step on a CPU takes a fifth less. `pooling`: the queries' mean, or all of them
    side by side.
    """

    feedforward: int = Field(default=4, gt=0)
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    pooling: Literal["mean", "concat"] = "mean"


class Fusion(nn.Module, ABC):
    """Makes one vector of `dim` numbers of what it uses, and leaves alone what it does not.

    The constructor takes `(options, *, image_dim, vocab_size)`, where a size is None if there is no such
    input. `dim` is set by the constructor.
    """

    uses_image: ClassVar[bool]
    uses_text: ClassVar[bool]
    dim: int

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__()
        for uses, size, what in (
            (self.uses_image, image_dim, "image features"),
            (self.uses_text, vocab_size, "descriptions"),
        ):
            if uses and size is None:
                raise ConfigError(
                    f"fusion {options.fusion!r} needs {what}, and there are none",
                    hint="choose another model.fusion, or give it what it needs",
                )

    @abstractmethod
    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        """One vector a subject; the mask is true where a text token is real."""


class QFormerFusion(Fusion):
    """The paper's (Xenos et al. 2024): queries read the description and look at the image."""

    uses_image = True
    uses_text = True

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        self.qformer = QFormer(_shape(options, image_dim=image_dim, vocab_size=vocab_size))
        self.pool = _Pool(options)
        self.dim = self.pool.dim

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        pooled: Tensor = self.pool(self.qformer(_normed(image), text_ids, text_mask))
        return pooled


class ImageOnlyFusion(Fusion):
    """The same Q-Former without a description: queries look at the image."""

    uses_image = True
    uses_text = False

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        self.qformer = QFormer(_shape(options, image_dim=image_dim, vocab_size=None))
        self.pool = _Pool(options)
        self.dim = self.pool.dim

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        pooled: Tensor = self.pool(self.qformer(_normed(image)))
        return pooled


class TextOnlyFusion(Fusion):
    """The same Q-Former without cross-attention: queries read the description."""

    uses_image = False
    uses_text = True

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        self.qformer = QFormer(_shape(options, image_dim=None, vocab_size=vocab_size))
        self.pool = _Pool(options)
        self.dim = self.pool.dim

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        pooled: Tensor = self.pool(self.qformer(None, text_ids, text_mask))
        return pooled


class ConcatFusion(Fusion):
    """Late fusion, the usual baseline: the mean image token beside the mean of the description as read by
    a transformer of its own. Words and image never meet before the head."""

    uses_image = True
    uses_text = True

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        assert image_dim is not None  # checked above
        self.reader = QFormer(
            _shape(options, image_dim=None, vocab_size=vocab_size, num_queries=0, keep_text=True)
        )
        self.image = nn.Sequential(
            nn.Linear(image_dim, options.width),
            nn.GELU(),
            nn.LayerNorm(options.width),
            nn.Dropout(options.dropout),
        )
        self.dim = 2 * options.width

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        assert text_mask is not None
        words = self.reader(None, text_ids, text_mask)
        real = text_mask[:, :, None].to(words.dtype)
        text = (words * real).sum(dim=1) / real.sum(dim=1)
        return torch.cat((self.image(_normed(image).mean(dim=1)), text), dim=1)


class _Pool(nn.Module):
    """The queries' vectors as one."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.concat = _own_options(options).pooling == "concat"
        self.dim = options.width * (options.num_queries if self.concat else 1)

    def forward(self, queries: Float[Tensor, "batch query width"]) -> Float[Tensor, "batch dim"]:
        return queries.flatten(1) if self.concat else queries.mean(dim=1)


def fusion_class(name: str) -> type[Fusion]:
    """The class of this name, which says what it uses; ConfigError if it is not a `Fusion`."""
    found = resolve("fusion", name)
    if not (isinstance(found, type) and issubclass(found, Fusion)):
        raise ConfigError(f"fusion {name!r} is not a subclass of Fusion", hint="see mien.model.fusion.Fusion")
    return found


def build_fusion(options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> Fusion:
    """The fusion that `[model]` asks for, with fresh weights."""
    return fusion_class(options.fusion)(options, image_dim=image_dim, vocab_size=vocab_size)


def _normed(image: Float[Tensor, "batch patch image_dim"] | None) -> Float[Tensor, "batch patch image_dim"]:
    """Every token with mean 0 and variance 1, as BLIP-2 norms what its encoder gives: encoders differ in
    scale a hundredfold. Without weights of its own, which the projection that follows would take up."""
    if image is None:
        raise UsageError("this fusion looks at the image, and got none")
    return F.layer_norm(image, image.shape[-1:])


def _own_options(options: ModelOptions) -> FusionOptions:
    return FusionOptions.parse(options.options, where="model.options")


def _shape(
    options: ModelOptions,
    *,
    image_dim: int | None,
    vocab_size: int | None,
    num_queries: int | None = None,
    keep_text: bool = False,
) -> QFormerConfig:
    own = _own_options(options)
    return QFormerConfig(
        image_dim=image_dim,
        vocab_size=vocab_size,
        num_queries=options.num_queries if num_queries is None else num_queries,
        width=options.width,
        layers=options.layers,
        heads=options.heads,
        feedforward=own.feedforward * options.width,
        cross_every=options.cross_every,
        dropout=options.dropout,
        attention_dropout=own.attention_dropout,
        keep_text=keep_text,
    )
