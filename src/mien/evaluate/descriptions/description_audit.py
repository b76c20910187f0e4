"""The audit of the words: are descriptions fit to be learned from, and were they told the answer?

Goes in: a label set, and for each subject its text and its gold labels. Comes out: a `WordsAudit`, figures
and a verdict; kept in a run directory as `words.json`.
Knows nothing about: pictures, engines, stores; it sees labels, so it stands here and not beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mien.errors import DataError, RunError
from mien.evaluate.descriptions.findings import Finding, Level, judge_gold, judge_texts, worst
from mien.evaluate.descriptions.label_agreement import Naming, compare_names
from mien.evaluate.descriptions.label_naming import Namer
from mien.evaluate.descriptions.near_duplicate_texts import Sameness, compare_texts
from mien.evaluate.descriptions.probe import Probe, probe
from mien.evaluate.descriptions.text_statistics import Prose, read_prose
from mien.evaluate.metrics.targets import positives
from mien.labels import LabelSet
from mien.runs import atomic_write_json
from mien.types import Failure, Finish

__all__ = ["WORDS", "WordsAudit", "WordsRow", "audit_words", "read_words", "write_words"]

WORDS: Final = "words.json"
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsRow:
    """One subject: its description, or None; why that ended, if known; its gold labels, if annotated.

    A gold label may be called by a plain form of its word, as copies of data sets do: Angry is Anger.
    """

    id: str
    text: str | None
    finish: Finish | None = None
    gold: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsAudit:
    """Figures about the descriptions of `n` subjects, and what they mean.

    `missing` subjects have no text, of whom `failed` were tried; `empties` have a text of nothing but
    space; `structured` texts are JSON with a score for each label, which are no prose.
    """

    label_set: str
    n: int
    missing: int
    failed: int
    empties: int
    structured: int
    prose: Prose | None
    sameness: Sameness | None
    naming: Naming | None
    probe: Probe | None
    findings: tuple[Finding, ...]
    schema: int = _SCHEMA

    @property
    def verdict(self) -> Level:
        """The level of the worst finding."""
        return worst(self.findings)

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that say: do not use these descriptions as they are."""
        return tuple(finding for finding in self.findings if finding.level == "alarm")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the verdict included."""
        return {"verdict": self.verdict, **asdict(self)}


def audit_words(
    label_set: LabelSet, rows: Iterable[WordsRow], *, failures: Sequence[Failure] = ()
) -> WordsAudit:
    """Everything that can be said of these descriptions; `failures` are those of subjects without one."""
    rows = list(rows)
    if not rows:
        raise DataError("no subjects to audit", hint="name a split that has subjects")
    texts = [row for row in rows if row.text is not None and row.text.strip()]
    missing = sum(row.text is None for row in rows)
    namer = Namer(label_set)
    prose_rows = [row for row in texts if namer.scores(row.text or "") is None]
    prose = read_prose([(row.text or "", row.finish) for row in prose_rows])
    sameness = compare_texts([row.text or "" for row in texts])
    naming, probed = _against_gold(label_set, namer, texts)
    findings = judge_texts(n=len(rows), without=len(rows) - len(texts), prose=prose, sameness=sameness)
    return WordsAudit(
        label_set=label_set.name,
        n=len(rows),
        missing=missing,
        failed=len({failure.subject_id for failure in failures}),
        empties=len(rows) - missing - len(texts),
        structured=len(texts) - len(prose_rows),
        prose=prose,
        sameness=sameness,
        naming=naming,
        probe=probed,
        findings=(*findings, *judge_gold(naming, probed)),
    )


def write_words(run: Path, audit: WordsAudit) -> Path:
    """Keeps an audit in a run directory, where the report finds it; returns the file's path."""
    path = run / WORDS
    try:
        atomic_write_json(path, audit.to_json())
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}", hint="make room for it") from error
    return path


def read_words(run: Path) -> WordsAudit | None:
    """The audit in a run directory, None if there is none; RunError if it is damaged."""
    path = run / WORDS
    try:
        audit = TypeAdapter(WordsAudit).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(
            f"{path} cannot be read: {reason}", hint="make it again with mien describe audit"
        ) from error
    if audit.schema != _SCHEMA:
        raise RunError(
            f"{path} has schema {audit.schema}, not {_SCHEMA}", hint="read it with the mien that wrote it"
        )
    return audit


def _against_gold(
    label_set: LabelSet, namer: Namer, rows: Sequence[WordsRow]
) -> tuple[Naming | None, Probe | None]:
    """The figures of the rows that are annotated; where exactly one label holds, by that one."""
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
    return compare_names(label_set, [namer.named(text) for text in texts], truth), probe(
        label_set, texts, truth
    )
