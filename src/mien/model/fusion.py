"""Fusions: image tokens and a description become one vector.

`mien.registry` names the classes. A recipe may name a class of your own as "package.module:Class": a subclass
of `Fusion` with the same constructor. This module has the fusions that are a Q-Former; `late_fusion` has the
baselines.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from mien.errors import ConfigError, UsageError
from mien.model.attention import AttentionRollout, roll_out_attention
from mien.model.frames import FrameEmbedding
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
    """[model.options] of mien's fusions.

    Attributes:
        feedforward: Inner width of the feed-forward networks, in multiples of `model.width`.
        attention_dropout: Dropout of attention weights. BERT has 0.1; with 0, a training step on a CPU takes
            a fifth less time.
        pooling: How the queries' vectors become one, see `mien.model.pooling.Pool`. "class" needs as many
            queries as there are labels.
    """

    feedforward: int = Field(default=4, gt=0)
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    pooling: PoolMode = "mean"


class Fusion(nn.Module, ABC):
    """The base class of fusions: one vector of `dim` numbers from the image, the text, or both.

    A subclass declares `uses_image` and `uses_text`, sets `dim` in its constructor, and implements `forward`.
    It ignores inputs that it does not use. It gets an all-false mask for a subject without a description, and
    must cope with it.

    Args:
        options: The recipe's `[model]` section.
        image_dim: Width of an image token; None if there are no images.
        vocab_size: Number of token ids; None if there are no descriptions.

    Attributes:
        uses_image: Whether the fusion reads image tokens.
        uses_text: Whether the fusion reads descriptions.
        dim: Width of the fused vector.
        num_label_parts: The number of labels, if the fused vector is a concatenation of one part per label
            and each logit reads its label's part alone; else None.
        frame_embedding: Set by `build_fusion` for clips and for several views; else None.

    Raises:
        ConfigError: If the fusion needs an input that is absent.
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
                    hint=f"provide {what}, or choose another model.fusion",
                )
        self.frame_embedding: FrameEmbedding | None = None

    @abstractmethod
    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        """One vector per subject.

        Args:
            image: Image tokens, shape (batch, patch, image_dim), as the encoder gives them; see
                `prepare_image`.
            text_ids: Token ids, shape (batch, text).
            text_mask: True where a text token is real, shape (batch, text).
        """

    def roll_out_attention(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> AttentionRollout | None:
        """Where the queries look; None for a fusion without queries that attend to the image.

        Args:
            image: As in `forward`.
            text_ids: As in `forward`.
            text_mask: As in `forward`.
        """
        return None

    def prepare_image(
        self, image: Float[Tensor, "batch patch image_dim"] | None
    ) -> Float[Tensor, "batch patch image_dim"]:
        """Normalizes image tokens, and adds the frame embedding of clips.

        Every token gets mean 0 and variance 1, as BLIP-2 norms its encoder's output: the scales of encoders
        differ by a factor of a hundred. The norm has no weights, because the projection that follows would
        absorb them.

        Raises:
            UsageError: If there is no image.
        """
        if image is None:
            raise UsageError("this fusion needs an image, and got none")
        normed = F.layer_norm(image, image.shape[-1:])
        return normed if self.frame_embedding is None else self.frame_embedding(normed)


class _QueryFusion(Fusion):
    """The pooled queries of a Q-Former, which read the image, the text, or both."""

    text_cross_attention: ClassVar[bool] = False

    def __init__(self, options: ModelOptions, *, image_dim: int | None, vocab_size: int | None) -> None:
        super().__init__(options, image_dim=image_dim, vocab_size=vocab_size)
        config = qformer_config(
            options,
            image_dim=image_dim if self.uses_image else None,
            vocab_size=vocab_size if self.uses_text else None,
            text_cross_attention=self.text_cross_attention,
        )
        self.qformer = QFormer(config)
        mode = _fusion_options(options).pooling
        self.pool = Pool(mode, num_queries=options.num_queries, width=options.width)
        self.dim, self.num_label_parts = self.pool.dim, options.num_queries if mode == "class" else None

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> Float[Tensor, "batch dim"]:
        prepared = self.prepare_image(image) if self.uses_image else None
        text = (text_ids, text_mask) if self.uses_text else (None, None)
        pooled: Tensor = self.pool(self.qformer(prepared, *text))
        return pooled

    def roll_out_attention(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None,
        text_ids: Int[Tensor, "batch text"] | None,
        text_mask: Bool[Tensor, "batch text"] | None,
    ) -> AttentionRollout | None:
        if not self.uses_image:
            return None
        text = (text_ids, text_mask) if self.uses_text else (None, None)
        return roll_out_attention(self.qformer, self.pool, self.prepare_image(image), *text)


class QFormerFusion(_QueryFusion):
    """The fusion of the paper (Xenos et al. 2024): queries attend to the description and to the image."""

    uses_image = True
    uses_text = True


class ImageOnlyFusion(_QueryFusion):
    """The same Q-Former without a description."""

    uses_image = True
    uses_text = False


class TextOnlyFusion(_QueryFusion):
    """The same Q-Former without cross-attention: queries attend to the description alone."""

    uses_image = False
    uses_text = True


class CrossAttentionFusion(_QueryFusion):
    """A multimodal transformer in the manner of ALBEF (Li et al. 2021, section 3.1).

    Text tokens attend to the image directly, as the queries do. In the Q-Former, the image reaches the text
    through the queries only. With `cross_every` 1, text tokens attend to it in every layer but the last,
    after which they are not read. Without a description, only the queries attend to the image.
    """

    uses_image = True
    uses_text = True
    text_cross_attention = True


def fusion_class(name: str) -> type[Fusion]:
    """The class of a fusion, which says what it uses.

    Args:
        name: A registered name, or "package.module:Class".

    Raises:
        ConfigError: If it is not a subclass of `Fusion`.
        UnknownNameError: If there is no such fusion.
    """
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
    """The fusion that `[model]` names, with initial weights.

    Args:
        options: The recipe's `[model]` section.
        image_dim: Width of an image token; None if there are no images.
        vocab_size: Number of token ids; None if there are no descriptions.
        num_frames: Frames per subject, 1 for stills.
        num_views: Views per frame.
    """
    fusion = fusion_class(options.fusion)(options, image_dim=image_dim, vocab_size=vocab_size)
    if fusion.uses_image and image_dim is not None and num_frames * num_views > 1:
        fusion.frame_embedding = FrameEmbedding(image_dim, num_frames=num_frames, num_views=num_views)
    return fusion


def qformer_config(
    options: ModelOptions,
    *,
    image_dim: int | None,
    vocab_size: int | None,
    num_queries: int | None = None,
    keep_text: bool = False,
    text_cross_attention: bool = False,
) -> QFormerConfig:
    """The shape of a Q-Former by `[model]` and its options. `num_queries` overrides that of `[model]`."""
    own = _fusion_options(options)
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
        text_cross_attention=text_cross_attention,
    )


def _fusion_options(options: ModelOptions) -> FusionOptions:
    return FusionOptions.parse(options.options, where="model.options")
