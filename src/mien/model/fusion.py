"""Fusions: how image tokens and a description become one vector. An ablation is another row of the table.

Goes in: image tokens of an encoder, token ids of a description with their mask.
Comes out: one vector for each subject.
Knows nothing about: encoders, tokenizers, labels. `mien.registry` names the classes; a recipe may name its
own as "package.module:Class", a subclass of `Fusion` with the same constructor.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from mien.errors import ConfigError, UsageError
from mien.model.frames import Places
from mien.model.pooling import Pool, PoolMode
from mien.model.qformer import QFormer, QFormerConfig
from mien.recipe import ModelOptions, Options
from mien.registry import resolve

__all__ = [
    "CrossAttentionFusion",
    "Fusion",
    "FusionOptions",
    "ImageOnlyFusion",
    "QFormerFusion",
    "TextOnlyFusion",
    "build_fusion",
    "fusion_class",
    "qformer_config",
]


class FusionOptions(Options):
    """[model.options] of the fusions in this module.

    `feedforward`: inner width of the feed-forwards, in widths of the model. `attention_dropout`: BERT has
    0.1; without, a training step on a CPU takes a fifth less. `pooling`: how the queries' vectors become one,
    see `pooling.Pool`; "class" takes as many queries as there are labels.
    """

    feedforward: int = Field(default=4, gt=0)
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    pooling: PoolMode = "mean"


class Fusion(nn.Module, ABC):
    """Makes one vector of `dim` numbers of what it uses, and leaves alone what it does not.

    The constructor takes `(options, *, image_dim, vocab_size)`, where a size is None if there is no such
    input. `dim` is set by the constructor; so is `num_label_parts` if the vector is one part for each label,
    side by side, of which a label's logit reads its own. A mask that is all false is a subject without a
    description, and no error.
    """

    uses_image: ClassVar[bool]
    uses_text: ClassVar[bool]
    dim: int
    num_label_parts: int | None = None

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
        self.places: Places | None = None  # of the tokens of clips; stills have none

    @abstractmethod
    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        """One vector a subject; the mask is true where a text token is real."""

    def look(
        self, image: Float[Tensor, "batch patch image_dim"] | None
    ) -> Float[Tensor, "batch patch image_dim"]:
        """Every token with mean 0 and variance 1, as BLIP-2 norms what its encoder gives: encoders differ in
        scale a hundredfold. Without weights of its own, which the projection that follows would take up.
        Tokens of clips are told which frame they are of."""
        if image is None:
            raise UsageError("this fusion looks at the image, and got none")
        normed = F.layer_norm(image, image.shape[-1:])
        return normed if self.places is None else self.places(normed)


class _QueryFusion(Fusion):
    """Queries of a Q-Former look at the image and read the description, whichever of them the class uses."""

    text_looks: ClassVar[bool] = False

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        config = qformer_config(
            options,
            image_dim=image_dim if self.uses_image else None,
            vocab_size=vocab_size if self.uses_text else None,
            text_looks=self.text_looks,
        )
        self.qformer = QFormer(config)
        mode = _own_options(options).pooling
        self.pool = Pool(mode, num_queries=options.num_queries, width=options.width)
        self.dim, self.num_label_parts = self.pool.dim, options.num_queries if mode == "class" else None

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        seen = self.look(image) if self.uses_image else None
        words = (text_ids, text_mask) if self.uses_text else (None, None)
        pooled: Tensor = self.pool(self.qformer(seen, *words))
        return pooled


class QFormerFusion(_QueryFusion):
    """The paper's (Xenos et al. 2024): queries read the description and look at the image."""

    uses_image = True
    uses_text = True


class ImageOnlyFusion(_QueryFusion):
    """The same Q-Former without a description: queries look at the image."""

    uses_image = True
    uses_text = False


class TextOnlyFusion(_QueryFusion):
    """The same Q-Former without cross-attention: queries read the description."""

    uses_image = False
    uses_text = True


class CrossAttentionFusion(_QueryFusion):
    """A multimodal transformer in the manner of ALBEF (Li et al. 2021, section 3.1): every text token looks
    at the image itself, as the queries do, where in the Q-Former words reach the image by way of the queries.

    With `cross_every` 1 words look in every layer but the last, after which nobody asks for them. Where
    there is no description, the queries look alone.
    """

    uses_image = True
    uses_text = True
    text_looks = True


def fusion_class(name: str) -> type[Fusion]:
    """The class of this name, which says what it uses; ConfigError if it is not a `Fusion`."""
    found = resolve("fusion", name)
    if not (isinstance(found, type) and issubclass(found, Fusion)):
        raise ConfigError(f"fusion {name!r} is not a subclass of Fusion", hint="see mien.model.fusion.Fusion")
    return found


def build_fusion(
    options: ModelOptions,
    *,
    image_dim: int | None,
    vocab_size: int | None,
    num_frames: int = 1,
    num_views: int = 1,
) -> Fusion:
    """The fusion that `[model]` asks for, with fresh weights, for stills or for clips of so many frames."""
    fusion = fusion_class(options.fusion)(options, image_dim=image_dim, vocab_size=vocab_size)
    if fusion.uses_image and image_dim is not None and num_frames * num_views > 1:
        fusion.places = Places(image_dim, num_frames=num_frames, num_views=num_views)
    return fusion


def qformer_config(
    options: ModelOptions,
    *,
    image_dim: int | None,
    vocab_size: int | None,
    num_queries: int | None = None,
    keep_text: bool = False,
    text_looks: bool = False,
) -> QFormerConfig:
    """The shape that `[model]` and its options give a Q-Former, without what there is no input for."""
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
        text_looks=text_looks,
    )


def _own_options(options: ModelOptions) -> FusionOptions:
    return FusionOptions.parse(options.options, where="model.options")
