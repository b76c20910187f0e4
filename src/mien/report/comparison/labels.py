"""Differences by label on the page that compares runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mien.evaluate.analysis.label_differences import LabelDifference
from mien.report.charts import Scale, Whisker, scale_over
from mien.report.formatting import format_count, format_interval, format_number

__all__ = ["LabelDifferenceLine", "LabelDifferenceTable", "label_difference_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDifferenceLine:
    """One label: both scores, their difference with its place on the chart, and how many people have it."""

    label: str
    value_a: str
    value_b: str
    difference: str
    interval: str
    whisker: Whisker
    positives: str
    is_clear: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDifferenceTable:
    """All labels of two models. `zero_at` is the position of zero; `clear` counts the clear differences."""

    a: str
    b: str
    scale: Scale
    zero_at: float
    lines: tuple[LabelDifferenceLine, ...]
    clear: int


def label_difference_table(rows: Sequence[LabelDifference]) -> LabelDifferenceTable:
    """The table for rows of one pair of models."""
    scale = scale_over(value for row in rows for value in (row.difference, row.low, row.high))
    return LabelDifferenceTable(
        a=rows[0].a,
        b=rows[0].b,
        scale=scale,
        zero_at=scale.at(0.0),
        lines=tuple(
            LabelDifferenceLine(
                label=row.label,
                value_a=format_number(row.value_a),
                value_b=format_number(row.value_b),
                difference=format_number(row.difference, signed=True),
                interval="too few subjects"
                if row.low is None
                else format_interval(row.low, row.high, signed=True),
                whisker=scale.whisker(row.difference, row.low, row.high),
                positives=format_count(row.positives),
                is_clear=row.excludes_zero,
            )
            for row in rows
        ),
        clear=sum(row.excludes_zero for row in rows),
    )
