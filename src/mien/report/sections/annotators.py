"""The section on several annotators: the same predictions against their union and against their majority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mien.evaluate.results.breakdown_rows import AnnotatorRow
from mien.report.formatting import count_noun, format_interval, format_number

__all__ = ["AnnotatorCell", "AnnotatorLine", "AnnotatorSection", "annotator_section"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorCell:
    """A score, with what stands below it in small print."""

    value: str
    interval: str
    chance: str
    labels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorLine:
    """One metric, with a cell per way to combine the annotators; None where it is not known."""

    metric: str
    cells: tuple[AnnotatorCell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorSection:
    """The scores of the model `name` on a split; `truths` are the ways to combine its annotators."""

    name: str
    split: str
    annotators: str
    truths: tuple[str, ...]
    lines: tuple[AnnotatorLine, ...]


def annotator_section(rows: Sequence[AnnotatorRow], *, split: str | None) -> AnnotatorSection | None:
    """The section for a split, of the first model; None without rows of it."""
    own = [row for row in rows if split in (None, row.split)]
    own = [row for row in own if (row.name, row.split) == (own[0].name, own[0].split)]
    if not own:
        return None
    by_key = {(row.metric, row.truth): _cell(row) for row in own}
    truths = tuple(dict.fromkeys(row.truth for row in own))
    return AnnotatorSection(
        name=own[0].name,
        split=own[0].split,
        annotators=f"{own[0].annotators:.3g}",
        truths=truths,
        lines=tuple(
            AnnotatorLine(metric=metric, cells=tuple(by_key.get((metric, truth)) for truth in truths))
            for metric in dict.fromkeys(row.metric for row in own)
        ),
    )


def _cell(row: AnnotatorRow) -> AnnotatorCell:
    return AnnotatorCell(
        value=format_number(row.value),
        interval=format_interval(row.low, row.high),
        chance=f"chance {format_number(row.chance)}",
        labels="" if row.labels is None else count_noun(row.labels, "label"),
    )
