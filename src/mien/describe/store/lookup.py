"""Looks up what a store holds about subjects. No engine is called; only its signature is needed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from mien.describe.requests import RequestBuilder
from mien.describe.store.rows import DamagedRow
from mien.describe.store.store import Store
from mien.prefetch import batched
from mien.types import Description, Failure, Subject

__all__ = ["DescriptionLookup", "StoreStatus", "count_by_status", "iterate_status", "lookup_descriptions"]

_BATCH: Final = 500
# What differs between two failures of one kind: quoted names, paths, numbers.
_SPECIFICS: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\S*/\S*|\d[\d,.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptionLookup:
    """What was found about some subjects.

    Attributes:
        descriptions: By subject id.
        missing: Ids of subjects with neither a description nor a failure.
        failures: One per subject that could not be described.
    """

    descriptions: Mapping[str, Description]
    missing: tuple[str, ...]
    failures: tuple[Failure, ...]

    @property
    def texts(self) -> dict[str, str]:
        """The text of each description, by subject id."""
        return {subject_id: item.text for subject_id, item in self.descriptions.items()}


def lookup_descriptions(
    subjects: Iterable[Subject], request_builder: RequestBuilder, store: Store
) -> DescriptionLookup:
    """The descriptions of subjects that `describe` stored with the same request builder.

    Two subjects with the same image and box share a description; each gets it under its own id.
    """
    descriptions: dict[str, Description] = {}
    failures: dict[str, Failure] = {}
    missing: list[str] = []
    for batch in batched(subjects, _BATCH):
        keys = request_builder.stored_keys(batch)
        described = store.descriptions(keys)
        failed = {failure.key: failure for failure in store.failures(keys)}
        for subject, key in zip(batch, keys, strict=True):
            if key in described:
                descriptions[subject.id] = replace(described[key], subject_id=subject.id)
            elif key in failed:
                failures[subject.id] = replace(failed[key], subject_id=subject.id)
            else:
                missing.append(subject.id)
    return DescriptionLookup(
        descriptions=descriptions, missing=tuple(missing), failures=tuple(failures.values())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """How many subjects there are, are described, failed, and were not described yet.

    Attributes:
        subjects: How many subjects there are.
        described: How many have a description.
        missing: How many were not described yet, or have a damaged description.
        failed: How many failed, by reason.
        damaged: How many have a damaged description.
    """

    subjects: int
    described: int
    missing: int
    failed: Mapping[str, int] = field(default_factory=dict)
    damaged: int = 0

    @property
    def num_failed(self) -> int:
        """Failures for all reasons together."""
        return sum(self.failed.values())


def count_by_status(
    subjects: Iterable[Subject], request_builder: RequestBuilder, store: Store | None
) -> StoreStatus:
    """Counts subjects by what the store holds about them; `store` is None if it does not exist yet."""
    total = described = missing = damaged = 0
    reasons: Counter[str] = Counter()
    for _, status in iterate_status(subjects, request_builder, store):
        total += 1
        if isinstance(status, Failure):
            reasons[_reason(status.error)] += 1
        described += status is True
        missing += status is False or isinstance(status, DamagedRow)
        damaged += isinstance(status, DamagedRow)
    return StoreStatus(
        subjects=total,
        described=described,
        missing=missing,
        failed=dict(reasons.most_common()),
        damaged=damaged,
    )


def iterate_status(
    subjects: Iterable[Subject], request_builder: RequestBuilder, store: Store | None
) -> Iterator[tuple[Subject, bool | Failure | DamagedRow]]:
    """Each subject in order, with whether it is described, or with what is stored in place of a description.

    Only a few subjects are held at a time.
    """
    for batch in batched(subjects, _BATCH):
        keys = request_builder.stored_keys(batch)
        described = store.described_keys(keys) if store is not None else set()
        found = store.failures(keys) if store is not None else []
        failures = {failure.key: failure for failure in found}
        for subject, key in zip(batch, keys, strict=True):
            damaged = store.find_damaged(key) if store is not None else None
            yield subject, key in described or failures.get(key) or damaged or False


def _reason(error: str) -> str:
    """An error's message without what is specific to one subject."""
    return _SPECIFICS.sub("...", error)
