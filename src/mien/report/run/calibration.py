"""What was fitted on another split, as lines to show: reliability, before and after, thresholds by label.

Goes in: scores, a calibration, rows of results. Comes out: what a template prints as it stands.
Knows nothing about: HTML, files, how any of it was fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.metrics.reliability import Bin, reliability_bins
from mien.evaluate.results.results import CalibrationRow, DimensionRow, LabelRow, SplitAccess
from mien.evaluate.scores import SplitScores
from mien.report.charts import Scale
from mien.report.run.tables import number

__all__ = [
    "Change",
    "Figures",
    "Fitted",
    "Reliability",
    "dimension_lines",
    "fitted_section",
    "label_figures",
    "seen_often",
]

_UNIT: Final = Scale(low=0.0, high=1.0, step=0.25)
_TITLES: Final = {
    "ECE": "calibration error (ECE)",
    "Brier": "Brier score",
    "macro_f1": "macro-averaged F1, at 0.5 and at the thresholds",
}
_RULES: Final = {
    "f1": "the highest F1",
    "precision_recall": "the crossing of precision and recall",
    "cost": "the least cost",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A table of nothing but figures, the first column names."""

    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A bin of a reliability diagram; `down` is counted from the top, `radius` grows with the bin's share."""

    at: float
    down: float
    radius: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """A reliability diagram: on the diagonal, scores are shares."""

    title: str
    points: tuple[Point, ...]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A number before and after, with the interval of the change."""

    title: str
    before: str
    after: str
    interval: str
    clear: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The section about what was fitted, on which split, and what it changed on the one that is shown."""

    split: str
    fitted_on: str
    how: str
    rule: str
    defaulted: tuple[str, ...]
    shared: tuple[str, ...]
    exclusive: bool
    scale: Scale
    diagrams: tuple[Reliability, ...]
    changes: tuple[Change, ...]


def fitted_section(scores: SplitScores, calibration: Calibration, rows: Sequence[CalibrationRow]) -> Fitted:
    """The section for the split of `scores`; `rows` of other splits are left aside."""
    return Fitted(
        split=scores.split,
        fitted_on=calibration.split,
        how=_how(calibration),
        rule="" if calibration.thresholds is None else _rule(calibration),
        defaulted=calibration.defaulted,
        shared=calibration.shared,
        exclusive=calibration.exclusive,
        scale=_UNIT,
        diagrams=_diagrams(scores, calibration),
        changes=tuple(_change(row) for row in rows if row.split == scores.split),
    )


def label_figures(rows: Sequence[LabelRow]) -> Figures:
    """A line a label, most frequent first; columns of which nothing is known are left out."""
    ranked = sorted(rows, key=lambda row: -row.prevalence)
    columns: dict[str, list[float | None]] = {
        "AP": [row.value for row in ranked],
        "AP interpolated": [row.ap_emotic for row in ranked],
        "AUC": [row.auc for row in ranked],
        "F1": [row.f1 for row in ranked],
        "Threshold": [row.threshold for row in ranked],
        "F1 there": [row.f1_at_threshold for row in ranked],
        "Share": [row.prevalence for row in ranked],
    }
    known = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    lines = tuple(
        (
            row.label,
            *("" if value is None else number(value) for value in (known[name][at] for name in known)),
            f"{row.positives:,}",
        )
        for at, row in enumerate(ranked)
    )
    return Figures(head=("Label", *known, "Subjects"), lines=lines)


def dimension_lines(rows: Sequence[DimensionRow], split: str | None) -> tuple[tuple[str, ...], ...]:
    """A line a dimension: error, its interval, chance, R2, how many were annotated."""
    return tuple(
        (
            row.dimension,
            number(row.value),
            f"{number(row.low)} to {number(row.high)}",
            number(row.chance),
            "" if row.r2 is None else number(row.r2),
            f"{row.n:,}",
        )
        for row in rows
        if split in (None, row.split)
    )


def seen_often(looks: Sequence[SplitAccess]) -> tuple[str, ...]:
    """A sentence for each split that was scored more than once."""
    return tuple(
        f"Split {look.split} was scored {look.times} times by this run, with {look.weights} different "
        f"{'model' if look.weights == 1 else 'models'}."
        for look in looks
        if look.times > 1
    )


def _how(calibration: Calibration) -> str:
    if calibration.method == "platt":
        return "each label has a slope and an offset of its own"
    if calibration.temperature is None:
        return "scores are left as they are"
    return f"logits are divided by {number(calibration.temperature)}"


def _rule(calibration: Calibration) -> str:
    cost = f", a missed label costing {calibration.cost:g} false alarms" if calibration.rule == "cost" else ""
    return _RULES[calibration.rule] + cost


def _diagrams(scores: SplitScores, calibration: Calibration) -> tuple[Reliability, ...]:
    exclusive = calibration.exclusive
    before = reliability_bins(scores.targets, scores.scores, exclusive=exclusive)
    found = [_diagram("As the model says", before)]
    if calibration.method != "none":
        after = reliability_bins(scores.targets, calibration.apply(scores.scores), exclusive=exclusive)
        found.append(_diagram("Calibrated", after))
    return tuple(found)


def _diagram(title: str, bins: Sequence[Bin]) -> Reliability:
    most = max(one.count for one in bins)
    points = tuple(
        Point(
            at=_UNIT.at(one.score),
            down=round(100 - _UNIT.at(one.share), 2),
            radius=round(2 + 5 * (one.count / most) ** 0.25, 2),
            words=f"{one.count:,} scores around {number(one.score)}: {number(one.share)} came true",
        )
        for one in bins
    )
    return Reliability(title=title, points=points, words="; ".join(point.words for point in points))


def _change(row: CalibrationRow) -> Change:
    low, high = number(row.low, signed=True), number(row.high, signed=True)
    return Change(
        title=_TITLES.get(row.metric, row.metric),
        before=number(row.before),
        after=number(row.after),
        interval=f"{low} to {high}",
        clear=row.low > 0 or row.high < 0,
    )
