"""How often a split was looked at: every scoring is a line in the run's events.

Goes in: a run directory. Comes out: a line more, or the count by split.
Knows nothing about: scores. A test split that is scored again and again, with a change to the model in
between, is no test any more; so the count stands in the results and on the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mien.evaluate.results.results import Look
from mien.runs import Run

__all__ = ["read_looks", "record_look"]

_EVENT: Final = "scored"


def record_look(run: Path, split: str, *, model: str, n: int) -> None:
    """Notes that `n` samples of a split were scored with the weights of this digest."""
    Run.open(run).append(_EVENT, split=split, model=model, n=n)


def read_looks(run: Path) -> tuple[Look, ...]:
    """How often each split was scored, and with how many different weights, in the order of first looks."""
    models: dict[str, list[str]] = {}
    for event in Run.open(run).events().named(_EVENT):
        models.setdefault(str(event.get("split")), []).append(str(event.get("model")))
    return tuple(
        Look(split=split, times=len(found), weights=len(set(found))) for split, found in models.items()
    )
