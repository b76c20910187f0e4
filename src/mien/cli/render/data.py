"""Datasets as text: summary and verification."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.cli.render.text import format_number, join_lines
from mien.report.formatting import count_noun

if TYPE_CHECKING:
    from mien.data.audit.summary import Summary
    from mien.data.audit.verify import Verification

__all__ = ["render_summary", "render_verification"]

_MAX_SHOWN: Final = 5  # problems of one kind


def render_summary(summary: Summary) -> str:
    """One line per split, then the problems found in the annotation files."""
    lines = [
        f"{summary.dataset}, labels of {summary.label_set!r}",
        f"{'split':8}{'images':>9}{'subjects':>10}{'labels each':>13}{'chance mAP':>12}{'with VAD':>10}",
    ]
    for split in summary.splits:
        labels, chance = format_number(split.labels_per_subject, 2), format_number(split.chance_map, 3)
        lines.append(
            f"{split.split:8}{split.num_images:9d}{split.num_subjects:10d}{labels:>13}{chance:>12}"
            f"{split.num_with_dimensions:10d}"
        )
    if len(summary.splits) > 1:
        lines.append("Chance differs between splits: compare scores within one split only.")
    lines += ["", "problems" if summary.problems else "no problems found without opening images"]
    lines += [f"  {kind:18}{count:7d}" for kind, count in summary.problems.items()]
    return join_lines(lines)


def render_verification(verified: Verification, page: Path) -> str:
    """Number of problems per kind, the first few of each, and the path of the report."""
    lines = [
        f"checked {count_noun(verified.num_images, 'file')} and "
        f"{count_noun(verified.num_subjects, 'subject')} in {verified.seconds:.1f} s: "
        f"{count_noun(len(verified.problems), 'problem')}"
    ]
    for kind, count in Counter(one.kind for one in verified.problems).most_common():
        lines.append(f"{kind} ({count})")
        shown = [one for one in verified.problems if one.kind == kind][:_MAX_SHOWN]
        lines += [f"  {one.file}: {one.message}" for one in shown]
        if count > len(shown):
            lines.append(f"  and {count - len(shown)} more")
    return join_lines([*lines, f"report: {page}"])
