"""The section on groups of people, such as by annotated gender and age: for audits only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mien.evaluate.bootstrap import MIN_IMAGES
from mien.evaluate.results.breakdown_rows import GroupRow
from mien.evaluate.results.results import MIN_POSITIVES
from mien.report.formatting import NO_VALUE, count_noun, format_count, format_interval, format_number

__all__ = ["GroupCell", "GroupLine", "GroupSection", "GroupTable", "group_section"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCell:
    """A number, with what stands below it in small print."""

    value: str
    interval: str
    chance: str = ""
    is_clear: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLine:
    """One group. `warning` says why its numbers say little; "" if they do not."""

    group: str
    people: str
    images: str
    warning: str
    cells: tuple[GroupCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTable:
    """The groups of one attribute, the largest first."""

    attribute: str
    header: tuple[str, ...]
    lines: tuple[GroupLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSection:
    """A table per attribute, for the model `name` on a split."""

    name: str
    split: str
    tables: tuple[GroupTable, ...]
    has_small: bool
    min_images: int = MIN_IMAGES


def group_section(rows: Sequence[GroupRow], *, split: str | None) -> GroupSection | None:
    """The section for a split, of the first model; None without rows of it."""
    own = [row for row in rows if split in (None, row.split)]
    own = [row for row in own if (row.name, row.split) == (own[0].name, own[0].split)]
    if not own:
        return None
    attributes = dict.fromkeys(row.attribute for row in own)
    tables = tuple(_table([row for row in own if row.attribute == name]) for name in attributes)
    return GroupSection(
        name=own[0].name,
        split=own[0].split,
        tables=tables,
        has_small=any(line.warning for table in tables for line in table.lines),
    )


def _table(rows: Sequence[GroupRow]) -> GroupTable:
    metrics = dict.fromkeys(row.metric for row in rows)
    by_key = {(row.metric, row.group): row for row in rows}
    groups = list(dict.fromkeys(row.group for row in rows))
    reference = groups[0]
    header: list[str] = []
    for metric in metrics:
        header.append(metric)
        if _is_compared(metric, rows):
            header.append(f"{metric} \N{MINUS SIGN} {reference}")
    return GroupTable(
        attribute=rows[0].attribute.replace("_", " ").capitalize(),
        header=tuple(header),
        lines=tuple(
            _line([by_key[metric, group] for metric in metrics], rows, is_first=group == reference)
            for group in groups
        ),
    )


def _is_compared(metric: str, rows: Sequence[GroupRow]) -> bool:
    return any(row.metric == metric and row.compared_with for row in rows)


def _line(of_group: Sequence[GroupRow], rows: Sequence[GroupRow], *, is_first: bool) -> GroupLine:
    cells: list[GroupCell] = []
    for row in of_group:
        cells.append(_score(row))
        if _is_compared(row.metric, rows):
            cells.append(GroupCell(value="", interval="") if is_first else _difference(row))
    first = of_group[0]
    return GroupLine(
        group=first.group,
        people=format_count(first.n),
        images=format_count(first.images),
        warning=_warning(first),
        cells=tuple(cells),
    )


def _warning(row: GroupRow) -> str:
    if row.n < MIN_POSITIVES:
        return "too few people for a score"
    if row.images < MIN_IMAGES:
        return f"small: {count_noun(row.images, 'image')}, intervals are approximate"
    return ""


def _score(row: GroupRow) -> GroupCell:
    if row.value is None or row.chance is None:
        return GroupCell(value=NO_VALUE, interval="")
    return GroupCell(
        value=format_number(row.value),
        interval=format_interval(row.low, row.high),
        chance=f"chance {format_number(row.chance)}",
    )


def _difference(row: GroupRow) -> GroupCell:
    if row.difference is None:
        return GroupCell(value=NO_VALUE, interval="")
    return GroupCell(
        value=format_number(row.difference, signed=True),
        interval=format_interval(row.difference_low, row.difference_high, signed=True),
        is_clear=row.excludes_zero,
    )
