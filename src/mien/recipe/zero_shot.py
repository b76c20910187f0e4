"""The section `[zero_shot]`: how labels are scored without training."""

from __future__ import annotations

from typing import Final, Literal, get_args

from mien.recipe.options import Options

__all__ = ["METHODS", "NO_ENCODER", "Answer", "ZeroShotMethod", "ZeroShotOptions"]

ZeroShotMethod = Literal["likelihood", "words", "similarity"]
Answer = Literal["yes_no", "label"]

METHODS: Final[tuple[ZeroShotMethod, ...]] = get_args(ZeroShotMethod)
NO_ENCODER: Final = "none"


class ZeroShotOptions(Options):
    """`[zero_shot]`: the method and its wording. The model and the marking are those of `[describe]`."""

    method: ZeroShotMethod | None = None
    """How labels are scored: `likelihood` of answers, `words` of descriptions, or `similarity` of image and
    text. By default not without training."""

    answer: Answer = "yes_no"
    """For `likelihood`: `yes_no` asks about each label, `label` for the label's name."""

    question: str | None = None
    """For `likelihood`: another wording, with `<label>` and `<definition>` where they are to stand."""

    encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    """For `words`: the sentence encoder, by name or folder; `none` to score only by names of labels."""

    image_prompts: tuple[str, ...] | None = None
    """For `similarity`: other prompts, with `{}` where the label's name is to stand."""
