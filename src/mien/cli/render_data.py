"""What is there, as text for people: data sets, descriptions, prompts, models.

In: values of the rooms. Out: lines.
Knows nothing about: streams, JSON, where any of it comes from.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mien.data.audit.summary import Summary
    from mien.data.audit.verify import Verification
    from mien.describe.preflight import Preflight
    from mien.describe.store.status import Stock
    from mien.evaluate.descriptions.description_audit import WordsAudit

__all__ = [
    "show_models",
    "show_preflight",
    "show_prompts",
    "show_status",
    "show_summary",
    "show_verdict",
    "show_words",
]


_BAR: Final = 24
_SHOWN_PROBLEMS: Final = 5
_WIDTH: Final = 100


def show_summary(summary: Summary) -> str:
    """A line a split, then what reading the annotation files found wrong."""
    lines = [
        f"{summary.dataset}, labels of {summary.label_set!r}",
        f"{'split':8}{'images':>9}{'subjects':>10}{'labels each':>13}{'chance mAP':>12}{'with VAD':>10}",
    ]
    for split in summary.splits:
        lines.append(
            f"{split.split:8}{split.num_images:9d}{split.num_subjects:10d}"
            f"{_number(split.labels_per_subject, 2):>13}{_number(split.chance_map, 3):>12}"
            f"{split.num_with_dimensions:10d}"
        )
    if len(summary.splits) > 1:
        lines.append("Chance differs between splits: compare scores within one split only.")
    lines += ["", "problems" if summary.problems else "no problems found without opening pictures"]
    lines += [f"  {kind:18}{count:7d}" for kind, count in summary.problems.items()]
    return "\n".join(lines)


def show_verdict(verified: Verification, page: Path) -> str:
    """How many problems of which kind, the first few of each, and where all are."""
    lines = [
        f"checked {verified.num_images} files and {verified.num_subjects} subjects "
        f"in {verified.seconds:.1f} s: {len(verified.problems) or 'no'} problems"
    ]
    for kind, count in Counter(one.kind for one in verified.problems).most_common():
        lines.append(f"{kind} ({count})")
        shown = [one for one in verified.problems if one.kind == kind][:_SHOWN_PROBLEMS]
        lines += [f"  {one.file}: {one.message}" for one in shown]
        if count > len(shown):
            lines.append(f"  and {count - len(shown)} more")
    return "\n".join([*lines, f"report: {page}"])


def show_words(audit: WordsAudit) -> str:
    """What was found in the words, the alarms first and loud; then how often each label is named."""
    lines = [f"words about {audit.n} subjects, labels of {audit.label_set!r}: {audit.verdict.upper()}"]
    ranked = sorted(audit.findings, key=lambda one: one.level != "alarm")
    lines += [
        f"{f'!! {one.level.upper()} !!' if one.level == 'alarm' else one.level:12}{one.about:10}{one.text}"
        for one in ranked
    ]
    if audit.naming is not None:
        lines += ["", f"{'label':18}{'gold':>7}{'named if gold':>15}{'if not':>8}{'lift':>7}"]
        lines += [
            f"{row.label:18}{row.gold:7d}{_number(row.named_if_gold, 3):>15}"
            f"{_number(row.named_if_not, 3):>8}{_number(row.lift, 2):>7}"
            for row in audit.naming.labels
        ]
        lines.append("A negated label counts as named; synonyms do not.")
    return "\n".join(lines)


def show_preflight(found: Preflight) -> str:
    """What a run will take, in a line or two; what nobody knows yet is left out."""
    about = "" if found.exact else "about "
    if not found.open:
        return f"{about}all of {found.total} subjects are settled: nothing to describe"
    parts = [
        f"{about}{found.open} of {found.total} subjects to describe",
        f"some {_large(found.tokens_in).strip()} tokens in and {_large(found.tokens_out).strip()} out",
    ]
    if found.seconds is not None:
        parts.append(f"{_duration(found.seconds)} at the rate of the last run")
    if found.cost is not None:
        parts.append(f"{found.cost:,.2f} to pay")
    parts.append(f"{_large(found.disk)}B of {_large(found.disk_free)}B free on the disk")
    warning = "" if found.fits else "\nwarning: the disk has not enough room for that"
    return ", ".join(parts) + warning


def show_status(stocks: Mapping[str, Stock]) -> str:
    """A line a split, then the reasons of failures."""
    lines = [f"{'split':10}{'subjects':>10}{'described':>11}{'failed':>8}{'missing':>9}"]
    lines += [
        f"{split:10}{stock.subjects:10d}{stock.described:11d}{stock.num_failed:8d}{stock.missing:9d}"
        for split, stock in stocks.items()
    ]
    reasons: Counter[str] = Counter()
    for stock in stocks.values():
        reasons.update(stock.failed)
    if reasons:
        lines += ["", "failed because"]
        lines += [f"  {count:7d}  {reason}" for reason, count in reasons.most_common(_SHOWN_PROBLEMS)]
    return "\n".join(lines)


def show_prompts(prompts: Sequence[Mapping[str, Any]]) -> str:
    """A paragraph a prompt: its id, the beginning of its digest, whether it needs a box, its words."""
    return "\n\n".join(
        f"{one['id']}  {one['digest'][:12]}{'  needs a red box' if one['needs_box'] else ''}\n"
        + textwrap.fill(one["template"], _WIDTH, initial_indent="  ", subsequent_indent="  ")
        for one in prompts
    )


def _large(value: float) -> str:
    """A number a person can read at a glance: 1.2 M."""
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:.0f} "


def show_models(models: Sequence[Mapping[str, Any]]) -> str:
    """One line per model: size, memory of its weights, license, requirements."""
    lines = [f"{'model':38}{'parameters':>11}{'memory':>10}  {'license':34}needs"]
    for model in models:
        needs = f"mien[{model['extra']}]" if model["extra"] else ""
        notes = ", ".join(text for text in (needs, model["note"]) if text)
        lines.append(
            f"{model['name']:38}{model['parameters']:>10g}B{model['memory_gb']:>7.1f} GB  "
            f"{model['license']:34}{notes}".rstrip()
        )
    return "\n".join([*lines, "Sizes and licenses come from the models' own cards; read those before use."])


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
