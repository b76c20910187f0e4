"""Rates a run against what several annotators said, where the dataset keeps their answers."""

from __future__ import annotations

from collections.abc import Mapping

from mien.evaluate.analysis.annotators import build_annotator_rows
from mien.evaluate.results.results import Evaluation
from mien.evaluate.scores import SplitScores
from mien.workflow.experiment import Experiment

__all__ = ["rate_by_annotators"]


def rate_by_annotators(experiment: Experiment, scores: Mapping[str, SplitScores], *, name: str) -> Evaluation:
    """The scores of each split against the union and against the majority of its annotators.

    Nothing for datasets that keep only one answer per person.
    """
    if not experiment.dataset.has_annotators:
        return Evaluation()
    options, found = experiment.recipe.evaluate, Evaluation()
    for split, of_split in scores.items():
        records = experiment.dataset.records(split)
        annotations = {record.sample.subject.id: record.annotations for record in records}
        found += Evaluation(
            annotators=build_annotator_rows(
                of_split,
                annotations,
                name=name,
                metrics=options.metrics,
                resamples=options.bootstrap,
            )
        )
    return found
