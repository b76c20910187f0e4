"""What a run directory holds that a page can show.

Goes in: a run directory. Comes out: its manifest, results, scores, examples and the audit of its words, as
far as they are there.
Knows nothing about: HTML, or how any of the files came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import RunError
from mien.evaluate.calibration.calibrate import Calibration, read_calibration
from mien.evaluate.descriptions.description_audit import DescriptionAudit, read_audit
from mien.evaluate.results.build import build_label_rows
from mien.evaluate.results.examples import Example, examples_file, read_examples
from mien.evaluate.results.results import EVALUATION, RESULTS, LabelRow, Results, read_results
from mien.evaluate.scores import SplitScores, scores_file
from mien.runs import Run, RunManifest

__all__ = ["Contents", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """`scores` and `examples` are of one split; `examples` by id, empty where they were not kept."""

    manifest: RunManifest
    results: Results
    scores: SplitScores | None
    examples: Mapping[str, Example]
    words: DescriptionAudit | None = None
    calibration: Calibration | None = None

    @property
    def labels(self) -> tuple[LabelRow, ...]:
        """Label rows of the split that is shown: those of the results, else made from the scores.

        Where the results have the labels of several models, those of the first.
        """
        if self.scores is None:
            return _of_first(self.results.labels)
        split = self.scores.split
        found = _of_first([row for row in self.results.labels if row.split == split])
        return found or build_label_rows([self.scores])

    def recipe(self, section: str) -> Mapping[str, Any]:
        """One section of the run's recipe, empty where the recipe does not have it."""
        found = self.manifest.recipe.get(section, {})
        return found if isinstance(found, dict) else {}


def _of_first(rows: Sequence[LabelRow]) -> tuple[LabelRow, ...]:
    return tuple(row for row in rows if row.name == rows[0].name)


def gather(run: Path) -> Contents:
    """Reads the files of a run; RunError if nothing in it was evaluated or audited yet."""
    manifest = Run.open(run).manifest
    results = _results(run)
    split = _shown_split(run, results)
    words = read_audit(run)
    if not results.rows and split is None and words is None:
        raise RunError(f"{run} holds no results to report", hint=f"first run mien evaluate {run}")
    scores = None if split is None else SplitScores.load(scores_file(run, split))
    return Contents(
        manifest=manifest,
        results=results,
        scores=scores,
        examples={} if split is None else _examples(examples_file(run, split)),
        words=words,
        calibration=read_calibration(run),
    )


def _results(run: Path) -> Results:
    """The comparison, and from the run's own evaluation what the comparison does not speak of."""
    compared = read_results(run / RESULTS) if (run / RESULTS).exists() else Results()
    own = read_results(run / EVALUATION) if (run / EVALUATION).exists() else Results()
    covered = {(row.metric, row.split) for row in compared.rows}
    more = tuple(row for row in own.rows if (row.metric, row.split) not in covered)
    return Results(
        rows=compared.rows + more,
        differences=compared.differences,
        labels=compared.labels or own.labels,
        dimensions=compared.dimensions or own.dimensions,
        calibration=compared.calibration or own.calibration,
        split_accesses=compared.split_accesses or own.split_accesses,
    )


def _shown_split(run: Path, results: Results) -> str | None:
    """The split of the first row that has scores; where there are no rows, any split, test before others."""
    splits = [row.split for row in results.rows] or sorted(
        (file.stem.removeprefix("scores-") for file in run.glob("scores-*.npz")),
        key=lambda split: (split != "test", split),
    )
    return next((split for split in splits if scores_file(run, split).exists()), None)


def _examples(path: Path) -> dict[str, Example]:
    return {example.id: example for example in read_examples(path)} if path.exists() else {}
