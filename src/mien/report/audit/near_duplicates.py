"""Near-duplicates in a dataset: counts by type, and some groups shown side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.data.audit.verify import NearDuplicate
from mien.errors import MienError
from mien.media.images import open_image
from mien.report.formatting import format_count
from mien.report.page_images import data_uri

__all__ = ["NearDuplicateCard", "NearDuplicateLine", "near_duplicate_cards", "near_duplicate_lines"]

_MAX_GROUPS: Final = 6
_MAX_FILES_PER_GROUP: Final = 4
_MAX_SIDE: Final = 300  # pixels; twice the displayed width


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicateLine:
    """The number of groups of one type, and of the files in them."""

    title: str
    groups: str
    files: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicateFile:
    """A file of a group; `image` is a data URI, or "" if the file has no preview."""

    image: str
    path: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicateCard:
    """Some files of one group, and how many are not shown."""

    title: str
    files: tuple[NearDuplicateFile, ...]
    num_hidden: int


def near_duplicate_lines(groups: Sequence[Sequence[NearDuplicate]]) -> tuple[NearDuplicateLine, ...]:
    """Counts by type: identical or similar files, across splits or within one."""
    sizes: dict[tuple[bool, bool], list[int]] = {}
    for group in groups:
        sizes.setdefault((_is_across_splits(group), _is_exact(group)), []).append(len(group))
    return tuple(
        NearDuplicateLine(
            title=_title(is_across=is_across, is_exact=is_exact),
            groups=format_count(len(found)),
            files=format_count(sum(found)),
        )
        for (is_across, is_exact), found in sorted(sizes.items(), reverse=True)
    )


def near_duplicate_cards(groups: Sequence[Sequence[NearDuplicate]]) -> tuple[NearDuplicateCard, ...]:
    """Some groups: those across splits first, then the largest."""
    ordered = sorted(groups, key=lambda group: (not _is_across_splits(group), -len(group)))
    return tuple(_card(group) for group in ordered[:_MAX_GROUPS])


def _card(group: Sequence[NearDuplicate]) -> NearDuplicateCard:
    shown = _one_per_split_first(group)[:_MAX_FILES_PER_GROUP]
    return NearDuplicateCard(
        title=_title(is_across=_is_across_splits(group), is_exact=_is_exact(group)),
        files=tuple(
            NearDuplicateFile(
                image=_preview(file.path), path="/".join(file.path.parts[-2:]), split=file.split
            )
            for file in shown
        ),
        num_hidden=len(group) - len(shown),
    )


def _one_per_split_first(group: Sequence[NearDuplicate]) -> list[NearDuplicate]:
    first = list({file.split: file for file in reversed(group)}.values())[::-1]
    return [*first, *(file for file in group if file not in first)]


def _preview(path: Path) -> str:
    try:
        return data_uri(open_image(path), _MAX_SIDE)
    except MienError:  # a clip; its name is shown
        return ""


def _is_across_splits(group: Sequence[NearDuplicate]) -> bool:
    return len({file.split for file in group}) > 1


def _is_exact(group: Sequence[NearDuplicate]) -> bool:
    return len({file.digest for file in group}) == 1


def _title(*, is_across: bool, is_exact: bool) -> str:
    similarity = "identical files" if is_exact else "similar files"
    return f"{similarity} {'across splits' if is_across else 'within one split'}"
