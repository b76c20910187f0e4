"""Saved models on the Hugging Face Hub: downloaded by their list of files, and nothing but these."""

from __future__ import annotations

import glob
from pathlib import Path

from mien.errors import RunError, WeightsError
from mien.predict.saved.layout import HASHES, listed_files
from mien.weights.hub import fetch

__all__ = ["fetch_saved"]


def fetch_saved(name: str) -> Path:
    """The folder, in the Hub's local cache, of a saved model with all of its files.

    Args:
        name: The id, also as NAME@REVISION.

    Raises:
        WeightsError: The Hub does not have the model or lacks one of its files, or cannot be reached.
        RunError: It was not saved by mien, or it lists files that can hold code.
    """
    repository, _, revision = name.partition("@")
    found = fetch(repository, revision or None, (HASHES,))
    if not (found.path / HASHES).exists():
        raise RunError(
            f"{name} on the Hub has no {HASHES}: it was not saved by mien",
            hint="name one that was pushed with mien push; other models go into a recipe",
        )
    files = [HASHES, *listed_files(found.path)]
    fetch(repository, found.commit, [glob.escape(file) for file in files])
    missing = [file for file in files if not (found.path / file).exists()]
    if missing:
        raise WeightsError(f"{name} on the Hub lacks {missing[0]}", hint="push the model again")
    return found.path
