"""The section `[describe]`: which model writes the descriptions, and what it is shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from mien.recipe.options import Options

__all__ = ["ClipView", "DescribeOptions", "MarkStyle"]

MarkStyle = Literal["red_box", "none", "crop", "blur_background"]
ClipView = Literal["middle_frame", "contact_sheet", "frames"]


class DescribeOptions(Options):
    """`[describe]`: the engine, its model and its prompt."""

    engine: str = "local"
    """Engine that runs the model: see `mien.registry`, or your own as `package.module:Class`."""

    model: str = "playhouse"
    """Vision-language model: a name on the Hugging Face Hub, also as NAME@REVISION, or a folder."""

    prompt: str = "paper"
    """Id of a prompt (see `mien describe prompts`), or `own:NAME` with your wording in `prompt_text`."""

    prompt_text: str | None = None
    """Wording of your own prompt."""

    prompt_text_no_box: str | None = None
    """Wording of your own prompt for images without a box."""

    marking: MarkStyle = "red_box"
    """How the subject is marked in the image."""

    clip: ClipView = "middle_frame"
    """How a clip is shown. `frames` needs a model that accepts several images."""

    max_new_tokens: int = Field(default=160, gt=0)
    """Longest description, in tokens."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Data type of the model's weights.

    `auto`: bfloat16 where `run.device` computes fast in it, else float32. The run keeps it on any machine.
    """

    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of this engine; its class declares and checks them."""
