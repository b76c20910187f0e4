"""Controls of an ablation, kept out of recipes so that no one trains with one by accident.

They change the descriptions, or reduce the training split.
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
from mien.train.selection import TRAIN_SPLIT
from mien.types import Sample

__all__ = [
    "ScoredTexts",
    "TextControl",
    "build_text_control",
    "count_images",
    "empty_texts",
    "mask_label_words",
    "remove_texts",
    "shuffle_texts",
    "subsample_images",
    "subsample_train",
]

# What happens to all descriptions before training.
TextControl = Literal["shuffled", "empty", "label_words_masked"]
# What happens to the descriptions of the scored split only, after training.
ScoredTexts = Literal["missing"]
Texts = Callable[[Mapping[str, str]], Mapping[str, str]]

_MASK: Final = "[MASK]"
# The endings of label names, beyond the adjective: happi-ness, confus-ion, excite-ment.
_ENDINGS: Final = ("ness", "ment", "ence", "ance", "ion", "ing", "ity", "ure", "al")
_SHORTEST_STEM: Final = 3
_LONG_STEM: Final = 6  # from this length on a stem is specific enough to match any ending
_NUM_PATH_PARTS: Final = 3  # that identify an image: its file name and two folders


# --- Descriptions ---


def build_text_control(kind: TextControl | None, label_set: LabelSet) -> Texts | None:
    """The function that applies a control to descriptions by subject; None for no control."""
    if kind is None:
        return None
    controls: dict[TextControl, Texts] = {
        "shuffled": shuffle_texts,
        "empty": empty_texts,
        "label_words_masked": partial(mask_label_words, labels=label_set.labels),
    }
    return controls[kind]


def shuffle_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Give every subject the description of another subject."""
    ids = sorted(texts)
    random.Random(len(ids)).shuffle(ids)
    return {here: texts[there] for here, there in zip(ids, [*ids[1:], *ids[:1]], strict=True)}


def empty_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Replace every description with the empty string; the model still reads its special tokens."""
    return dict.fromkeys(texts, "")


def remove_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Remove all descriptions; the model then sees what it sees where describing failed."""
    return {}


def mask_label_words(texts: Mapping[str, str], *, labels: Sequence[str]) -> dict[str, str]:
    """Mask the words of label names, and words that share their stem.

    "Happiness" also masks "happy" and "happily", and "Pain" also masks "painting": the patterns are broad on
    purpose.
    """
    pattern = re.compile("|".join(_patterns(labels)), re.IGNORECASE)
    return {name: pattern.sub(_MASK, text) for name, text in texts.items()}


def _patterns(labels: Sequence[str]) -> list[str]:
    words = sorted({word for label in labels for word in re.findall(r"[^\W\d_]+", label.lower())})
    return [rf"\b{_stem(word)}\w*" for word in words]


def _stem(word: str) -> str:
    """A pattern for the common beginning of a word's family; it matches the word itself."""
    ending = next((ending for ending in _ENDINGS if word.endswith(ending)), "")
    stem = word.removesuffix(ending)
    if len(stem) < _SHORTEST_STEM:
        return re.escape(word)
    bare = stem.rstrip("eiy")
    if stem.endswith(("i", "y")) and len(bare) < _LONG_STEM:
        return f"{re.escape(bare)}[iy]"  # happy, but not happens
    if bare.endswith("er"):
        return f"{re.escape(bare[:-2])}e?r"  # anger, and angry
    return re.escape(bare) if len(bare) >= _SHORTEST_STEM else re.escape(stem)


# --- The size of the training split ---


def subsample_train(split: str, samples: Sequence[Sample], *, size: float) -> Sequence[Sample]:
    """A `sample_filter` for an experiment: keeps some of the training images, and other splits whole."""
    return subsample_images(samples, size) if split == TRAIN_SPLIT else samples


def subsample_images(samples: Sequence[Sample], size: float) -> list[Sample]:
    """The samples of some of the images, in their order, wherever the dataset is stored.

    A hash of the image's name decides. All subjects of an image stay together, and every subset is part of
    the larger ones.

    Args:
        samples: The samples of a split.
        size: As in scikit-learn, an integer is a number of images, and a float the share of them.
    """
    names = sorted({_image_name(sample) for sample in samples}, key=_hash)
    kept = set(names[: size if isinstance(size, int) else ceil(size * len(names))])
    return [sample for sample in samples if _image_name(sample) in kept]


def count_images(samples: Sequence[Sample]) -> int:
    """How many images the samples are of."""
    return len({_image_name(sample) for sample in samples})


def _image_name(sample: Sample) -> str:
    path: Path = sample.subject.images[0].path
    return "/".join(path.parts[-_NUM_PATH_PARTS:])


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
