"""How often a split was scored: every scoring is an event of the run.

A test split that is scored again and again, with a change to the model in between, is no longer a test. So
results and pages show the count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mien.evaluate.results.results import SplitAccess
from mien.runs import Run

__all__ = ["read_split_accesses", "record_split_access"]

_EVENT: Final = "scored"


def record_split_access(run: Path, split: str, *, model: str, n: int) -> None:
    """Records that `n` samples of a split were scored with the weights of this digest."""
    Run.open(run).append(_EVENT, split=split, model=model, n=n)


def read_split_accesses(run: Path) -> tuple[SplitAccess, ...]:
    """How often each split was scored, and with how many different weights, in the order of first access."""
    models: dict[str, list[str]] = {}
    for event in Run.open(run).events().named(_EVENT):
        models.setdefault(str(event.get("split")), []).append(str(event.get("model")))
    return tuple(
        SplitAccess(split=split, times=len(found), weights=len(set(found))) for split, found in models.items()
    )
