"""Made-up rows for the audit of descriptions."""

from __future__ import annotations

import random
from collections.abc import Callable

from mien.evaluate.descriptions.description_audit import AuditRow, DescriptionAudit
from mien.evaluate.descriptions.findings import Finding
from mien.labels import CAERS, LabelSet

FILLER = (
    *("the", "man", "and", "the", "woman", "stand", "in", "a", "room", "with", "others", "who", "look"),
    *("at", "them", "while", "it", "rains"),
)


def finding(audit: DescriptionAudit, about: str) -> Finding:
    (found,) = (finding for finding in audit.findings if finding.about == about)
    return found


def rows_with(
    n: int, text: Callable[[str, random.Random], str], label_set: LabelSet = CAERS, seed: int = 0
) -> list[AuditRow]:
    """Rows with one gold label each, and a text made from it."""
    rng = random.Random(seed)
    labels = [rng.choice(label_set.labels) for _ in range(n)]
    return [
        AuditRow(id=str(index), text=text(label, rng), finish="stop", gold={label: 1.0})
        for index, label in enumerate(labels)
    ]


def honest(label: str, rng: random.Random) -> str:
    """A long text that names the right label in three of ten cases."""
    named = label if rng.random() < 0.2 else rng.choice(CAERS.labels)
    filler = " ".join(rng.choices(FILLER, k=30))
    return f"The person seems {named}. {filler}, perhaps also {rng.choice(CAERS.labels)}."


def plain(count: int, text: str = "") -> list[AuditRow]:
    rng = random.Random(3)
    return [
        AuditRow(id=str(i), text=text or f"The man {' '.join(rng.choices(FILLER, k=25))}.", finish="stop")
        for i in range(count)
    ]
