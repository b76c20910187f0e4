"""The audit of the words as lines to show: findings, figures, and how often each label is named.

Goes in: a `DescriptionAudit`. Comes out: what a template prints as it stands.
Knows nothing about: HTML, files, how the figures were measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mien.evaluate.descriptions.description_audit import DescriptionAudit
from mien.evaluate.descriptions.findings import Level
from mien.evaluate.descriptions.label_agreement import LabelNaming
from mien.report.charts import Scale
from mien.report.run.tables import number

__all__ = ["FindingLine", "NamingLine", "WordsView", "words_view"]

_SCALE: Final = Scale(low=0.0, high=1.0, step=0.2)
_SAID: Final[dict[Level, str]] = {"ok": "Fine", "note": "Note", "alarm": "Alarm"}
_HEADLINES: Final[dict[Level, str]] = {
    "ok": "Nothing speaks against learning from these descriptions.",
    "note": "Nothing forbids learning from these descriptions; some of it is worth knowing.",
    "alarm": "These descriptions should not be learned from as they are.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingLine:
    """One finding; `level` is a word to style by, `said` one to read."""

    level: Level
    said: str
    about: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingLine:
    """One label: how often it is named where it is gold (a bar), and where it is not (a mark)."""

    label: str
    gold: str
    if_gold: str
    if_gold_at: float
    if_not: str
    if_not_at: float | None
    lift: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsView:
    """The section on the words; the alarms come first."""

    verdict: Level
    headline: str
    n: str
    findings: tuple[FindingLine, ...]
    labels: tuple[NamingLine, ...]
    left_out: tuple[str, ...]
    scale: Scale


def words_view(audit: DescriptionAudit) -> WordsView:
    """The lines of an audit; of the labels those that are gold for some subject, the most frequent first."""
    rows = () if audit.label_agreement is None else audit.label_agreement.labels
    shown = sorted((row for row in rows if row.gold), key=lambda row: -row.gold)
    findings = sorted(audit.findings, key=lambda finding: finding.level != "alarm")
    return WordsView(
        verdict=audit.level,
        headline=_HEADLINES[audit.level],
        n=f"{audit.n:,}",
        findings=tuple(
            FindingLine(level=item.level, said=_SAID[item.level], about=item.about, text=_whole(item.text))
            for item in findings
        ),
        labels=tuple(_line(row) for row in shown),
        left_out=tuple(row.label for row in rows if not row.gold),
        scale=_SCALE,
    )


def _whole(text: str) -> str:
    """No line ends between a number and its percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _line(row: LabelNaming) -> NamingLine:
    return NamingLine(
        label=row.label,
        gold=f"{row.gold:,}",
        if_gold=_known(row.named_if_gold),
        if_gold_at=_SCALE.at(row.named_if_gold or 0.0),
        if_not=_known(row.named_if_not),
        if_not_at=None if row.named_if_not is None else _SCALE.at(row.named_if_not),
        lift="" if row.lift is None else f"{row.lift:.2f}",
    )


def _known(share: float | None) -> str:
    return "" if share is None else number(share)
