"""Writes the page that says whether a data set can be trusted, and the same for programs.

In: a data set, what was counted of it, how far its annotators agree, and what was found wrong.
Out: `audit.html`, one page that needs no network, no script and no other file, and `audit.json`.
Knows nothing about any data set's files, or how problems are found.

Names of files, ids and labels come from strangers: everything is escaped by the template engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from mien.data.audit.agreement import Agreement
from mien.data.audit.summary import Summary
from mien.data.audit.verify import Verification
from mien.data.dataset import Dataset
from mien.errors import DataError
from mien.report.audit.label_charts import agreement_chart, heat_maps, prevalence_chart
from mien.report.audit.lines import attribute_tables, box_table, dimension_rows, split_rows, warning
from mien.report.audit.near_duplicates import twin_cards, twin_lines
from mien.report.audit.problem_kinds import GRAVITIES, Kind, kind_of
from mien.report.audit.suspicious_boxes import worst_boxes
from mien.report.template import environment
from mien.runs import atomic_write_bytes, atomic_write_json
from mien.types import Problem
from mien.version import __version__

__all__ = ["PAGE", "TABLE", "write_audit"]

PAGE: Final = "audit.html"
TABLE: Final = "audit.json"
_SCHEMA: Final = 1
_LISTED: Final = 12  # problems of a kind on the page; the table has them all
_TOLD: Final = 3  # kinds in the verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """All problems of one kind, and the first of them."""

    kind: Kind
    gravity: str
    count: str
    first: tuple[Problem, ...]
    more: str


def write_audit(
    out: Path,
    dataset: Dataset,
    summary: Summary,
    agreement: Sequence[Agreement],
    verified: Verification,
) -> tuple[Path, Path]:
    """Writes both files into the folder `out`, which is made if need be, and returns their paths."""
    page, table = out / PAGE, out / TABLE
    html = environment("page.css", "audit.css").get_template("audit.html")
    text = html.render(_view(dataset, summary, agreement, verified))
    try:
        out.mkdir(parents=True, exist_ok=True)
        # A file's name may hold half a surrogate pair, which no page can; it becomes a question mark.
        atomic_write_bytes(page, text.encode("utf-8", "replace"))
        atomic_write_json(table, _table(dataset, summary, agreement, verified))
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}", hint="name another folder") from error
    return page, table


def _view(
    dataset: Dataset, summary: Summary, agreement: Sequence[Agreement], verified: Verification
) -> dict[str, Any]:
    groups = _groups(verified.problems)
    rows, scale = split_rows(summary)
    attributes, left_out = attribute_tables(summary)
    dimensions, ticks = dimension_rows(summary, agreement)
    return {
        "version": __version__,
        "card": dataset.card,
        "title": _capital(dataset.card.title),
        "task": _capital(dataset.card.task),
        "facts": _facts(summary, verified),
        "verdict": _verdict(groups, verified),
        "clean": not groups,
        "groups": groups,
        "splits": rows,
        "split_scale": scale,
        "exclusive": summary.exclusive,
        "warning": warning(summary),
        "prevalence": prevalence_chart(summary),
        "agreement": agreement_chart(summary, agreement),
        "mean_kappas": [
            (item.split, f"{item.mean_kappa:.2f}", f"{item.num_subjects:,}")
            for item in agreement
            if item.mean_kappa is not None
        ],
        "heat_maps": heat_maps(summary),
        "dimensions": dimensions,
        "dimension_ticks": ticks,
        "bins_tables": [table for table in (box_table(summary),) if table is not None],
        "attributes": attributes,
        "attributes_left_out": left_out,
        "worst": worst_boxes(dataset, verified.outside_boxes),
        "twins": twin_lines(verified.near_duplicates),
        "twin_cards": twin_cards(verified.near_duplicates),
        "table": TABLE,
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _groups(problems: Sequence[Problem]) -> tuple[_Group, ...]:
    """By kind, the worst kind first."""
    counts = Counter(problem.kind for problem in problems)
    return tuple(
        _group(kind_of(name)[1], counts[name], (p for p in problems if p.kind == name))
        for name in sorted(counts, key=lambda name: (kind_of(name)[0], name))
    )


def _group(kind: Kind, count: int, problems: Any) -> _Group:
    return _Group(
        kind=kind,
        gravity=GRAVITIES[kind.gravity],
        count=f"{count:,}",
        first=tuple(islice(problems, _LISTED)),
        more=f"{count - _LISTED:,}" if count > _LISTED else "",
    )


def _verdict(groups: Sequence[_Group], verified: Verification) -> str:
    """The result in a sentence or two."""
    seen = f"{verified.num_images:,} files of {verified.num_subjects:,} people were opened"
    if not groups:
        return f"No problem was found: {seen} and checked."
    total = len(verified.problems)
    told = ", ".join(f"{group.kind.title} ({group.count})" for group in groups[:_TOLD])
    rest = len(groups) - _TOLD
    more = f", and {rest} more kinds below" if rest > 0 else ""
    return f"{total:,} {'problem' if total == 1 else 'problems'}: {told}{more}. {seen}."


def _facts(summary: Summary, verified: Verification) -> tuple[tuple[str, str], ...]:
    rule = "exactly one holds" if summary.exclusive else "any number may hold"
    return (
        ("People", f"{verified.num_subjects:,}"),
        ("Files opened", f"{verified.num_images:,}"),
        ("Splits", ", ".join(part.split for part in summary.splits)),
        ("Labels", f"{len(summary.labels)} of set {summary.label_set}; {rule}"),
    )


def _table(
    dataset: Dataset, summary: Summary, agreement: Sequence[Agreement], verified: Verification
) -> dict[str, Any]:
    """Everything on the page but the pictures, and every problem."""
    card = dataset.card
    counts = Counter(problem.kind for problem in verified.problems)
    return summary.to_json() | {
        "schema": _SCHEMA,
        "title": card.title,
        "licence": card.license,
        "access": card.access,
        "homepage": card.homepage,
        "problems": dict(sorted(counts.items(), key=lambda item: kind_of(item[0])[0])),
        "found": [asdict(problem) for problem in verified.problems],
        "twins": [
            [{"file": str(twin.path), "split": twin.split, "digest": twin.digest} for twin in group]
            for group in verified.near_duplicates
        ],
        "boxes": [
            {
                "id": fault.subject_id,
                "file": str(fault.path),
                "frame": fault.frame,
                "box": list(fault.box.as_tuple()),
                "size": list(fault.size),
                "outside": fault.outside,
            }
            for fault in verified.outside_boxes
        ],
        "agreement": {item.split: item.to_json() for item in agreement},
    }
