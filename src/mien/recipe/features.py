"""The section `[features]`: how images and descriptions become tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mien.recipe.describe import MarkStyle
from mien.recipe.options import Options

__all__ = ["AugmentKind", "FeatureOptions", "FitMode", "TokenChoice", "TruncateMode", "ViewKind"]

FitMode = Literal["letterbox", "center_crop", "squash"]
TokenChoice = Literal["all", "patches"]
ViewKind = Literal["marked", "crop"]
AugmentKind = Literal["flip", "crop", "color"]
TruncateMode = Literal["head", "head_tail"]


class FeatureOptions(Options):
    """`[features]`: the vision encoder and the tokenizer."""

    vision: str = "playhouse"
    """Vision encoder: a name on the Hugging Face Hub, also as NAME@REVISION, or a folder."""

    layer: int | None = None
    """Layer whose output is used; negative numbers count from the end. By default the last one."""

    tokens: TokenChoice = "all"
    """`all` tokens of the encoder, or only its `patches`, without class and register tokens."""

    fit: FitMode = "letterbox"
    """How an image is brought to the encoder's square: padded, cropped to its center, or squashed."""

    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Data type of a frozen encoder's matrix products. `auto`: as in `[describe]`."""

    marking: MarkStyle | None = None
    """How the subject is marked. By default as in `[describe]`, so that both stages see the same image."""

    tokenizer: str = "playhouse"
    """Tokenizer of the descriptions: a name on the Hugging Face Hub, also as NAME@REVISION, or a folder."""

    max_text_tokens: int = Field(default=128, gt=0, le=512)  # BERT-style positions end at 512
    """Longest description that is read, in tokens."""

    views: tuple[ViewKind, ...] = Field(default=("marked",), min_length=1)
    """What the encoder sees, in this order: the `marked` image, and the subject alone (`crop`)."""

    augment: tuple[AugmentKind, ...] = ()
    """How training images vary."""

    augment_views: int = Field(default=4, gt=1)
    """Variants to keep per training image; the first is unchanged. Each epoch picks one at random."""

    truncate: TruncateMode = "head"
    """What is read of a description that is too long: its `head`, or both ends (`head_tail`)."""
