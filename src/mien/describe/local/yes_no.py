"""The tokens by which a model's answer is yes or no."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any, Final

from mien.errors import EngineDownError

__all__ = ["NO", "YES", "distinct_tokens", "first_tokens"]

YES: Final = ("yes", "Yes", "YES")
NO: Final = ("no", "No", "NO")


def first_tokens(tokenizer: Any, words: Iterable[str]) -> set[int]:
    """The first token of each word, with and without a space before it."""
    texts = [text for word in words for text in (word, f" {word}")]
    return {row[0] for row in tokenizer(texts, add_special_tokens=False)["input_ids"] if row}


def distinct_tokens(tokenizer: Any, yes: Set[int], no: Set[int]) -> tuple[list[int], list[int]]:
    """The tokens of yes and of no, without those of both and of any unknown word.

    Raises:
        EngineDownError: Nothing is left of one of them.
    """
    common = yes & no | {tokenizer.unk_token_id}
    if not yes - common or not no - common:
        raise EngineDownError(
            "the model's tokenizer has no word for yes or for no",
            hint='use answer="label", or another model',
        )
    return sorted(yes - common), sorted(no - common)
