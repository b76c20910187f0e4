"""Statistics of descriptions, regardless of content: length, language, endings, mentions of a person.

These are patterns, not understanding: a share says where to look; read the texts to see why. Replies that are
JSON are not prose, and are not given to this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mien.evaluate.descriptions.label_naming import normalize_text
from mien.types import Finish

__all__ = [
    "Lengths",
    "TextStatistics",
    "compute_statistics",
    "count_hedges",
    "is_english",
    "is_refusal",
    "is_truncated",
    "mentions_person",
    "split_words",
]

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
# Only the beginning is searched; further on, "he cannot look away" is a description.
_OPENING: Final = 300
_REFUSAL: Final = re.compile(
    r"\bi('m| am) (sorry|unable|not able)\b|\bi (apologi[sz]e|cannot|can't|can not|won't|will not)\b"
    r"|\bas an? (ai|artificial|(large )?language model)\b"
    r"|\b(it is|it's) (not possible|impossible|not appropriate|inappropriate) to\b"
)
_PERSON: Final = re.compile(
    r"\b(he|him|his|himself|she|her|hers|herself|they|them|their|theirs|themselves|box"
    r"|(some(one|body))|(person|individual|subject|character|figure|adult|boy|girl|kid|guy|lady|baby)('?s)?"
    r"|people|man|men|woman|women|child|children|toddler|infant|player|gentleman|couple)\b"
)
# After Hyland, Hedging in Scientific Research Articles (1998): verbs, modals, adverbs and phrases.
_HEDGE: Final = re.compile(
    r"\b(appear(s|ed|ing)?|seem(s|ed|ing|ingly)?|suggest(s|ed|ing)?|indicat(e|es|ed|ing)|impl(y|ies|ied|ying)"
    r"|may|might|could|would|likely|unlikely|perhaps|maybe|possib(le|ly)|probab(le|ly)|potential(ly)?|apparent(ly)?"
    r"|presumabl[ey]|somewhat|slight(ly)?|rather|fairly|hint(s|ed|ing)?|as (if|though)|sort of|kind of"
    r"|a (little|bit))\b"
)
_COMMON_WORDS: Final = (
    "a an and are as at be been but by can for from has have he her his how i in is it its may more not of "
    "on or she some than that the their there these they this to was were which while who with"
)
_STOP_WORDS: Final = frozenset(_COMMON_WORDS.split())
_ENGLISH_FROM: Final = 0.15  # the share of stop words; English prose has two to three times that
_MIN_WORDS: Final = 8  # shorter texts have no detectable language
_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_CLOSERS: Final = " \t\r\n*_\"')]\N{RIGHT DOUBLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
_ENDS: Final = ".!?\N{HORIZONTAL ELLIPSIS}\N{IDEOGRAPHIC FULL STOP}\N{FULLWIDTH EXCLAMATION MARK}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Words per text.

    Attributes:
        mean: The mean number of words.
        q05: 5 % of the texts are shorter.
        q25: A quarter of the texts is shorter.
        q50: The median: half of the texts are shorter.
        q75: Three quarters of the texts are shorter.
        q95: 95 % are shorter.
    """

    mean: float
    q05: float
    q25: float
    q50: float
    q75: float
    q95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStatistics:
    """Shares of `n` texts.

    Attributes:
        n: How many texts there are.
        refusals: The share of texts that begin by declining to answer.
        english: The share of English texts among those long enough to tell; None if there are none.
        lengths: Words per text.
        truncated: The share of texts that reached the limit on their length, or end in the middle of a
            sentence.
        hit_limit: The share of texts that reached the limit on their length.
        without_person: The share of texts that mention neither a person nor the box around one.
        hedges: How many of 100 words are hedging words, such as "may" and "appears"; None in audits of mien
            0.1.
    """

    n: int
    refusals: float
    english: float | None
    lengths: Lengths
    truncated: float
    hit_limit: float
    without_person: float
    hedges: float | None = None


def compute_statistics(texts: Sequence[tuple[str, Finish | None]]) -> TextStatistics | None:
    """Statistics of texts, each with the reason why it ended, if known; None for no texts."""
    if not texts:
        return None
    lengths = [len(split_words(text)) for text, _ in texts]
    english = [found for text, _ in texts if (found := is_english(text)) is not None]
    return TextStatistics(
        n=len(texts),
        refusals=_share(is_refusal(text) for text, _ in texts),
        english=float(np.mean(english)) if english else None,
        lengths=Lengths(
            mean=float(np.mean(lengths)),
            **{f"q{100 * q:02.0f}": float(np.quantile(lengths, q)) for q in _QUANTILES},
        ),
        truncated=_share(finish == "length" or is_truncated(text) for text, finish in texts),
        hit_limit=_share(finish == "length" for _, finish in texts),
        without_person=_share(not mentions_person(text) for text, _ in texts),
        hedges=100 * sum(count_hedges(text) for text, _ in texts) / max(1, sum(lengths)),
    )


def split_words(text: str) -> list[str]:
    """The words of a text, in lower case, without punctuation and Markdown."""
    return _WORD.findall(normalize_text(text))


def is_refusal(text: str) -> bool:
    """Whether a text begins by declining to answer."""
    return _REFUSAL.search(normalize_text(text[:_OPENING])) is not None


def is_truncated(text: str) -> bool:
    """Whether a text ends without the end of a sentence."""
    return not text.rstrip(_CLOSERS).endswith(tuple(_ENDS))


def mentions_person(text: str) -> bool:
    """Whether a text mentions a person or the box around one."""
    return _PERSON.search(normalize_text(text)) is not None


def count_hedges(text: str) -> int:
    """How many words or phrases of a text weaken what it claims, such as "may" and "appears"."""
    return len(_HEDGE.findall(normalize_text(text)))


def is_english(text: str) -> bool | None:
    """Whether a text looks English by its most frequent words; None if it is too short to tell."""
    if not text.isascii():
        letters = [character for character in text if character.isalpha()]
        if sum(not letter.isascii() for letter in letters) > len(letters) / 2:
            return False
    words = split_words(text)
    if len(words) < _MIN_WORDS:
        return None
    return sum(word in _STOP_WORDS for word in words) >= _ENGLISH_FROM * len(words)


def _share(flags: Iterable[bool]) -> float:
    return float(np.mean(list(flags)))
