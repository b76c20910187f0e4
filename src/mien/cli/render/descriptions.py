"""Descriptions, prompts and models as text."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mien.cli.render.text import format_duration, format_large, format_number, join_lines

if TYPE_CHECKING:
    from mien.describe.preflight import Preflight
    from mien.describe.store.lookup import StoreStatus
    from mien.evaluate.descriptions.description_audit import DescriptionAudit

__all__ = ["render_audit", "render_models", "render_preflight", "render_prompts", "render_status"]

_MAX_REASONS: Final = 5
_WIDTH: Final = 100


def render_preflight(found: Preflight) -> str:
    """What a description run will take, in a line; unknown parts are left out."""
    about = "" if found.exact else "about "
    if not found.open:
        return f"{about}all of {found.total} subjects are done: nothing to describe"
    tokens_in, tokens_out = format_large(found.tokens_in).strip(), format_large(found.tokens_out).strip()
    parts = [
        f"{about}{found.open} of {found.total} subjects to describe",
        f"about {tokens_in} tokens in and {tokens_out} out",
    ]
    if found.seconds is not None:
        parts.append(f"{format_duration(found.seconds)} at the rate of the last run")
    if found.cost is not None:
        parts.append(f"{found.cost:,.2f} to pay")
    parts.append(f"{format_large(found.disk)}B of {format_large(found.disk_free)}B free")
    warning = "" if found.fits else "; warning: there is not enough free disk space"
    return ", ".join(parts) + warning


def render_status(counts: Mapping[str, StoreStatus]) -> str:
    """One line per split, then the reasons of failures."""
    lines = [f"{'split':10}{'subjects':>10}{'described':>11}{'failed':>8}{'missing':>9}"]
    lines += [
        f"{split:10}{count.subjects:10d}{count.described:11d}{count.num_failed:8d}{count.missing:9d}"
        for split, count in counts.items()
    ]
    reasons: Counter[str] = Counter()
    for count in counts.values():
        reasons.update(count.failed)
    if reasons:
        lines += ["", "failed because"]
        lines += [f"  {count:7d}  {reason}" for reason, count in reasons.most_common(_MAX_REASONS)]
    return join_lines(lines)


def render_audit(audit: DescriptionAudit) -> str:
    """The findings of an audit, alarms first; then how often each label is named."""
    lines = [f"descriptions of {audit.n} subjects, labels of {audit.label_set!r}: {audit.level.upper()}"]
    ranked = sorted(audit.findings, key=lambda one: one.level != "alarm")
    lines += [
        f"{f'!! {one.level.upper()} !!' if one.level == 'alarm' else one.level:12}{one.about:16}{one.text}"
        for one in ranked
    ]
    if audit.label_agreement is not None:
        lines += ["", f"{'label':18}{'gold':>7}{'named if gold':>15}{'if not':>8}{'lift':>7}"]
        lines += [
            f"{row.label:18}{row.gold:7d}{format_number(row.named_if_gold, 3):>15}"
            f"{format_number(row.named_if_not, 3):>8}{format_number(row.lift, 2):>7}"
            for row in audit.label_agreement.labels
        ]
        lines.append("A negated label counts as named; synonyms do not.")
    return join_lines(lines)


def render_prompts(prompts: Sequence[Mapping[str, Any]]) -> str:
    """One paragraph per prompt: id, start of the digest, whether it needs a box, wording."""
    return "\n\n".join(
        f"{one['id']}  {one['digest'][:12]}{'  needs a red box' if one['needs_box'] else ''}\n"
        + textwrap.fill(one["template"], _WIDTH, initial_indent="  ", subsequent_indent="  ")
        for one in prompts
    )


def render_models(models: Sequence[Mapping[str, Any]]) -> str:
    """One line per model: size, memory of its weights, license, requirements."""
    lines = [f"{'model':38}{'parameters':>11}{'memory':>10}  {'license':34}needs"]
    for model in models:
        needs = f"mien[{model['extra']}]" if model["extra"] else ""
        notes = ", ".join(text for text in (needs, model["note"]) if text)
        lines.append(
            f"{model['name']:38}{model['parameters']:>10g}B{model['memory_gb']:>7.1f} GB  "
            f"{model['license']:34}{notes}".rstrip()
        )
    return join_lines([*lines, "Sizes and licenses come from the models' own cards; read those before use."])
