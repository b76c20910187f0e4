"""The results of a run as tables and charts: numbers as text, conclusions in words, positions in percent.

The template prints these values unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mien.evaluate.metrics.table import find_metric
from mien.evaluate.results.results import Difference, Evaluation, LabelRow, ResultRow, SplitAccess
from mien.report.charts import UNIT_SCALE, Scale, Whisker, scale_over
from mien.report.formatting import NO_VALUE, format_count, format_interval, format_number

__all__ = [
    "DifferenceLine",
    "DifferenceTable",
    "LabelLine",
    "LabelTable",
    "ScoreLine",
    "ScoreTable",
    "TextTable",
    "difference_tables",
    "dimension_table",
    "headline",
    "interval_name",
    "label_details",
    "label_table",
    "repeated_evaluations",
    "score_tables",
]

# The models of the demo's experiment; other names are shown without an explanation.
_MEANINGS: Final = {
    "fused": "image and description together",
    "image_only": "image alone",
    "text_only": "description alone",
    "no_box": "fused; neither stage sees the box",
    "shuffled": "fused; the descriptions are of other subjects",
    "caption": "fused; a plain caption instead of the description",
    "likelihood": "no training; how likely the describing model says yes",
    "words": "no training; the labels that the description names",
    "similarity": "no training; similarity of image and label",
    "qformer": "image and description together",
    "concat": "image and description concatenated",
}
_NO_INTERVAL: Final = "too few subjects"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    """One model's score and its position on the table's chart."""

    name: str
    meaning: str
    value: str
    interval: str
    chance: str
    whisker: Whisker
    chance_at: float
    subjects: str
    seeds: str
    is_best: bool


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
    """One difference: its numbers, its position on the chart, and a conclusion in words."""

    a: str
    b: str
    value: str
    interval: str
    whisker: Whisker
    conclusion: str
    is_clear: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceTable:
    """All differences in one metric on one split. `zero_at` is the position of zero on the chart."""

    metric: str
    split: str
    scale: Scale
    zero_at: float
    lines: tuple[DifferenceLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLine:
    """One label: its average precision (a bar with an interval) and its prevalence (a mark)."""

    label: str
    value: str
    interval: str
    whisker: Whisker
    prevalence: str
    prevalence_at: float
    positives: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """Every label that some sample of the split has, the most frequent first, for the model `name`.

    `train_size` is how many training images it has seen in a learning curve, else "".
    """

    name: str
    train_size: str
    split: str
    scale: Scale
    lines: tuple[LabelLine, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table without a chart; the first cell of each line is its heading."""

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


# --- Scores ------------------------------------------------------------------------------------------


def score_tables(rows: Sequence[ResultRow]) -> tuple[ScoreTable, ...]:
    """One table per metric and split, in order of first occurrence."""
    keys = dict.fromkeys((row.metric, row.split) for row in rows)
    return tuple(_score_table([row for row in rows if (row.metric, row.split) == key]) for key in keys)


def interval_name(results: Evaluation, split: str | None) -> str:
    """What intervals on a split are called; on any split if None."""
    approximate = bool(results.approximate) if split is None else split in results.approximate
    return "approximate interval" if approximate else "95% interval"


def headline(table: ScoreTable, interval_name: str) -> str:
    """The result of a table in two sentences. Whether a lead is significant is up to the differences."""
    best = next(line for line in table.lines if line.is_best)
    verb = "is best with" if len(table.lines) > 1 else "reaches"
    return (
        f"On {best.subjects} subjects of split {table.split}, {best.name} {verb} {table.metric} {best.value} "
        f"({'no 95% interval' if best.whisker.low is None else f'{interval_name} {best.interval}'}). "
        f"Chance is {best.chance}."
    )


def _score_table(rows: Sequence[ResultRow]) -> ScoreTable:
    first = rows[0]
    metric = find_metric(first.metric)
    is_higher_better = metric is None or metric.higher_is_better
    best = (max if is_higher_better else min)(row.value for row in rows)
    scale = scale_over(value for row in rows for value in (row.low, row.high, row.value, row.chance))
    return ScoreTable(
        metric=first.metric,
        title=first.metric if metric is None else metric.title,
        direction="higher is better" if is_higher_better else "lower is better",
        split=first.split,
        scale=scale,
        lines=tuple(_score_line(row, scale, is_best=row.value == best) for row in rows),
    )


def _score_line(row: ResultRow, scale: Scale, *, is_best: bool) -> ScoreLine:
    return ScoreLine(
        name=row.name,
        meaning=_MEANINGS.get(row.name, ""),
        value=format_number(row.value),
        interval=format_interval(row.low, row.high),
        chance=format_number(row.chance),
        whisker=scale.whisker(row.value, row.low, row.high),
        chance_at=scale.at(row.chance),
        subjects=format_count(row.n),
        seeds=format_count(len(row.seeds)),
        is_best=is_best,
    )


def repeated_evaluations(accesses: Sequence[SplitAccess]) -> tuple[str, ...]:
    """One sentence for each split that was scored more than once."""
    return tuple(
        f"Split {access.split} was scored {access.times} times by this run, with {access.weights} different "
        f"{'model' if access.weights == 1 else 'models'}."
        for access in accesses
        if access.times > 1
    )


# --- Differences -------------------------------------------------------------------------------------


def difference_tables(differences: Sequence[Difference]) -> tuple[DifferenceTable, ...]:
    """One table per metric and split, in order of first occurrence."""
    keys = dict.fromkeys((item.metric, item.split) for item in differences)
    return tuple(
        _difference_table([item for item in differences if (item.metric, item.split) == key]) for key in keys
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
        value=format_number(item.value, signed=True),
        interval=format_interval(item.low, item.high, signed=True),
        whisker=scale.whisker(item.value, item.low, item.high),
        conclusion=_conclusion(item),
        is_clear=item.excludes_zero,
    )


def _conclusion(item: Difference) -> str:
    if item.low is None:
        return "Unknown: there is no interval."
    if not item.excludes_zero:
        return "No clear difference: the interval includes zero."
    metric = find_metric(item.metric)
    is_higher_better = metric is None or metric.higher_is_better
    better = item.a if (item.value > 0) == is_higher_better else item.b
    return f"{better} is better: the interval excludes zero."


# --- Labels and dimensions ---------------------------------------------------------------------------


def label_table(rows: Sequence[LabelRow], labels: Iterable[str]) -> LabelTable:
    """The table for rows of one split and model; the `labels` of the set without a row are left out."""
    present = {row.label for row in rows}
    return LabelTable(
        name=rows[0].name,
        train_size="" if rows[0].train_size is None else format_count(rows[0].train_size),
        split=rows[0].split,
        scale=UNIT_SCALE,
        lines=tuple(_label_line(row) for row in sorted(rows, key=lambda row: -row.prevalence)),
        left_out=tuple(label for label in labels if label not in present),
    )


def _label_line(row: LabelRow) -> LabelLine:
    return LabelLine(
        label=row.label,
        value=format_number(row.value),
        interval=_NO_INTERVAL if row.low is None or row.high is None else format_interval(row.low, row.high),
        whisker=UNIT_SCALE.whisker(row.value, row.low, row.high),
        prevalence=format_number(row.prevalence),
        prevalence_at=UNIT_SCALE.at(row.prevalence),
        positives=format_count(row.positives),
    )


def label_details(rows: Sequence[LabelRow]) -> TextTable:
    """All metrics by label, most frequent first; columns without any value are left out."""
    ranked = sorted(rows, key=lambda row: -row.prevalence)
    columns: dict[str, list[float | None]] = {
        "AP": [row.value for row in ranked],
        "AP interpolated": [row.ap_emotic for row in ranked],
        "AUC": [row.auc for row in ranked],
        "F1": [row.f1 for row in ranked],
        "Threshold": [row.threshold for row in ranked],
        "F1 at threshold": [row.f1_at_threshold for row in ranked],
        "Share": [row.prevalence for row in ranked],
    }
    known = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    lines = tuple(
        (row.label, *(_number(values[index]) for values in known.values()), format_count(row.positives))
        for index, row in enumerate(ranked)
    )
    return TextTable(header=("Label", *known, "Subjects"), lines=lines)


def dimension_table(results: Evaluation, split: str | None) -> TextTable | None:
    """The error of each dimension on one split, or on all if None; None if there are no rows."""
    lines = tuple(
        (
            row.dimension.capitalize(),
            format_number(row.value),
            format_interval(row.low, row.high),
            format_number(row.chance),
            _number(row.r2),
            format_count(row.n),
        )
        for row in results.dimensions
        if split in (None, row.split)
    )
    name = interval_name(results, split).capitalize()
    header = ("Dimension", "Error", name, "Chance", "R2", "Subjects")
    return TextTable(header=header, lines=lines) if lines else None


def _number(value: float | None) -> str:
    return NO_VALUE if value is None else format_number(value)
