"""The section `[data]`: who is in which image."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field, JsonValue

from mien.recipe.options import Options

__all__ = ["DataOptions", "lowest_dimension"]

_RATED_FROM_ONE: Final = ("bold", "emotic", "playhouse")  # annotators rated from 1 to 10


def lowest_dimension(dataset: object) -> float:
    """The lowest valence, arousal or dominance that a dataset, by its name, can have; the highest is 1."""
    return 0.1 if dataset in _RATED_FROM_ONE else 0.0


class DataOptions(Options):
    """`[data]`: the dataset."""

    name: str = "playhouse"
    """Dataset: `bold`, `caers`, `emotic`, `manifest`, `playhouse`, or your own as `package.module:Class`."""

    root: Path | None = None
    """Folder of the dataset. Part of the digest, because another folder may hold other images."""

    label_set: str = "emotic"
    """Labels to predict: `emotic`, `caers` or `bold`."""

    split_file: Path | None = None
    """Splits to use instead of the dataset's own, as written by `mien data dedup`."""

    skip_broken: bool = False
    """Skip rows that cannot be used. By default they are an error."""

    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of this dataset; its class declares and checks them."""
