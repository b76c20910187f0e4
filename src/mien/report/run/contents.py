"""Loads everything in a run directory that a page can show."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mien.errors import RunError
from mien.evaluate.calibration.calibrate import Calibration, read_own_calibration
from mien.evaluate.descriptions.description_audit import DescriptionAudit, read_audit
from mien.evaluate.explanations.stored import ExplainedPerson, read_explanations
from mien.evaluate.results.build import build_label_rows
from mien.evaluate.results.examples import Example, examples_file, read_examples
from mien.evaluate.results.results import EVALUATION, RESULTS, Evaluation, LabelRow, read_results
from mien.evaluate.scores import SplitScores, scores_file
from mien.runs import Run, RunManifest

__all__ = ["RunContents", "load_contents"]

log = logging.getLogger(__name__)

_MODEL_FILE: Final = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContents:
    """What a run directory contains.

    Attributes:
        run: The run directory.
        scores: Of the split that is shown.
        examples: Of the same split, by id; empty if none were stored.
        explanations: Of some people of the split, by id, by the weights of this run.
    """

    run: Path
    manifest: RunManifest
    results: Evaluation
    scores: SplitScores | None
    examples: Mapping[str, Example]
    descriptions: DescriptionAudit | None = None
    calibration: Calibration | None = None
    explanations: Mapping[str, ExplainedPerson] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[LabelRow, ...]:
        """The label rows of the shown split, computed from the scores if the results have none.

        If the results have the labels of several models, those of the first, trained on the most images.
        """
        if self.scores is None:
            return _of_first_model(self.results.labels)
        split = self.scores.split
        rows = _of_first_model([row for row in self.results.labels if row.split == split])
        return rows or build_label_rows([self.scores])

    @property
    def shown_model(self) -> str:
        """The model whose scores are shown, in words: of several seeds, they are those of the first."""
        split = None if self.scores is None else self.scores.split
        rows = [row for row in self.results.rows if split in (None, row.split)]
        labels = [row.name for row in self.results.labels if split in (None, row.split)]
        name = next(iter(labels), rows[0].name if rows else "this model")
        seeds = next((row.seeds for row in rows if row.name == name), ())
        return f"{name}, the first of {len(seeds)} seeds" if len(seeds) > 1 else name

    @property
    def usable_calibration(self) -> Calibration | None:
        """The calibration, if it was fitted on another split than the one that is shown."""
        scores, calibration = self.scores, self.calibration
        if scores is None or calibration is None or scores.split == calibration.split:
            return None
        # One of other labels is left over from an earlier evaluation.
        return calibration if calibration.labels == scores.label_set.labels else None

    def recipe_section(self, name: str) -> Mapping[str, Any]:
        """One section of the run's recipe, empty if the recipe does not have it."""
        section = self.manifest.recipe.get(name, {})
        return section if isinstance(section, dict) else {}


def load_contents(run: Path) -> RunContents:
    """Reads the files of a run.

    Raises:
        RunError: Nothing in the run has been evaluated or audited yet.
    """
    manifest = Run.open(run).manifest
    results = _load_results(run)
    split = _shown_split(run, results)
    descriptions = read_audit(run)
    if not results.rows and split is None and descriptions is None:
        raise RunError(f"{run} has no results to report", hint=f"first run mien evaluate {run}")
    scores = None if split is None else SplitScores.load(scores_file(run, split))
    return RunContents(
        run=run,
        manifest=manifest,
        results=results,
        scores=scores,
        examples={} if split is None else _load_examples(examples_file(run, split)),
        descriptions=descriptions,
        calibration=read_own_calibration(run),
        explanations={} if split is None else _load_explanations(run, split),
    )


def _load_explanations(run: Path, split: str) -> dict[str, ExplainedPerson]:
    """The explanations by id; those by other weights than those of the run are left out, with a warning."""
    found = read_explanations(run, split)
    if found is None:
        return {}
    if (run / _MODEL_FILE).exists():
        from mien.model.checkpoint import model_digest  # imports torch

        if found.model != model_digest(run):
            log.warning("explanations of %s are by other weights, and left out: use --explain again", run)
            return {}
    return {person.id: person for person in found.people}


def _of_first_model(rows: Sequence[LabelRow]) -> tuple[LabelRow, ...]:
    own = [row for row in rows if row.name == rows[0].name]
    most = max((row.train_size or 0 for row in own), default=0)
    return tuple(row for row in own if (row.train_size or 0) == most)


def _load_results(run: Path) -> Evaluation:
    """The comparison, completed from the run's own evaluation."""
    compared = read_results(run / RESULTS) if (run / RESULTS).exists() else Evaluation()
    own = read_results(run / EVALUATION) if (run / EVALUATION).exists() else Evaluation()
    covered = {(row.metric, row.split) for row in compared.rows}
    more = tuple(row for row in own.rows if (row.metric, row.split) not in covered)
    return Evaluation(
        rows=compared.rows + more,
        differences=compared.differences,
        labels=compared.labels or own.labels,
        dimensions=compared.dimensions or own.dimensions,
        calibration=compared.calibration or own.calibration,
        prediction_sets=compared.prediction_sets or own.prediction_sets,
        abstention=compared.abstention or own.abstention,
        annotators=compared.annotators or own.annotators,
        groups=compared.groups or own.groups,
        split_accesses=compared.split_accesses or own.split_accesses,
        shared_images=compared.shared_images or own.shared_images,
        uncalibrated=compared.uncalibrated or own.uncalibrated,
        unscored=compared.unscored or own.unscored,
        interval=(compared if compared.rows else own).interval,
        approximate=tuple(dict.fromkeys(compared.approximate + own.approximate)),
        notes=compared.notes or own.notes,
    )


def _shown_split(run: Path, results: Evaluation) -> str | None:
    """The split of the first row with stored scores; without rows, any split, preferably test."""
    splits = [row.split for row in results.rows] or sorted(
        (file.stem.removeprefix("scores-") for file in run.glob("scores-*.npz")),
        key=lambda split: (split != "test", split),
    )
    return next((split for split in splits if scores_file(run, split).exists()), None)


def _load_examples(path: Path) -> dict[str, Example]:
    return {example.id: example for example in read_examples(path)} if path.exists() else {}
