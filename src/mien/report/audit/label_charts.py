"""What was counted of labels, as charts: how frequent each is, how far annotators agree, which come together.

In: a `Summary`, and the annotators' `Agreement`. Out: what a template prints as it stands.
Knows nothing about: HTML, files, pictures, problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mien.data.audit.agreement import Agreement
from mien.data.audit.summary import SplitSummary, Summary
from mien.report.audit.lines import NONE, signs
from mien.report.charts import Scale, scale_over

__all__ = [
    "Cell",
    "HeatMap",
    "LabelChart",
    "LabelRow",
    "Mark",
    "agreement_chart",
    "heat_maps",
    "prevalence_chart",
]

_SHADES: Final = 10
_MAX_LABELS: Final = 40  # of a heat map; more do not fit on a page


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A value of one split on a chart; `sign` is the split's, the same everywhere on a page."""

    sign: int
    split: str
    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One label: a mark for each split that says something of it, and a text for each split."""

    label: str
    marks: tuple[Mark, ...]
    texts: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChart:
    """All labels of which something is known, the highest first. `left_out`: the others."""

    splits: tuple[tuple[int, str], ...]
    scale: Scale
    zero_at: float
    rows: tuple[LabelRow, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`text`: a share in percent, or "" where it rounds to nothing; `shade` from 0 to 9."""

    text: str
    shade: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Of the subjects of a split that have the row's label, the share that has the column's as well."""

    split: str
    labels: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Cell | None, ...]], ...]


def prevalence_chart(summary: Summary) -> LabelChart | None:
    """The percentage of labelled subjects that have a label, by split; None where nothing is labelled."""
    shares = {part.split: part.prevalence for part in summary.splits if part.num_labeled}
    high = max((value for found in shares.values() for value in found.values()), default=0.0)
    if not high:
        return None
    known = {
        split: {label: 100 * share for label, share in found.items() if share}
        for split, found in shares.items()
    }
    return _label_chart(summary, known, scale_over([100 * high]), _one_decimal)


def agreement_chart(summary: Summary, agreements: Sequence[Agreement]) -> LabelChart | None:
    """Kappa by label and split; None where no label has one."""
    known = {
        item.split: {label: value for label, value in item.kappa.items() if value is not None}
        for item in agreements
    }
    values = [value for found in known.values() for value in found.values()]
    if not values:
        return None
    return _label_chart(summary, known, scale_over([1.0, *values]), _two_decimals)


def heat_maps(summary: Summary) -> tuple[HeatMap, ...]:
    """One for each split with labels; none where exactly one label holds, or where there are too many."""
    if summary.exclusive or len(summary.labels) > _MAX_LABELS:
        return ()
    return tuple(_heat_map(part) for part in summary.splits if any(part.positives.values()))


def _heat_map(part: SplitSummary) -> HeatMap:
    shown = [(place, label, count) for place, (label, count) in enumerate(part.positives.items()) if count]
    rows = tuple(
        (
            label,
            f"{count:,}",
            tuple(
                None if column == row else _cell(part.cooccurrence[row][column] / count)
                for column, _, _ in shown
            ),
        )
        for row, label, count in shown
    )
    return HeatMap(split=part.split, labels=tuple(label for _, label, _ in shown), rows=rows)


def _cell(share: float) -> Cell:
    text = f"{100 * share:.0f}"
    return Cell(text="" if text == "0" else text, shade=min(_SHADES - 1, int(share * _SHADES)))


def _label_chart(
    summary: Summary,
    known: Mapping[str, Mapping[str, float]],
    scale: Scale,
    text: Callable[[float], str],
) -> LabelChart:
    found = {split: sign for split, sign in signs(summary).items() if split in known}
    rows = [
        _label_row(
            label,
            {split: known[split][label] for split in found if label in known[split]},
            found,
            scale,
            text,
        )
        for label in summary.labels
    ]
    return LabelChart(
        splits=tuple((sign, split) for split, sign in found.items()),
        scale=scale,
        zero_at=scale.at(0.0),
        rows=tuple(sorted((row for row in rows if row.marks), key=lambda row: -row.value)),
        left_out=tuple(row.label for row in rows if not row.marks),
    )


def _label_row(
    label: str,
    values: Mapping[str, float],
    sign_of: Mapping[str, int],
    scale: Scale,
    text: Callable[[float], str],
) -> LabelRow:
    return LabelRow(
        label=label,
        marks=tuple(
            Mark(sign=sign_of[split], split=split, at=scale.at(value), text=text(value))
            for split, value in values.items()
        ),
        texts=tuple((split, text(values[split]) if split in values else NONE) for split in sign_of),
        value=sum(values.values()) / len(values) if values else 0.0,
    )


def _one_decimal(value: float) -> str:
    return f"{value:.1f}"


def _two_decimals(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
