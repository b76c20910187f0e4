"""The audit of descriptions: are they fit to learn from, and were they made from the labels?

It sees labels, so it belongs to `evaluate` and not to `describe`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mien.documents import read_json
from mien.errors import DataError, RunError, first_line
from mien.evaluate.descriptions.findings import Finding, Level, assess_labels, assess_texts, worst_level
from mien.evaluate.descriptions.label_agreement import LabelAgreement, measure_agreement
from mien.evaluate.descriptions.label_naming import LabelNamer
from mien.evaluate.descriptions.near_duplicate_texts import NearDuplicates, find_near_duplicates
from mien.evaluate.descriptions.probe import Probe, run_probe
from mien.evaluate.descriptions.text_statistics import TextStatistics, compute_statistics
from mien.evaluate.metrics.targets import positives
from mien.files import atomic_write_json
from mien.labels import LabelSet
from mien.types import Failure, Finish

__all__ = ["AUDIT_FILE", "AuditRow", "DescriptionAudit", "audit_texts", "read_audit", "write_audit"]

AUDIT_FILE: Final = "description_audit.json"
_OLD_FILE: Final = "words.json"  # of mien 0.1
_SCHEMA: Final = 1
# What mien 0.1 calls them, by where they are.
_OLD_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "": {"prose": "text_statistics", "sameness": "near_duplicates", "naming": "label_agreement"},
    "text_statistics": {"cut": "truncated", "nobody": "without_person"},
    "near_duplicates": {"commonest": "most_common", "times": "most_common_count"},
    "label_agreement": {"silent": "unlabeled"},
    "probe": {"telling": "telling_words"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One subject to audit.

    Attributes:
        id: The subject's id.
        text: Its description; None if there is none.
        finish: Why the description ended, if known.
        gold: Its gold labels, if annotated. They may be given as a plain form of their word, as copies of
            datasets do: Angry is Anger.
    """

    id: str
    text: str | None
    finish: Finish | None = None
    gold: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptionAudit:
    """Statistics of descriptions, and what they mean.

    Attributes:
        label_set: Name of the label set.
        n: How many subjects there are.
        missing: How many have no text.
        failed: How many of those without a text were tried.
        empties: How many have a text of nothing but whitespace.
        structured: How many texts are JSON with a score for each label, and so not prose.
        text_statistics: Length, language and form of the prose.
        near_duplicates: Texts that repeat another one.
        label_agreement: How often texts name their gold labels; None without gold labels.
        probe: What a classifier that only counts words reaches; None with too few labeled texts.
        findings: What these statistics mean.
        schema: The version of this document.
    """

    label_set: str
    n: int
    missing: int
    failed: int
    empties: int
    structured: int
    text_statistics: TextStatistics | None
    near_duplicates: NearDuplicates | None
    label_agreement: LabelAgreement | None
    probe: Probe | None
    findings: tuple[Finding, ...]
    schema: Literal[1] = _SCHEMA

    @property
    def level(self) -> Level:
        """The level of the worst finding."""
        return worst_level(self.findings)

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that say: do not use these descriptions as they are."""
        return tuple(finding for finding in self.findings if finding.level == "alarm")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, including the level."""
        return {"level": self.level, **asdict(self)}


def audit_texts(
    label_set: LabelSet, rows: Iterable[AuditRow], *, failures: Sequence[Failure] = ()
) -> DescriptionAudit:
    """Audits descriptions.

    Args:
        label_set: The labels.
        rows: The subjects, with and without descriptions.
        failures: Failed attempts at describing subjects that have no description.

    Raises:
        DataError: There are no subjects.
        UnknownNameError: A gold label is not in the label set.
    """
    rows = list(rows)
    if not rows:
        raise DataError("no subjects to audit", hint="name a split that has subjects")
    texts = [row for row in rows if row.text is not None and row.text.strip()]
    missing = sum(row.text is None for row in rows)
    namer = LabelNamer(label_set)
    prose = [row for row in texts if namer.scores(row.text or "") is None]
    statistics = compute_statistics([(row.text or "", row.finish) for row in prose])
    near_duplicates = find_near_duplicates([row.text or "" for row in texts])
    agreement, probe = _compare_with_gold(label_set, namer, texts)
    return DescriptionAudit(
        label_set=label_set.name,
        n=len(rows),
        missing=missing,
        failed=len({failure.subject_id for failure in failures}),
        empties=len(rows) - missing - len(texts),
        structured=len(texts) - len(prose),
        text_statistics=statistics,
        near_duplicates=near_duplicates,
        label_agreement=agreement,
        probe=probe,
        findings=(
            *assess_texts(
                n=len(rows),
                without=len(rows) - len(texts),
                statistics=statistics,
                near_duplicates=near_duplicates,
            ),
            *assess_labels(agreement, probe),
        ),
    )


def write_audit(run: Path, audit: DescriptionAudit) -> Path:
    """Writes an audit into a run directory, where the report finds it; returns the file's path."""
    path = run / AUDIT_FILE
    atomic_write_json(path, audit.to_json())
    return path


def read_audit(run: Path) -> DescriptionAudit | None:
    """The audit in a run directory, None if there is none; RunError if it is damaged."""
    path = next((run / name for name in (AUDIT_FILE, _OLD_FILE) if (run / name).exists()), None)
    if path is None:
        return None
    try:
        values = _current_names(read_json(path))
        _check_schema(path, values)
        return TypeAdapter(DescriptionAudit).validate_python(values)
    except (OSError, ValueError, ValidationError) as error:
        raise RunError(
            f"{path} cannot be read: {first_line(error)}", hint="run mien describe audit again"
        ) from error


def _check_schema(path: Path, values: Any) -> None:
    """RunError for values of another schema."""
    if isinstance(values, dict) and values.get("schema", _SCHEMA) != _SCHEMA:
        raise RunError(
            f"{path} has schema {values['schema']!r}, not {_SCHEMA}",
            hint="read it with the version of mien that wrote it",
        )


def _current_names(values: Any) -> Any:
    """The values of a file that mien 0.1 wrote by their current names; other values unchanged."""
    if not isinstance(values, dict) or "verdict" not in values:
        return values
    current = _renamed(values, _OLD_NAMES[""])
    for part, names in _OLD_NAMES.items():
        if part and isinstance(current.get(part), dict):
            current[part] = _renamed(current[part], names)
    return current


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}


def _compare_with_gold(
    label_set: LabelSet, namer: LabelNamer, rows: Sequence[AuditRow]
) -> tuple[LabelAgreement | None, Probe | None]:
    """Agreement and probe of the annotated rows; where exactly one label holds, of rows that have it."""
    encoded = [
        None
        if row.gold is None
        else label_set.encode({namer.label(name): score for name, score in row.gold.items()})
        for row in rows
    ]
    known = [
        index for index, vector in enumerate(encoded) if vector and (any(vector) or not label_set.exclusive)
    ]
    if not known:
        return None, None
    targets = np.array([encoded[index] for index in known], dtype=np.float64)
    if label_set.exclusive:
        truth = np.arange(len(label_set)) == targets.argmax(axis=1)[:, None]
    else:
        truth = positives(targets)
    texts = [rows[index].text or "" for index in known]
    agreement = measure_agreement(label_set, [namer.named(text) for text in texts], truth)
    return agreement, run_probe(label_set, texts, truth)
