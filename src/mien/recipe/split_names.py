"""Spellings of split names: "Train", "valid" and "test " are train, val and test.

The spellings are those that Hugging Face `datasets` knows, without "eval" and "evaluation", which stand for
validation in some tables and for test in others.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["fold_split", "fold_splits", "resolve_split"]

_SPELLINGS: Final[Mapping[str, str]] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
_DEV: Final = ("dev", "development")


def fold_split(name: str) -> str:
    """The name that a spelling stands for; any other name without its outer spaces, in Unicode form NFC."""
    name = _plain(name)
    return _SPELLINGS.get(name.casefold(), name)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


def fold_splits(names: Iterable[str]) -> dict[str, str]:
    """The split of each spelling in one dataset.

    Names of your own that differ only in case or Unicode form are one split, spelled as the first. Where a
    dataset has both "dev" and "val", they stay two splits: models are selected on one and reported on the
    other.
    """
    given = list(names)
    has_val = any(fold_split(name) == "val" and name.strip().casefold() not in _DEV for name in given)
    first_spelling: dict[str, str] = {}
    folded = {}
    for name in given:
        split = fold_split(name)
        if split == "val" and has_val and name.strip().casefold() in _DEV:
            split = "dev"
        folded[name] = first_spelling.setdefault(split.casefold(), split)
    return folded


def resolve_split(name: str, splits: Iterable[str]) -> str | None:
    """The split that a user means by a name, given the splits that exist; None if there is no such split."""
    known = list(splits)
    if name in known:
        return name
    folded = fold_split(name)
    return next((split for split in known if _plain(split).casefold() == folded.casefold()), None)
