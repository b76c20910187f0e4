"""The columns of a manifest, and other spellings of their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Set
from typing import Final

from mien.errors import ManifestError
from mien.types import DIMENSIONS

__all__ = ["COLUMNS", "EXPORT_COLUMNS", "PERSON_COLUMNS", "column_names", "is_index", "require_columns"]

PERSON_COLUMNS: Final = frozenset(
    {"id", "box", "boxes", "frames", "first_frame", "last_frame", "labels", "dimensions", *DIMENSIONS}
)
COLUMNS: Final = PERSON_COLUMNS | {"image", "clip", "people", "size", "split"}
# Of lines that `mien data export` writes.
EXPORT_COLUMNS: Final = frozenset({"images"})
_FOLDED: Final = {name.casefold(): name for name in COLUMNS | EXPORT_COLUMNS}
# The numbers of rows, as pandas and Arrow write them.
_INDEX: Final = re.compile(r"(unnamed: \d+(\.\d+)?|index|level_\d+|__index_level_\d+__)?", re.IGNORECASE)


def is_index(name: str) -> bool:
    """Whether a column only holds the numbers of rows."""
    return _INDEX.fullmatch(name.strip()) is not None


def column_names(given: Iterable[str], ignore: Collection[str] = ()) -> dict[str, str]:
    """The column that each given name stands for, without regard to case and outer spaces.

    Ignored columns and indexes are left out; unknown names are unchanged.

    Raises:
        ValueError: Two names stand for one column.
    """
    names: dict[str, str] = {}
    for name in given:
        if name in ignore or is_index(name):
            continue
        column = _FOLDED.get(name.strip().casefold(), name)
        if column in names.values():
            raise ValueError(f"two columns are named {column!r}")
        names[name] = column
    return names


def require_columns(source: str, columns: Set[str], example: str) -> None:
    """ManifestError unless a table with these columns names its images and nothing unknown.

    One error for the file, where each of its rows would have the same.
    """
    unknown = sorted(columns - COLUMNS - EXPORT_COLUMNS)
    if not columns & {"image", "clip", "images"}:
        raise ManifestError(f"{source} has no column image", hint=f"name the columns; {example}")
    if unknown:
        raise ManifestError(
            f"{source}: unknown column {unknown[0]!r}; columns are {', '.join(sorted(COLUMNS))}",
            hint=f"rename it, or leave it out: data.options.ignore = {list(map(str, unknown[:9]))}",
        )
