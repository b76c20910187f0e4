"""What was counted of a data set, as lines to show: numbers as text, places on charts.

In: a `Summary`, and the annotators' `Agreement`. Out: what a template prints as it stands.
Knows nothing about: HTML, files, pictures, problems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mien.data.audit.agreement import Agreement, DimensionAgreement
from mien.data.audit.summary import SplitSummary, Summary
from mien.report.charts import Scale, Tick, scale_over
from mien.types import DIMENSIONS

__all__ = [
    "NONE",
    "BinTable",
    "DimensionRow",
    "SplitRow",
    "attribute_tables",
    "box_table",
    "dimension_rows",
    "signs",
    "split_rows",
    "warning",
]

NONE: Final = "\N{EN DASH}"
_SIGNS: Final = 4  # that a page can tell apart
_MAX_VALUES: Final = 16  # of an attribute, beside each other
_BAR: Final = 100 / 11  # percent of the width, for each of 0.0, 0.1 ... 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow:
    """One split in numbers. `chance`: what guessing reaches in the metric of the label set."""

    split: str
    sign: int
    images: str
    subjects: str
    unlabelled: str
    labels: str
    chance: str
    chance_at: float | None
    with_dimensions: str
    annotators: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionRow:
    """One dimension on one split; `bars`: (left, height) in percent of what was drawn."""

    name: str
    split: str
    mean: str
    span: str
    bars: tuple[tuple[float, float], ...]
    difference: str
    alpha: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BinTable:
    """Counts by bin, a row a split."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def signs(summary: Summary) -> dict[str, int]:
    """A sign for each split."""
    return {part.split: place % _SIGNS for place, part in enumerate(summary.splits)}


def split_rows(summary: Summary) -> tuple[tuple[SplitRow, ...], Scale]:
    """A line a split, and the scale of its chance."""
    levels = {part.split: chance(part, exclusive=summary.exclusive) for part in summary.splits}
    scale = scale_over(level for level in levels.values() if level is not None)
    found = signs(summary)
    return tuple(
        _split_row(part, levels[part.split], scale, found[part.split]) for part in summary.splits
    ), scale


def chance(part: SplitSummary, *, exclusive: bool) -> float | None:
    """Accuracy of the most frequent label where exactly one holds, else mAP of guessing."""
    if not exclusive:
        return part.chance_map
    return None if part.most_frequent is None else part.most_frequent[1]


def warning(summary: Summary) -> str:
    """That scores on different splits do not compare, with the numbers that say why; "" if they agree."""
    levels = {part.split: chance(part, exclusive=summary.exclusive) for part in summary.splits}
    known = {split: level for split, level in levels.items() if level is not None}
    texts = {split: f"{level:.3f}" for split, level in known.items()}
    if len(set(texts.values())) < 2:
        return ""
    metric = "accuracy" if summary.exclusive else "mAP"
    told = ", ".join(f"{text} on {split}" for split, text in texts.items())
    return (
        f"Guessing reaches a different {metric} on each: {told}. A score on one split is not a score on "
        "another: compare scores on the same split only, and show its chance level beside them."
    )


def dimension_rows(
    summary: Summary, agreements: Sequence[Agreement]
) -> tuple[tuple[DimensionRow, ...], tuple[Tick, ...]]:
    """Each dimension on each split that has it, and the ticks of its axis."""
    by_split = {item.split: item.dimensions for item in agreements}
    rows = (
        _dimension_row(name, part, by_split.get(part.split, {}))
        for name in DIMENSIONS
        for part in summary.splits
        if name in part.dimensions
    )
    ticks = tuple(
        Tick(at=round((tenth + 0.5) * _BAR, 2), text=f"{tenth / 10:.1f}") for tenth in range(0, 11, 2)
    )
    return tuple(rows), ticks


def box_table(summary: Summary) -> BinTable | None:
    """Boxes by the side of a square as large, and people without a box; None where there is nobody."""
    if not any(part.num_subjects for part in summary.splits):
        return None
    heads = (*(f"{name} px" for name in summary.splits[0].boxes.bin_names), "no box")
    counts = {part.split: (*part.boxes.histogram, part.num_without_box) for part in summary.splits}
    return _bins("Boxes, by the side of a square as large", heads, counts)


def attribute_tables(summary: Summary) -> tuple[tuple[BinTable, ...], tuple[str, ...]]:
    """A table for each attribute, the most frequent value first; the names of those with too many values."""
    names = dict.fromkeys(name for part in summary.splits for name in part.attributes)
    tables = [_attribute(summary, name) for name in names]
    shown = tuple(table for table in tables if len(table.heads) <= _MAX_VALUES)
    return shown, tuple(table.title for table in tables if len(table.heads) > _MAX_VALUES)


def _split_row(part: SplitSummary, level: float | None, scale: Scale, sign: int) -> SplitRow:
    return SplitRow(
        split=part.split,
        sign=sign,
        images=f"{part.num_images:,}",
        subjects=f"{part.num_subjects:,}",
        unlabelled=f"{part.num_unlabeled:,}" if part.num_unlabeled else NONE,
        labels=NONE if part.labels_per_subject is None else f"{part.labels_per_subject:.2f}",
        chance=NONE if level is None else f"{level:.3f}",
        chance_at=None if level is None else scale.at(level),
        with_dimensions=f"{part.num_with_dimensions:,}" if part.num_with_dimensions else NONE,
        annotators=_annotators(part),
    )


def _annotators(part: SplitSummary) -> str:
    """How many opinions a subject has: one number, or the range and the mean."""
    known = {count: subjects for count, subjects in part.annotators.items() if count}
    if not known:
        return NONE
    if len(known) == 1:
        return f"{next(iter(known))}"
    mean = sum(count * subjects for count, subjects in known.items()) / sum(known.values())
    return f"{min(known)} to {max(known)}, mean {mean:.1f}"


def _dimension_row(
    name: str, part: SplitSummary, agreements: Mapping[str, DimensionAgreement]
) -> DimensionRow:
    spread = part.dimensions[name]
    agreed = agreements.get(name)
    alpha = None if agreed is None else agreed.alpha
    most = max(spread.histogram)
    return DimensionRow(
        name=name,
        split=part.split,
        mean=f"{spread.mean:.2f}",
        span=f"{spread.low:.2f} to {spread.high:.2f}",
        bars=tuple(
            (round(place * _BAR + 0.6, 2), round(100 * count / most, 2))
            for place, count in enumerate(spread.histogram)
            if count
        ),
        difference=NONE if agreed is None else f"{agreed.mean_difference:.2f}",
        alpha=NONE if alpha is None else f"{alpha:.2f}".replace("-", "\N{MINUS SIGN}"),
    )


def _attribute(summary: Summary, name: str) -> BinTable:
    found = {part.split: part.attributes.get(name, {}) for part in summary.splits}
    total: Counter[str] = Counter()
    for own in found.values():
        total.update(own)
    values = [value for value, _ in total.most_common()]
    counts = {split: tuple(own.get(value, 0) for value in values) for split, own in found.items()}
    return _bins(name, values, counts)


def _bins(title: str, heads: Sequence[str], counts: Mapping[str, Sequence[int]]) -> BinTable:
    rows = tuple(
        (split, tuple(f"{count:,}" if count else NONE for count in own)) for split, own in counts.items()
    )
    return BinTable(title=title, heads=tuple(heads), rows=rows)
