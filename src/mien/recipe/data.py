"""The section `[data]`: who is in which image."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, JsonValue

from mien.recipe.options import Options

__all__ = ["DataOptions"]


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
