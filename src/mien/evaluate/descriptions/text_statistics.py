"""What descriptions look like, whatever they say: their length, language, endings, and whom they speak of.

Goes in: texts, and why each ended. Comes out: `Prose`, shares of all texts.
Knows nothing about: labels, pictures, engines.

These are patterns, not understanding: a share tells where to look, and the texts tell what is there.
Answers that are JSON are no prose and are not given to this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mien.evaluate.descriptions.label_naming import plain
from mien.types import Finish

__all__ = [
    "Lengths",
    "Prose",
    "is_cut",
    "is_english",
    "is_refusal",
    "mentions_somebody",
    "read_prose",
    "words",
]

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
# Looked for where an answer begins; further on, "he cannot look away" is a description.
_OPENING: Final = 300
_REFUSAL: Final = re.compile(
    r"\bi('m| am) (sorry|unable|not able)\b|\bi (apologi[sz]e|cannot|can't|can not|won't|will not)\b"
    r"|\bas an? (ai|artificial|(large )?language model)\b"
    r"|\b(it is|it's) (not possible|impossible|not appropriate|inappropriate) to\b"
)
_SOMEBODY: Final = re.compile(
    r"\b(he|him|his|himself|she|her|hers|herself|they|them|their|theirs|themselves|box"
    r"|(some(one|body))|(person|individual|subject|character|figure|adult|boy|girl|kid|guy|lady|baby)('?s)?"
    r"|people|man|men|woman|women|child|children|toddler|infant|player|gentleman|couple)\b"
)
_STOP_WORDS: Final = frozenset(
    (
        *(
            "a",
            "an",
            "and",
            "are",
            "as",
            "at",
            "be",
            "been",
            "but",
            "by",
            "can",
            "for",
            "from",
            "has",
            "have",
        ),
        *("he", "her", "his", "how", "i", "in", "is", "it", "its", "may", "more", "not", "of", "on", "or"),
        *("she", "some", "than", "that", "the", "their", "there", "these", "they", "this", "to", "was"),
        *("were", "which", "while", "who", "with"),
    )
)
_ENGLISH_FROM: Final = 0.15  # the share of such words; English prose has two to three times that
_JUDGED_FROM: Final = 8  # words
_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_CLOSERS: Final = " \t\r\n*_\"')]\N{RIGHT DOUBLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
_ENDS: Final = ".!?\N{HORIZONTAL ELLIPSIS}\N{IDEOGRAPHIC FULL STOP}\N{FULLWIDTH EXCLAMATION MARK}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Words in a text: the mean, and the length that this share of the texts does not exceed."""

    mean: float
    q05: float
    q25: float
    q50: float
    q75: float
    q95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """Shares of `n` texts. `english` is of those long enough to tell, None if there is none.

    `cut`: reached the limit on its length, or ends in the middle of a sentence; `hit_limit`: the former.
    """

    n: int
    refusals: float
    english: float | None
    lengths: Lengths
    cut: float
    hit_limit: float
    nobody: float


def read_prose(texts: Sequence[tuple[str, Finish | None]]) -> Prose | None:
    """The shares of texts, each with the reason why it ended if that is known; None if there are none."""
    if not texts:
        return None
    lengths = [len(words(text)) for text, _ in texts]
    english = [found for text, _ in texts if (found := is_english(text)) is not None]
    return Prose(
        n=len(texts),
        refusals=_share(is_refusal(text) for text, _ in texts),
        english=float(np.mean(english)) if english else None,
        lengths=Lengths(
            mean=float(np.mean(lengths)),
            **{f"q{100 * q:02.0f}": float(np.quantile(lengths, q)) for q in _QUANTILES},
        ),
        cut=_share(finish == "length" or is_cut(text) for text, finish in texts),
        hit_limit=_share(finish == "length" for _, finish in texts),
        nobody=_share(not mentions_somebody(text) for text, _ in texts),
    )


def words(text: str) -> list[str]:
    """The words of a text, in lower case, without punctuation and Markdown."""
    return _WORD.findall(plain(text))


def is_refusal(text: str) -> bool:
    """Whether a text begins by declining to answer."""
    return _REFUSAL.search(plain(text[:_OPENING])) is not None


def is_cut(text: str) -> bool:
    """Whether a text ends without the end of a sentence."""
    return not text.rstrip(_CLOSERS).endswith(tuple(_ENDS))


def mentions_somebody(text: str) -> bool:
    """Whether a text speaks of a person or of the box around one."""
    return _SOMEBODY.search(plain(text)) is not None


def is_english(text: str) -> bool | None:
    """Whether a text looks English by its commonest words; None if it is too short to tell."""
    if not text.isascii():
        letters = [character for character in text if character.isalpha()]
        if sum(not letter.isascii() for letter in letters) > len(letters) / 2:
            return False
    found = words(text)
    if len(found) < _JUDGED_FROM:
        return None
    return sum(word in _STOP_WORDS for word in found) >= _ENGLISH_FROM * len(found)


def _share(flags: Iterable[bool]) -> float:
    return float(np.mean(list(flags)))
