"""The statistics of a dataset as tables and charts: numbers as text, positions in percent.

The template prints these values unchanged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mien.data.audit.agreement import Agreement, DimensionAgreement
from mien.data.audit.summary import SplitSummary, Summary
from mien.report.charts import Scale, Tick, scale_over
from mien.report.formatting import NO_VALUE, format_count, format_number
from mien.types import DIMENSIONS

__all__ = [
    "BinTable",
    "DimensionLine",
    "HeatMap",
    "HeatMapCell",
    "HeatMapLine",
    "LabelChart",
    "LabelChartLine",
    "LabelMark",
    "SplitLine",
    "agreement_chart",
    "attribute_tables",
    "box_table",
    "chance_warning",
    "dimension_lines",
    "heat_maps",
    "prevalence_chart",
    "split_lines",
]

_NUM_SYMBOLS: Final = 4  # distinguishable ones in the templates
_NUM_SHADES: Final = 10
_MAX_HEAT_MAP_LABELS: Final = 40  # more do not fit on a page
_MAX_ATTRIBUTE_VALUES: Final = 16
_BAR_WIDTH: Final = 100 / 11  # percent of the chart, for each of 0.0, 0.1 ... 1.0
_BAR_GAP: Final = 0.6  # percent


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitLine:
    """One split. `chance` is the chance level in the metric of the label set."""

    split: str
    symbol: int
    images: str
    subjects: str
    unlabeled: str
    labels: str
    annotators: str
    with_dimensions: str
    chance: str
    chance_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMark:
    """The value of one split on a chart. A split has the same `symbol` everywhere on a page."""

    symbol: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChartLine:
    """One label: a mark for each split with a value, and (split, text) for every split."""

    label: str
    marks: tuple[LabelMark, ...]
    texts: tuple[tuple[str, str], ...]
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChart:
    """All labels that have a value in some split, the highest first. `left_out` are the others."""

    splits: tuple[tuple[int, str], ...]
    scale: Scale
    zero_at: float
    lines: tuple[LabelChartLine, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMapCell:
    """A share in percent, "" if it rounds to 0, and a shade from 0 to 9."""

    text: str
    shade: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMapLine:
    """One label. The cell on the diagonal is None."""

    label: str
    count: str
    cells: tuple[HeatMapCell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Of a split's subjects with the line's label, the share that also has the column's label."""

    split: str
    labels: tuple[str, ...]
    lines: tuple[HeatMapLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionLine:
    """One dimension in one split. `bars` are (left, height) in percent of the chart."""

    name: str
    split: str
    mean: str
    range: str
    bars: tuple[tuple[float, float], ...]
    difference: str
    alpha: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BinTable:
    """Counts by bin, one line per split."""

    title: str
    bins: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]


# --- Splits ------------------------------------------------------------------------------------------


def split_lines(summary: Summary) -> tuple[tuple[SplitLine, ...], Scale]:
    """One line per split, and the scale of their chance levels."""
    levels = _chance_levels(summary)
    scale = scale_over(level for level in levels.values() if level is not None)
    symbols = _symbols(summary)
    return tuple(
        _split_line(split, levels[split.split], scale, symbols[split.split]) for split in summary.splits
    ), scale


def chance_warning(summary: Summary) -> str:
    """Why scores on different splits cannot be compared; "" if their chance levels are equal."""
    levels = {split: level for split, level in _chance_levels(summary).items() if level is not None}
    texts = {split: format_number(level) for split, level in levels.items()}
    if len(set(texts.values())) < 2:
        return ""
    metric = "accuracy" if summary.exclusive else "mAP"
    listed = ", ".join(f"{text} on {split}" for split, text in texts.items())
    return (
        f"The chance level in {metric} differs between splits: {listed}. Compare scores only on the same "
        "split, and show the chance level with them."
    )


def _chance_levels(summary: Summary) -> dict[str, float | None]:
    """By split: the accuracy of the most frequent label if exactly one holds, else the mAP of guessing."""
    if not summary.exclusive:
        return {split.split: split.chance_map for split in summary.splits}
    frequent = {split.split: split.most_frequent for split in summary.splits}
    return {name: None if found is None else found[1] for name, found in frequent.items()}


def _symbols(summary: Summary) -> dict[str, int]:
    return {split.split: index % _NUM_SYMBOLS for index, split in enumerate(summary.splits)}


def _split_line(split: SplitSummary, chance: float | None, scale: Scale, symbol: int) -> SplitLine:
    return SplitLine(
        split=split.split,
        symbol=symbol,
        images=format_count(split.num_images),
        subjects=format_count(split.num_subjects),
        unlabeled=_count_or_dash(split.num_unlabeled),
        labels=NO_VALUE if split.labels_per_subject is None else format_number(split.labels_per_subject, 2),
        annotators=_annotators(split),
        with_dimensions=_count_or_dash(split.num_with_dimensions),
        chance=NO_VALUE if chance is None else format_number(chance),
        chance_at=None if chance is None else scale.at(chance),
    )


def _annotators(split: SplitSummary) -> str:
    """The number of annotators per subject: one number, or the range and the mean."""
    known = {count: subjects for count, subjects in split.annotators.items() if count}
    if not known:
        return NO_VALUE
    if len(known) == 1:
        return f"{next(iter(known))}"
    mean = sum(count * subjects for count, subjects in known.items()) / sum(known.values())
    return f"{min(known)} to {max(known)}, mean {mean:.1f}"


# --- Labels ------------------------------------------------------------------------------------------


def prevalence_chart(summary: Summary) -> LabelChart | None:
    """The percentage of labeled subjects that have each label, by split; None if there are no labels."""
    shares = {split.split: split.prevalence for split in summary.splits if split.num_labeled}
    highest = max((value for by_label in shares.values() for value in by_label.values()), default=0.0)
    if not highest:
        return None
    percentages = {
        split: {label: 100 * share for label, share in by_label.items() if share}
        for split, by_label in shares.items()
    }
    scale = scale_over([100 * highest])
    return _label_chart(summary, percentages, scale, lambda value: format_number(value, 1))


def agreement_chart(summary: Summary, agreements: Sequence[Agreement]) -> LabelChart | None:
    """Kappa by label and split; None if no label has one."""
    kappas = {
        item.split: {label: value for label, value in item.kappa.items() if value is not None}
        for item in agreements
    }
    values = [value for by_label in kappas.values() for value in by_label.values()]
    if not values:
        return None
    scale = scale_over([1.0, *values])
    return _label_chart(summary, kappas, scale, lambda value: format_number(value, 2))


def heat_maps(summary: Summary) -> tuple[HeatMap, ...]:
    """One per split with labels; none if exactly one label holds, or if there are too many labels."""
    if summary.exclusive or len(summary.labels) > _MAX_HEAT_MAP_LABELS:
        return ()
    return tuple(_heat_map(split) for split in summary.splits if any(split.positives.values()))


def _heat_map(split: SplitSummary) -> HeatMap:
    present = [(index, label, count) for index, (label, count) in enumerate(split.positives.items()) if count]
    lines = tuple(
        HeatMapLine(
            label=label,
            count=format_count(count),
            cells=tuple(
                None if column == row else _heat_map_cell(split.cooccurrence[row][column] / count)
                for column, _, _ in present
            ),
        )
        for row, label, count in present
    )
    return HeatMap(split=split.split, labels=tuple(label for _, label, _ in present), lines=lines)


def _heat_map_cell(share: float) -> HeatMapCell:
    text = f"{100 * share:.0f}"
    shade = min(_NUM_SHADES - 1, int(share * _NUM_SHADES))
    return HeatMapCell(text="" if text == "0" else text, shade=shade)


def _label_chart(
    summary: Summary,
    values: Mapping[str, Mapping[str, float]],
    scale: Scale,
    to_text: Callable[[float], str],
) -> LabelChart:
    """A chart of values by split and label."""
    symbols = {split: symbol for split, symbol in _symbols(summary).items() if split in values}
    lines = [_label_line(label, values, symbols, scale, to_text) for label in summary.labels]
    return LabelChart(
        splits=tuple((symbol, split) for split, symbol in symbols.items()),
        scale=scale,
        zero_at=scale.at(0.0),
        lines=tuple(sorted((line for line in lines if line.marks), key=lambda line: -line.mean)),
        left_out=tuple(line.label for line in lines if not line.marks),
    )


def _label_line(
    label: str,
    values: Mapping[str, Mapping[str, float]],
    symbols: Mapping[str, int],
    scale: Scale,
    to_text: Callable[[float], str],
) -> LabelChartLine:
    known = {split: values[split][label] for split in symbols if label in values[split]}
    return LabelChartLine(
        label=label,
        marks=tuple(LabelMark(symbol=symbols[split], at=scale.at(value)) for split, value in known.items()),
        texts=tuple((split, to_text(known[split]) if split in known else NO_VALUE) for split in symbols),
        mean=sum(known.values()) / len(known) if known else 0.0,
    )


# --- Dimensions --------------------------------------------------------------------------------------


def dimension_lines(
    summary: Summary, agreements: Sequence[Agreement]
) -> tuple[tuple[DimensionLine, ...], tuple[Tick, ...]]:
    """Each dimension in each split that has it, and the ticks of their axis."""
    by_split = {item.split: item.dimensions for item in agreements}
    lines = (
        _dimension_line(name, split, by_split.get(split.split, {}).get(name))
        for name in DIMENSIONS
        for split in summary.splits
        if name in split.dimensions
    )
    ticks = tuple(
        Tick(at=round((tenth + 0.5) * _BAR_WIDTH, 2), text=f"{tenth / 10:.1f}") for tenth in range(0, 11, 2)
    )
    return tuple(lines), ticks


def _dimension_line(name: str, split: SplitSummary, agreement: DimensionAgreement | None) -> DimensionLine:
    statistics = split.dimensions[name]
    alpha = None if agreement is None else agreement.alpha
    highest = max(statistics.histogram)
    return DimensionLine(
        name=name,
        split=split.split,
        mean=format_number(statistics.mean, 2),
        range=f"{statistics.low:.2f} to {statistics.high:.2f}",
        bars=tuple(
            (round(index * _BAR_WIDTH + _BAR_GAP, 2), round(100 * count / highest, 2))
            for index, count in enumerate(statistics.histogram)
            if count
        ),
        difference=NO_VALUE if agreement is None else format_number(agreement.mean_difference, 2),
        alpha=NO_VALUE if alpha is None else format_number(alpha, 2),
    )


# --- Boxes and attributes ----------------------------------------------------------------------------


def box_table(summary: Summary) -> BinTable | None:
    """Boxes by size, and people without a box; None if there are no people."""
    if not any(split.num_subjects for split in summary.splits):
        return None
    bins = (*(f"{name} px" for name in summary.splits[0].boxes.bin_names), "no box")
    counts = {split.split: (*split.boxes.histogram, split.num_without_box) for split in summary.splits}
    return _bin_table("Box size (side of the square with the same area)", bins, counts)


def attribute_tables(summary: Summary) -> tuple[tuple[BinTable, ...], tuple[str, ...]]:
    """One table per attribute, most frequent value first; and the attributes with too many values."""
    names = dict.fromkeys(name for split in summary.splits for name in split.attributes)
    tables = [_attribute_table(summary, name) for name in names]
    shown = tuple(table for table in tables if len(table.bins) <= _MAX_ATTRIBUTE_VALUES)
    return shown, tuple(table.title for table in tables if len(table.bins) > _MAX_ATTRIBUTE_VALUES)


def _attribute_table(summary: Summary, name: str) -> BinTable:
    by_split = {split.split: split.attributes.get(name, {}) for split in summary.splits}
    total: Counter[str] = Counter()
    for counts in by_split.values():
        total.update(counts)
    values = [value for value, _ in total.most_common()]
    return _bin_table(
        name,
        values,
        {split: tuple(counts.get(value, 0) for value in values) for split, counts in by_split.items()},
    )


def _bin_table(title: str, bins: Sequence[str], counts: Mapping[str, Sequence[int]]) -> BinTable:
    lines = tuple((split, tuple(map(_count_or_dash, by_bin))) for split, by_bin in counts.items())
    return BinTable(title=title, bins=tuple(bins), lines=lines)


def _count_or_dash(count: int) -> str:
    return format_count(count) if count else NO_VALUE
