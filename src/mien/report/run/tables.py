"""Results as lines to show: numbers as text, verdicts in words, places on a chart.

Goes in: result rows, differences, label rows. Comes out: what a template prints as it stands.
Knows nothing about: HTML, files, where results come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mien.evaluate.metrics.table import find_metric
from mien.evaluate.results.results import Difference, LabelRow, ResultRow
from mien.report.charts import Scale, Whisker, scale_over

__all__ = [
    "DifferenceLine",
    "DifferenceTable",
    "LabelLine",
    "LabelTable",
    "ScoreLine",
    "ScoreTable",
    "difference_tables",
    "headline",
    "label_table",
    "number",
    "score_tables",
]

# What the rows of the demo's experiment are; other names speak for themselves.
_MEANINGS: Final = {
    "fused": "picture and description together",
    "image_only": "picture alone",
    "text_only": "description alone",
    "no_box": "fused; neither stage is shown the box",
    "shuffled": "fused; the descriptions are of other subjects",
    "caption": "fused; a plain caption in place of the description",
    "qformer": "picture and description together",
    "concat": "picture and description side by side",
}


_TOO_FEW: Final = "too few for one"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    """One model's score, and where it lies on the table's chart; `best` if no line is better."""

    name: str
    meaning: str
    value: str
    interval: str
    chance: str
    whisker: Whisker
    chance_at: float
    n: str
    seeds: str
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """All scores in one metric on one split."""

    metric: str
    title: str
    direction: str
    split: str
    scale: Scale
    lines: tuple[ScoreLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceLine:
    """One difference, in numbers, on the chart, and in words."""

    a: str
    b: str
    value: str
    interval: str
    whisker: Whisker
    verdict: str
    clear: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceTable:
    """All differences in one metric on one split; `zero_at` is where the chart has its zero."""

    metric: str
    split: str
    scale: Scale
    zero_at: float
    lines: tuple[DifferenceLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLine:
    """One label: its average precision as a bar with an interval, its prevalence as a mark."""

    label: str
    value: str
    interval: str
    whisker: Whisker
    prevalence: str
    prevalence_at: float
    positives: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """Every label that some sample of the split has, the most frequent first; by the model `name`."""

    name: str
    split: str
    scale: Scale
    lines: tuple[LabelLine, ...]
    left_out: tuple[str, ...]


def number(value: float, *, signed: bool = False) -> str:
    """Three decimals, with a true minus sign."""
    return f"{value:{'+' if signed else ''}.3f}".replace("-", "\N{MINUS SIGN}")


def score_tables(rows: Sequence[ResultRow]) -> tuple[ScoreTable, ...]:
    """One table for each metric and split, in the order in which they first come."""
    keys = dict.fromkeys((row.metric, row.split) for row in rows)
    return tuple(_score_table([row for row in rows if (row.metric, row.split) == key]) for key in keys)


def difference_tables(differences: Sequence[Difference]) -> tuple[DifferenceTable, ...]:
    """One table for each metric and split, in the order in which they first come."""
    keys = dict.fromkeys((item.metric, item.split) for item in differences)
    return tuple(
        _difference_table([item for item in differences if (item.metric, item.split) == key]) for key in keys
    )


def label_table(rows: Sequence[LabelRow], labels: Iterable[str]) -> LabelTable:
    """The table of rows of one split and model; of all `labels` of the set it names those left out."""
    scale = Scale(low=0.0, high=1.0, step=0.2)
    shown = {row.label for row in rows}
    return LabelTable(
        name=rows[0].name,
        split=rows[0].split,
        scale=scale,
        lines=tuple(_label_line(row, scale) for row in sorted(rows, key=lambda row: -row.prevalence)),
        left_out=tuple(label for label in labels if label not in shown),
    )


def headline(table: ScoreTable) -> str:
    """The result of a table in two sentences; whether a lead is more than luck, the differences say."""
    best = next(line for line in table.lines if line.best)
    first = f"{best.name} comes first" if len(table.lines) > 1 else f"{best.name} is measured"
    return (
        f"On {best.n} subjects of the split {table.split}, {first}: {table.metric} {best.value} "
        f"(95 % interval {best.interval}). Chance is {best.chance}."
    )


def _score_table(rows: Sequence[ResultRow]) -> ScoreTable:
    first = rows[0]
    metric = find_metric(first.metric)
    higher = metric is None or metric.higher_is_better
    best = (max if higher else min)(row.value for row in rows)
    scale = scale_over(value for row in rows for value in (row.low, row.high, row.value, row.chance))
    return ScoreTable(
        metric=first.metric,
        title=first.metric if metric is None else metric.title,
        direction="higher is better" if higher else "lower is better",
        split=first.split,
        scale=scale,
        lines=tuple(_score_line(row, scale, best=row.value == best) for row in rows),
    )


def _score_line(row: ResultRow, scale: Scale, *, best: bool) -> ScoreLine:
    return ScoreLine(
        name=row.name,
        meaning=_MEANINGS.get(row.name, ""),
        value=number(row.value),
        interval=_interval(row.low, row.high),
        chance=number(row.chance),
        whisker=scale.whisker(row.value, row.low, row.high),
        chance_at=scale.at(row.chance),
        n=f"{row.n:,}",
        seeds=f"{len(row.seeds)}",
        best=best,
    )


def _difference_table(items: Sequence[Difference]) -> DifferenceTable:
    scale = scale_over(value for item in items for value in (item.low, item.high, item.value))
    return DifferenceTable(
        metric=items[0].metric,
        split=items[0].split,
        scale=scale,
        zero_at=scale.at(0.0),
        lines=tuple(_difference_line(item, scale) for item in items),
    )


def _difference_line(item: Difference, scale: Scale) -> DifferenceLine:
    return DifferenceLine(
        a=item.a,
        b=item.b,
        value=number(item.value, signed=True),
        interval=_interval(item.low, item.high, signed=True),
        whisker=scale.whisker(item.value, item.low, item.high),
        verdict=_verdict(item),
        clear=item.excludes_zero,
    )


def _verdict(item: Difference) -> str:
    if not item.excludes_zero:
        return "No clear difference: the interval includes zero."
    metric = find_metric(item.metric)
    higher_is_better = metric is None or metric.higher_is_better
    better = item.a if (item.value > 0) == higher_is_better else item.b
    return f"{better} is better: the interval excludes zero."


def _label_line(row: LabelRow, scale: Scale) -> LabelLine:
    return LabelLine(
        label=row.label,
        value=number(row.value),
        interval=_TOO_FEW if row.low is None or row.high is None else _interval(row.low, row.high),
        whisker=scale.whisker(row.value, row.low, row.high),
        prevalence=number(row.prevalence),
        prevalence_at=scale.at(row.prevalence),
        positives=f"{row.positives:,}",
    )


def _interval(low: float, high: float, *, signed: bool = False) -> str:
    return f"{number(low, signed=signed)} to {number(high, signed=signed)}"
