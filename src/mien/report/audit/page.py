"""Writes the audit of a dataset: `audit.html` for people and `audit.json` for programs.

File names, ids and labels are untrusted: the template engine escapes them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypedDict

from mien.data.audit.agreement import Agreement, AgreementDict
from mien.data.audit.summary import Summary, SummaryDict
from mien.data.audit.verify import Verification
from mien.data.dataset import Dataset
from mien.files import atomic_write_bytes, atomic_write_json, make_folder
from mien.report.audit.near_duplicates import near_duplicate_cards, near_duplicate_lines
from mien.report.audit.problem_kinds import SEVERITIES, ProblemKind, problem_kind, severity_rank
from mien.report.audit.suspicious_boxes import suspicious_boxes
from mien.report.audit.tables import (
    agreement_chart,
    attribute_tables,
    box_table,
    chance_warning,
    dimension_lines,
    heat_maps,
    prevalence_chart,
    split_lines,
)
from mien.report.formatting import count_noun, format_count, format_number
from mien.report.template import render_page
from mien.types import Problem
from mien.version import __version__

__all__ = ["AUDIT_JSON", "AUDIT_PAGE", "write_audit_report"]

AUDIT_PAGE: Final = "audit.html"
AUDIT_JSON: Final = "audit.json"
_SCHEMA: Final = 1
_MAX_LISTED: Final = 12  # problems of a kind on the page; the JSON file has them all
_MAX_KINDS_IN_CONCLUSION: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemGroup:
    """All problems of one kind: how many, and the first of them."""

    kind: ProblemKind
    severity: str
    count: str
    listed: tuple[Problem, ...]
    more: str


def write_audit_report(
    out: Path,
    dataset: Dataset,
    summary: Summary,
    agreements: Sequence[Agreement],
    verification: Verification,
) -> tuple[Path, Path]:
    """Writes both files into the folder `out`, which is created if needed.

    Returns:
        The paths of the page and of the JSON file.

    Raises:
        DataError: The folder cannot be written.
    """
    page, table = out / AUDIT_PAGE, out / AUDIT_JSON
    values = _page_values(dataset, summary, agreements, verification)
    html = render_page("audit/page.html", values, styles=("base.css", "audit/page.css"))
    make_folder(out)
    # A file name can contain a lone surrogate, which UTF-8 cannot encode; it becomes a question mark.
    atomic_write_bytes(page, html.encode("utf-8", "replace"))
    atomic_write_json(table, _document(dataset, summary, agreements, verification))
    return page, table


def _page_values(
    dataset: Dataset, summary: Summary, agreements: Sequence[Agreement], verification: Verification
) -> dict[str, object]:
    groups = _group_problems(verification.problems)
    splits, split_scale = split_lines(summary)
    attributes, attributes_left_out = attribute_tables(summary)
    dimensions, dimension_ticks = dimension_lines(summary, agreements)
    return {
        "version": __version__,
        "card": dataset.card,
        "title": _capitalize(dataset.card.title),
        "task": _capitalize(dataset.card.task),
        "facts": _facts(summary, verification),
        "conclusion": _conclusion(groups, verification),
        "groups": groups,
        "splits": splits,
        "split_scale": split_scale,
        "exclusive": summary.exclusive,
        "warning": chance_warning(summary),
        "prevalence": prevalence_chart(summary),
        "agreement": agreement_chart(summary, agreements),
        "mean_kappas": [
            (item.split, format_number(item.mean_kappa, 2), format_count(item.num_subjects))
            for item in agreements
            if item.mean_kappa is not None
        ],
        "heat_maps": heat_maps(summary),
        "dimensions": dimensions,
        "dimension_ticks": dimension_ticks,
        "box_table": box_table(summary),
        "attributes": attributes,
        "attributes_left_out": attributes_left_out,
        "boxes": suspicious_boxes(dataset, verification.outside_boxes),
        "near_duplicates": near_duplicate_lines(verification.near_duplicates),
        "near_duplicate_cards": near_duplicate_cards(verification.near_duplicates),
        "json_file": AUDIT_JSON,
    }


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _group_problems(problems: Sequence[Problem]) -> tuple[ProblemGroup, ...]:
    """By kind, the most severe first."""
    counts = Counter(problem.kind for problem in problems)
    return tuple(
        _problem_group(problem_kind(name), counts[name], (p for p in problems if p.kind == name))
        for name in sorted(counts, key=lambda name: (severity_rank(name), name))
    )


def _problem_group(kind: ProblemKind, count: int, problems: Iterable[Problem]) -> ProblemGroup:
    return ProblemGroup(
        kind=kind,
        severity=SEVERITIES[kind.severity],
        count=format_count(count),
        listed=tuple(islice(problems, _MAX_LISTED)),
        more=format_count(count - _MAX_LISTED) if count > _MAX_LISTED else "",
    )


def _conclusion(groups: Sequence[ProblemGroup], verification: Verification) -> str:
    """The result in a sentence or two."""
    files = count_noun(verification.num_images, "file")
    people = count_noun(verification.num_subjects, "person", "people")
    if not groups:
        return f"No problems found in {files} with {people}."
    total = len(verification.problems)
    listed = ", ".join(f"{group.kind.title} ({group.count})" for group in groups[:_MAX_KINDS_IN_CONCLUSION])
    rest = len(groups) - _MAX_KINDS_IN_CONCLUSION
    more = f", and {rest} more kind{'s' if rest > 1 else ''} below" if rest > 0 else ""
    return f"{count_noun(total, 'problem')} in {files} with {people}: {listed}{more}."


def _facts(summary: Summary, verification: Verification) -> tuple[tuple[str, str], ...]:
    rule = "exactly one holds" if summary.exclusive else "any number can hold"
    return (
        ("People", format_count(verification.num_subjects)),
        ("Files opened", format_count(verification.num_images)),
        ("Splits", ", ".join(split.split for split in summary.splits)),
        ("Labels", f"{len(summary.labels)} of set {summary.label_set}; {rule}"),
    )


class DuplicateFile(TypedDict):
    """A file of a group of near-duplicates.

    Attributes:
        file: The path of the file.
        split: The split of the file.
        digest: Digest of its content, which is equal for identical files.
    """

    file: str
    split: str
    digest: str


class OutsideBox(TypedDict):
    """A box that extends outside of its image.

    Attributes:
        id: The id of the subject.
        file: The image.
        frame: The number of the frame in a clip; None for images.
        box: Left, top, right, bottom in pixels.
        size: Width and height of the image.
        outside: The share of the box that is outside, exactly 1 if the whole box is.
    """

    id: str
    file: str
    frame: int | None
    box: list[float]
    size: list[int]
    outside: float


class AuditDocument(SummaryDict):
    """Everything on the page but the images, and every problem.

    Attributes:
        problems: The number of problems by kind, the most severe first.
        title: The full name of the dataset.
        license: The terms of the dataset.
        access: How to get the dataset.
        homepage: The address of the dataset's page.
        found: Every problem.
        near_duplicates: Groups of files that show the same, or nearly.
        boxes: Boxes that extend outside of their images.
        agreement: How far annotators agree, by split.
    """

    title: str
    license: str
    access: str
    homepage: str
    found: list[Problem]
    near_duplicates: list[list[DuplicateFile]]
    boxes: list[OutsideBox]
    agreement: dict[str, AgreementDict]


def _document(
    dataset: Dataset, summary: Summary, agreements: Sequence[Agreement], verification: Verification
) -> AuditDocument:
    """Everything on the page except the images, and every problem."""
    card = dataset.card
    counts = Counter(problem.kind for problem in verification.problems)
    return {
        **summary.to_json(),
        "schema": _SCHEMA,
        "title": card.title,
        "license": card.license,
        "access": card.access,
        "homepage": card.homepage,
        "problems": dict(sorted(counts.items(), key=lambda item: severity_rank(item[0]))),
        "found": list(verification.problems),
        "near_duplicates": [
            [{"file": str(file.path), "split": file.split, "digest": file.digest} for file in group]
            for group in verification.near_duplicates
        ],
        "boxes": [
            {
                "id": box.subject_id,
                "file": str(box.path),
                "frame": box.frame,
                "box": list(box.box.as_tuple()),
                "size": list(box.size),
                "outside": box.outside,
            }
            for box in verification.outside_boxes
        ],
        "agreement": {item.split: item.to_json() for item in agreements},
    }
