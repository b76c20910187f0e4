"""Pictures that a data set has more than once, counted, and some of them shown side by side.

In: groups of files that look alike. Out: what a template prints as it stands.
Knows nothing about: HTML, how likeness is found, subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.data.audit.verify import NearDuplicate
from mien.errors import MienError
from mien.media.images import open_image
from mien.report.embedded_images import data_uri

__all__ = ["TwinCard", "TwinLine", "twin_cards", "twin_lines"]

_GROUPS: Final = 6  # that are shown
_OF_EACH: Final = 4
_LONGER_SIDE: Final = 300  # pixels; twice the width at which a page shows it


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinLine:
    """How many groups there are of one sort, and of how many files."""

    what: str
    groups: str
    files: str
    across: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinCard:
    """Some files of one group: (picture as data URI or "", end of the path, split). `more`: how many are not
    shown."""

    what: str
    members: tuple[tuple[str, str, str], ...]
    more: int


def twin_lines(twins: Sequence[Sequence[NearDuplicate]]) -> tuple[TwinLine, ...]:
    """Exact copies and look-alikes, across splits and within one; those that there are."""
    found: dict[tuple[bool, bool], list[int]] = {}
    for group in twins:
        found.setdefault((_is_across(group), _is_exact(group)), []).append(len(group))
    return tuple(
        TwinLine(
            what=_what(across=across, exact=exact),
            groups=f"{len(sizes):,}",
            files=f"{sum(sizes):,}",
            across=across,
        )
        for (across, exact), sizes in sorted(found.items(), reverse=True)
    )


def twin_cards(twins: Sequence[Sequence[NearDuplicate]]) -> tuple[TwinCard, ...]:
    """Some groups, those across splits first, then the largest."""
    order = sorted(twins, key=lambda group: (not _is_across(group), -len(group)))
    return tuple(_card(group) for group in order[:_GROUPS])


def _card(group: Sequence[NearDuplicate]) -> TwinCard:
    shown = _one_of_each_split_first(group)[:_OF_EACH]
    return TwinCard(
        what=_what(across=_is_across(group), exact=_is_exact(group)),
        members=tuple((_picture(twin.path), "/".join(twin.path.parts[-2:]), twin.split) for twin in shown),
        more=len(group) - len(shown),
    )


def _one_of_each_split_first(group: Sequence[NearDuplicate]) -> list[NearDuplicate]:
    first = list({twin.split: twin for twin in reversed(group)}.values())[::-1]
    return [*first, *(twin for twin in group if twin not in first)]


def _picture(path: Path) -> str:
    try:
        return data_uri(open_image(path), _LONGER_SIDE)
    except MienError:  # a clip; its name is shown
        return ""


def _is_across(group: Sequence[NearDuplicate]) -> bool:
    return len({twin.split for twin in group}) > 1


def _is_exact(group: Sequence[NearDuplicate]) -> bool:
    return len({twin.digest for twin in group}) == 1


def _what(*, across: bool, exact: bool) -> str:
    likeness = "the same bytes" if exact else "looking alike"
    return f"{likeness}, {'in several splits' if across else 'within one split'}"
