"""Controls that are no knob of a recipe, for nobody should train by one by mistake.

Goes in: descriptions by subject, samples. Comes out: other descriptions of the same subjects, fewer samples.
Knows nothing about: recipes, models, how descriptions came to be.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from pathlib import Path
from typing import Final, Literal

from mien.labels import LabelSet
from mien.types import Sample

__all__ = [
    "ScoredTexts",
    "TextControl",
    "emptied",
    "masked",
    "none_left",
    "share_of",
    "shuffled",
    "text_control",
]

# What is done to the descriptions before anybody learns from them.
TextControl = Literal["shuffled", "empty", "label_words_masked"]
# What is done to those of the scored split alone, once everything is learned.
ScoredTexts = Literal["missing"]
Texts = Callable[[Mapping[str, str]], Mapping[str, str]]

_MASK: Final = "[MASK]"
# What a label's word has beyond "happy", "confused", "excited" and the like.
_ENDINGS: Final = ("ness", "ment", "ence", "ance", "ion", "ing", "ity", "ure", "al")
_SHORTEST_STEM: Final = 3
_LONG_STEM: Final = 6  # from here on what follows hardly matters
_NAMED_BY: Final = 3  # folders with which a picture's name is told from others


def text_control(kind: TextControl | None, label_set: LabelSet) -> Texts | None:
    """The function of a control; None for the descriptions as they are."""
    if kind is None:
        return None
    controls: dict[TextControl, Texts] = {
        "shuffled": shuffled,
        "empty": emptied,
        "label_words_masked": partial(masked, labels=label_set.labels),
    }
    return controls[kind]


def shuffled(texts: Mapping[str, str]) -> dict[str, str]:
    """Every subject gets another subject's description."""
    ids = sorted(texts)
    random.Random(len(ids)).shuffle(ids)
    return {here: texts[there] for here, there in zip(ids, [*ids[1:], *ids[:1]], strict=True)}


def emptied(texts: Mapping[str, str]) -> dict[str, str]:
    """Every subject gets a description without a word: the model has its place, and nothing in it."""
    return dict.fromkeys(texts, "")


def none_left(texts: Mapping[str, str]) -> dict[str, str]:
    """Nobody has a description: what a model meets where describing failed."""
    return {}


def masked(texts: Mapping[str, str], *, labels: Sequence[str]) -> dict[str, str]:
    """No description names a label: the words of labels, and what begins like them, are masked.

    "Happiness" takes "happy" and "happily" along, and "Pain" also "painting": too much rather than too
    little.
    """
    pattern = re.compile("|".join(_patterns(labels)), re.IGNORECASE)
    return {name: pattern.sub(_MASK, text) for name, text in texts.items()}


def _patterns(labels: Sequence[str]) -> list[str]:
    words = sorted({word for label in labels for word in re.findall(r"[^\W\d_]+", label.lower())})
    return [rf"\b{_stem(word)}\w*" for word in words]


def _stem(word: str) -> str:
    """How the words of one family begin, as a pattern that also the word itself begins with."""
    ending = next((one for one in _ENDINGS if word.endswith(one)), "")
    stem = word.removesuffix(ending)
    if len(stem) < _SHORTEST_STEM:
        return re.escape(word)
    bare = stem.rstrip("eiy")
    if stem.endswith(("i", "y")) and len(bare) < _LONG_STEM:
        return f"{re.escape(bare)}[iy]"  # happy, but not happens
    if bare.endswith("er"):
        return f"{re.escape(bare[:-2])}e?r"  # anger, and angry
    return re.escape(bare) if len(bare) >= _SHORTEST_STEM else re.escape(stem)


def share_of(samples: Sequence[Sample], share: float) -> list[Sample]:
    """The samples of a share of the pictures, in their order, the same wherever the data lie.

    The lot falls on names of pictures, so that people in one photo stay together; what is in a smaller share
    is in a larger one.
    """
    pictures = sorted({_picture(sample) for sample in samples}, key=_lot)
    kept = set(pictures[: ceil(share * len(pictures))])
    return [sample for sample in samples if _picture(sample) in kept]


def _picture(sample: Sample) -> str:
    path: Path = sample.subject.images[0].path
    return "/".join(path.parts[-_NAMED_BY:])


def _lot(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
