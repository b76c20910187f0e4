"""What a store holds of some subjects, and what it lacks.

Goes in: subjects, how they are asked about, a store or none. Comes out: counts, with reasons of failures.
Knows nothing about: splits' meaning, engines' answers. Nothing is asked or written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from mien.describe.requests import Questioner
from mien.describe.store.store import Store
from mien.prefetch import groups
from mien.types import Failure, Subject

__all__ = ["Stock", "outcomes", "take_stock"]

_GROUP: Final = 500
# What differs between two failures of one kind: what is quoted, paths, numbers.
_PARTICULARS: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\S*/\S*|\d[\d,.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """How many subjects there are, how many have a description, failed (by reason), or were never asked
    about."""

    subjects: int
    described: int
    missing: int
    failed: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_failed(self) -> int:
        """Failures of all reasons."""
        return sum(self.failed.values())


def take_stock(subjects: Iterable[Subject], *, questioner: Questioner, store: Store | None) -> Stock:
    """Counts the subjects by what the store (None: there is none yet) has of them; holds a few at a time."""
    total = described = missing = 0
    reasons: Counter[str] = Counter()
    for _, outcome in outcomes(subjects, questioner=questioner, store=store):
        total += 1
        if isinstance(outcome, Failure):
            reasons[_reason(outcome.error)] += 1
        described += outcome is True
        missing += outcome is False
    return Stock(subjects=total, described=described, missing=missing, failed=dict(reasons.most_common()))


def outcomes(
    subjects: Iterable[Subject], *, questioner: Questioner, store: Store | None
) -> Iterator[tuple[Subject, bool | Failure]]:
    """Each subject, in order, and whether it is described, or the failure that is kept in its place."""
    for group in groups(subjects, _GROUP):
        keys = [questioner.key(subject) for subject in group]
        described = store.described(keys) if store is not None else set()
        found = store.failures(keys) if store is not None else []
        failures = {failure.key: failure for failure in found}
        for subject, key in zip(group, keys, strict=True):
            yield subject, True if key in described else failures.get(key, False)


def _reason(error: str) -> str:
    """An error's message without what is particular to one subject."""
    return _PARTICULARS.sub("...", error)
