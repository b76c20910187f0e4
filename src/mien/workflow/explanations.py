"""Explains the best and the worst predictions of a scored split, for the report of a trained run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mien.errors import MienError, RunError, UsageError
from mien.evaluate.explanations.stored import ExplainedLabel, ExplainedPerson, Explanations
from mien.evaluate.metrics.targets import positives
from mien.evaluate.results.examples import Example
from mien.evaluate.scores import SplitScores
from mien.locks import lock_run
from mien.model.checkpoint import model_digest
from mien.predict.explain.explainer import ExplainOptions, explain_subject
from mien.predict.explain.explanation import Explanation
from mien.predict.predictor import Predictor
from mien.recipe.places import recorded_recipe
from mien.report.run.contents import load_contents
from mien.report.run.gallery import best_and_worst_rows
from mien.types import ImageRef, Subject
from mien.workflow.steps import limit_threads

__all__ = ["explain_examples"]

log = logging.getLogger(__name__)


def explain_examples(
    run: Path,
    count: int,
    *,
    options: ExplainOptions | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[MienError]:
    """Explains the best and the worst predictions of the split that a report shows, and saves why.

    Of each person, the label with the highest score is explained, and if it is wrong, also the highest that
    annotators chose. Without counterfactuals, which describe anew.

    Args:
        run: The directory of a trained run that has been evaluated.
        count: How many of the best, and of the worst.
        options: How closely; its labels are not used.
        on_progress: Called with how many people are done, and of how many.

    Returns:
        The errors of people who could not be explained.

    Raises:
        RunError: The run is not trained, or has no scored examples.
        UsageError: The run reads clips, or learned no labels.
    """
    contents = load_contents(run)
    scores, examples = contents.scores, contents.examples
    rows = (
        []
        if scores is None
        else [row for part in best_and_worst_rows(scores, examples, count) for row in part]
    )
    if scores is None or not rows:
        raise RunError(f"{run} has no scored examples to explain", hint=f"first run mien evaluate {run}")
    recipe = recorded_recipe(run)
    limit_threads(recipe)
    predictor = Predictor.from_pretrained(run, device=recipe.run.device)
    people, errors = [], []
    for done, row in enumerate(rows):
        if on_progress is not None:
            on_progress(done, len(rows))
        example = examples[scores.ids[row]]
        try:
            people.append(_explain(predictor, example, _labels(scores, row), options or ExplainOptions()))
        except UsageError:
            raise
        except MienError as error:
            log.warning("%a is not explained: %a", example.id, str(error))
            errors.append(error)
    with lock_run(run):
        Explanations(split=scores.split, model=model_digest(run), people=tuple(people)).save(run)
    return errors


def _labels(scores: SplitScores, row: int) -> tuple[str, ...]:
    order = np.argsort(-scores.scores[row], kind="stable")
    truth = positives(scores.targets[row : row + 1])[0]
    best_true = next((int(index) for index in order if truth[index]), int(order[0]))
    return tuple(scores.label_set.labels[index] for index in dict.fromkeys((int(order[0]), best_true)))


def _explain(
    predictor: Predictor, example: Example, labels: Sequence[str], options: ExplainOptions
) -> ExplainedPerson:
    images = tuple(
        ImageRef(path=path, frame=frame) for path, frame in zip(example.images, example.frames, strict=True)
    )
    found = explain_subject(
        predictor,
        Subject(id=example.id, images=images, boxes=example.boxes),
        description=example.description,
        options=ExplainOptions(
            labels=tuple(labels),
            cells=options.cells,
            counterfactuals=(),
            random_orders=options.random_orders,
            steps=options.steps,
            seed=options.seed,
        ),
    )
    return _stored(example.id, found)


def _stored(id: str, found: Explanation) -> ExplainedPerson:
    return ExplainedPerson(
        id=id,
        description=found.description,
        labels=tuple(
            ExplainedLabel(
                label=item.label,
                score=item.score,
                words=tuple((word.start, word.end, word.occlusion) for word in item.words),
                maps=item.maps,
                warnings=item.warnings,
            )
            for item in found.labels
        ),
        notes=found.notes,
    )
