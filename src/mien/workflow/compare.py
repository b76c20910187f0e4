"""How scored runs stand beside each other, and on request beside what others reported.

In: run directories that were scored. Out: a `Comparison`.
Knows nothing about: printing, models, how anything is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mien.data.open import dataset_class
from mien.evaluate.results.comparison import Comparison, compare_runs
from mien.evaluate.results.published import Published, doubts, published_rows
from mien.workflow.experiment import notice, recorded_recipe

__all__ = ["compare"]


def compare(
    runs: Sequence[Path],
    *,
    split: str = "test",
    metrics: Sequence[str] | None = None,
    published: bool = False,
) -> Comparison:
    """Scored runs side by side; `published`: beside what others reported on the same data set."""
    found = compare_runs(runs, split=split, metrics=metrics)
    return replace(found, published=_published(runs, found)) if published else found


def _published(runs: Sequence[Path], found: Comparison) -> tuple[tuple[Published, str], ...]:
    recipes = [recorded_recipe(run) for run in runs]
    name, rows = recipes[0].data.name, found.results.rows
    official = dataset_class(name).card.num_subjects.get(found.split)
    drawn = any(notice(recipe, photographs=True) is not None for recipe in recipes)
    metrics = list(dict.fromkeys(row.metric for row in rows))
    return tuple(
        (row, doubts(row, split=found.split, n=rows[0].n, official=official, drawn=drawn))
        for row in published_rows(name, metrics)
    )
