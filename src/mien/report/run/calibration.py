"""The calibration section of a page: reliability diagrams, metrics before and after, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.metrics.reliability import Bin, reliability_bins
from mien.evaluate.results.results import CalibrationRow
from mien.evaluate.scores import SplitScores
from mien.report.charts import Scale
from mien.report.formatting import format_count, format_interval, format_number

__all__ = ["CalibrationSection", "DiagramPoint", "MetricChange", "ReliabilityDiagram", "calibration_section"]

_SCALE: Final = Scale(low=0.0, high=1.0, step=0.25)
_TITLES: Final = {
    "ECE": "calibration error (ECE)",
    "Brier": "Brier score",
    "macro_f1": "macro-averaged F1, at 0.5 and at the thresholds",
}
_RULES: Final = {
    "f1": "the highest F1",
    "precision_recall": "equal precision and recall",
    "cost": "the lowest cost",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagramPoint:
    """A bin: its position from the left and the top, and a radius that grows with its number of scores."""

    left: float
    top: float
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityDiagram:
    """Observed shares by score; calibrated scores are on the diagonal. `text` says the same in words."""

    title: str
    points: tuple[DiagramPoint, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """A metric before and after calibration, with the interval of the change."""

    title: str
    before: str
    after: str
    interval: str
    is_clear: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSection:
    """A calibration fitted on the split `fitted_on`, and its effect on the shown split.

    Attributes:
        method: What was fitted, as text.
        rule: How thresholds were chosen, "" if they were not.
        defaulted: Labels whose threshold is 0.5 because no subject has them.
        shared: Labels with too few subjects to fit a slope.
    """

    split: str
    fitted_on: str
    method: str
    rule: str
    defaulted: tuple[str, ...]
    shared: tuple[str, ...]
    exclusive: bool
    scale: Scale
    diagrams: tuple[ReliabilityDiagram, ...]
    changes: tuple[MetricChange, ...]


def calibration_section(
    scores: SplitScores, calibration: Calibration, rows: Sequence[CalibrationRow]
) -> CalibrationSection:
    """The section for the split of `scores`; `rows` of other splits are ignored."""
    return CalibrationSection(
        split=scores.split,
        fitted_on=calibration.split,
        method=_method(calibration),
        rule="" if calibration.thresholds is None else _rule(calibration),
        defaulted=calibration.defaulted,
        shared=calibration.shared,
        exclusive=calibration.exclusive,
        scale=_SCALE,
        diagrams=_diagrams(scores, calibration),
        changes=tuple(_change(row) for row in rows if row.split == scores.split),
    )


def _method(calibration: Calibration) -> str:
    if calibration.method == "platt":
        return "each label has its own slope and offset"
    if calibration.temperature is None:
        return "scores are unchanged"
    return f"logits are divided by {format_number(calibration.temperature)}"


def _rule(calibration: Calibration) -> str:
    cost = ""
    if calibration.rule == "cost":
        cost = f", where a missed label costs as much as {calibration.cost:g} false alarms"
    return _RULES[calibration.rule] + cost


def _diagrams(scores: SplitScores, calibration: Calibration) -> tuple[ReliabilityDiagram, ...]:
    exclusive = calibration.exclusive
    before = reliability_bins(scores.targets, scores.scores, exclusive=exclusive)
    diagrams = [_diagram("Uncalibrated", before)]
    if calibration.method != "none":
        after = reliability_bins(scores.targets, calibration.apply(scores.scores), exclusive=exclusive)
        diagrams.append(_diagram("Calibrated", after))
    return tuple(diagrams)


def _diagram(title: str, bins: Sequence[Bin]) -> ReliabilityDiagram:
    largest = max(one.count for one in bins)
    points = tuple(
        DiagramPoint(
            left=_SCALE.at(one.score),
            top=round(100 - _SCALE.at(one.share), 2),
            radius=round(2 + 5 * (one.count / largest) ** 0.25, 2),
        )
        for one in bins
    )
    texts = (
        f"{format_count(one.count)} scores around {format_number(one.score)}: observed "
        f"{format_number(one.share)}"
        for one in bins
    )
    return ReliabilityDiagram(title=title, points=points, text="; ".join(texts))


def _change(row: CalibrationRow) -> MetricChange:
    return MetricChange(
        title=_TITLES.get(row.metric, row.metric),
        before=format_number(row.before),
        after=format_number(row.after),
        interval=format_interval(row.low, row.high, signed=True),
        is_clear=row.excludes_zero,
    )
