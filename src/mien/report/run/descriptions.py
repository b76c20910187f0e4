"""The audit of descriptions on a page: findings, and how often each label is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mien.evaluate.descriptions.description_audit import DescriptionAudit
from mien.evaluate.descriptions.findings import Level
from mien.evaluate.descriptions.label_agreement import LabelNaming
from mien.report.charts import UNIT_SCALE, Scale
from mien.report.formatting import format_count, format_number

__all__ = ["DescriptionSection", "FindingLine", "NamingLine", "description_section"]

_LEVEL_NAMES: Final[dict[Level, str]] = {"ok": "OK", "note": "Note", "alarm": "Alarm"}
_HEADLINES: Final[dict[Level, str]] = {
    "ok": "Nothing speaks against training on these descriptions.",
    "note": "These descriptions can be used for training; see the notes below.",
    "alarm": "Do not train on these descriptions as they are.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingLine:
    """One finding. The template styles it by `level` and prints `level_name`."""

    level: Level
    level_name: str
    about: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingLine:
    """One label: how often it is named if annotators chose it (a bar), and if they did not (a mark)."""

    label: str
    subjects: str
    if_chosen: str
    if_chosen_at: float
    if_not: str
    if_not_at: float | None
    lift: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptionSection:
    """The section on descriptions."""

    headline: str
    subjects: str
    findings: tuple[FindingLine, ...]
    labels: tuple[NamingLine, ...]
    left_out: tuple[str, ...]
    scale: Scale


def description_section(audit: DescriptionAudit) -> DescriptionSection:
    """Alarms come first. Labels are those of at least one subject, the most frequent first."""
    rows = () if audit.label_agreement is None else audit.label_agreement.labels
    findings = sorted(audit.findings, key=lambda finding: finding.level != "alarm")
    return DescriptionSection(
        headline=_HEADLINES[audit.level],
        subjects=format_count(audit.n),
        findings=tuple(
            FindingLine(
                level=item.level,
                level_name=_LEVEL_NAMES[item.level],
                about=item.about,
                text=_keep_percent_together(item.text),
            )
            for item in findings
        ),
        labels=tuple(_naming_line(row) for row in sorted(rows, key=lambda row: -row.gold) if row.gold),
        left_out=tuple(row.label for row in rows if not row.gold),
        scale=UNIT_SCALE,
    )


def _keep_percent_together(text: str) -> str:
    """No line break between a number and its percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _naming_line(row: LabelNaming) -> NamingLine:
    return NamingLine(
        label=row.label,
        subjects=format_count(row.gold),
        if_chosen=_share(row.named_if_gold),
        if_chosen_at=UNIT_SCALE.at(row.named_if_gold or 0.0),
        if_not=_share(row.named_if_not),
        if_not_at=None if row.named_if_not is None else UNIT_SCALE.at(row.named_if_not),
        lift="" if row.lift is None else format_number(row.lift, 2),
    )


def _share(share: float | None) -> str:
    return "" if share is None else format_number(share)
