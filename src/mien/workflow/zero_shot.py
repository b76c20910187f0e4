"""Evaluating and calibrating without training, in a run that has scores and no weights.

Each person is scored once, also if the process is killed: descriptions are in the store, other scores in a
file of the run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np

from mien.describe.generate import describe as describe_subjects
from mien.describe.progress import Progress
from mien.describe.store.lookup import lookup_descriptions
from mien.describe.store.store import Store
from mien.errors import EngineError, ItemsFailedError, MienError, RunError
from mien.evaluate.calibration.calibrate import (
    CALIBRATION,
    Calibration,
    CalibrationMethod,
    check_calibration_split,
    fit_calibration,
    read_calibration,
)
from mien.evaluate.evaluation import write_evaluation
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.results.build import mark_uncalibrated
from mien.evaluate.results.results import Evaluation
from mien.evaluate.results.split_accesses import read_split_accesses, record_split_access
from mien.evaluate.scores import SplitScores
from mien.locks import lock_run
from mien.predict.zero_shot.describing import DescribingScorer
from mien.predict.zero_shot.open import default_model, open_recipe_zero_shot
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.predict.zero_shot.saved_scores import score_once
from mien.predict.zero_shot.split_scores import collect_scores
from mien.recipe import DescribeOptions, Recipe, TrainOptions
from mien.recipe.zero_shot import ZeroShotMethod
from mien.train.loop import open_run
from mien.types import DIMENSIONS, Subject
from mien.workflow.annotators import rate_by_annotators
from mien.workflow.descriptions import lock_for_describing
from mien.workflow.experiment import Experiment, save_scored
from mien.workflow.steps import limit_threads

__all__ = ["FITS", "calibrate_zero_shot", "evaluate_zero_shot", "score_zero_shot", "zero_shot_recipe"]

FITS: Final[tuple[CalibrationMethod, ...]] = ("platt", "temperature")
_SCORES: Final = "zero_shot_scores.jsonl"
_MODEL_ENGINES: Final = ("local", "remote", "vllm")  # they run the model that is named
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9.]+")

_OnProgress = Callable[[Progress], None] | None


def zero_shot_recipe(
    recipe: Recipe, *, model: str | None = None, method: ZeroShotMethod | None = None
) -> Recipe:
    """The recipe of a run without training on the data of another recipe.

    What is only for training is left out, but for the split that stops it, on which a calibration is fitted.
    With neither a model nor a method it is the given recipe.

    Args:
        recipe: Has the data, the prompt, the marking and the engine.
        model: The model; by default the recipe's own if it has the method, else that of the method.
        method: By default the recipe's own, else "likelihood".
    """
    if model is None and method is None:
        return recipe
    own, options, describe = recipe.zero_shot.method, recipe.zero_shot, recipe.describe
    method = method or own or "likelihood"
    if model is None and method != own:
        model = default_model(method)
    if model is not None:
        others = describe.engine not in _MODEL_ENGINES
        # A revision belongs to the recipe's own model.
        kept = {key: value for key, value in describe.options.items() if key != "revision" and not others}
        engine = DescribeOptions().engine if others else describe.engine
        describe = describe.model_copy(update={"model": model, "engine": engine, "options": kept})
    short = Path(describe.model.partition("@")[0]).name
    return Recipe(
        name=f"{recipe.name}-{method}-{_NOT_PLAIN.sub('-', short).strip('-.') or 'model'}",
        data=recipe.data,
        describe=describe.model_copy(update={"clip": "middle_frame"}),
        zero_shot=options.model_copy(update={"method": method}),
        train=TrainOptions(select_on=recipe.train.select_on),
        evaluate=recipe.evaluate,
        run=recipe.run.model_copy(update={"out": None}),
    )


def evaluate_zero_shot(
    experiment: Experiment,
    *,
    splits: Sequence[str] | None = None,
    calibration: Calibration | None = None,
    on_progress: _OnProgress = None,
) -> Evaluation:
    """Scores the people of a dataset without training, and writes `evaluation.json` as for a trained run.

    An evaluation that was interrupted continues. Without a calibration the results are marked uncalibrated.

    Args:
        experiment: Of a recipe with `zero_shot.method`.
        splits: The splits to score; by default those of the recipe.
        calibration: Replaces the run's own, which `calibrate_zero_shot` fits.
        on_progress: Called as people are scored.

    Raises:
        ConfigError: The recipe does not say how to score without training.
        DataError: There are no labels to compare with, or no one could be scored.
        RunError: The directory belongs to another recipe, or the calibration to other scores.
        WeightsError: A model is not available.
    """
    recipe, out, label_set = experiment.recipe, experiment.out, experiment.dataset.label_set
    for name in () if recipe.evaluate.metrics == "auto" else recipe.evaluate.metrics:
        resolve_metric(name, label_set)  # an error before anything is scored
    with lock_run(out):
        predictor = _open(experiment)
        if calibration is not None:
            _check_calibration(predictor, calibration, "the calibration")
            calibration.save(out)
        else:
            calibration = read_calibration(out)
            if calibration is not None:
                _check_calibration(predictor, calibration, str(out / CALIBRATION))
        scores: dict[str, SplitScores] = {}
        more = mark_uncalibrated([] if calibration is not None else [predictor.scorer.name])
        for split in splits or recipe.evaluate.splits:
            scores[split], errors = _score(experiment, predictor, split, on_progress)
            more += _limits(scores[split], errors, predictor.scorer.name)
        return write_evaluation(
            out,
            tuple(scores.values()),
            name=predictor.scorer.name,
            seed=recipe.train.seed,
            options=recipe.evaluate,
            calibration=calibration,
            split_accesses=read_split_accesses(out),
            more=more + rate_by_annotators(experiment, scores, name=predictor.scorer.name),
        )


def score_zero_shot(experiment: Experiment, split: str) -> SplitScores:
    """Scores a split without training, for an ablation, whose variants are scored on the same samples.

    Args:
        experiment: Of a recipe with `zero_shot.method`.
        split: The split.

    Raises:
        ItemsFailedError: Some samples could not be scored.
    """
    with lock_run(experiment.out):
        scores, errors = _score(experiment, _open(experiment), split, None)
    if errors:
        first = next(iter(errors))
        raise ItemsFailedError(
            f"{len(errors)} samples could not be scored, such as {first!r}: {errors[first]}",
            hint="fix the cause, and run it again; the others are kept",
        )
    return scores


def calibrate_zero_shot(
    experiment: Experiment,
    *,
    split: str | None = None,
    method: CalibrationMethod | None = None,
    on_progress: _OnProgress = None,
) -> Calibration:
    """Fits probabilities, thresholds and prediction sets to scores without training, and saves them.

    Args:
        experiment: Of a recipe with `zero_shot.method`.
        split: The split with labels to fit on; by default `train.select_on` of the recipe.
        method: How scores are transformed: by default "platt", and "temperature" where exactly one label
            holds.
        on_progress: Called as people are scored.

    Raises:
        ConfigError: The recipe does not say how to score without training.
        DataError: The split is "test" or "train", or has no labels.
        RunError: The directory belongs to another recipe.
        WeightsError: A model is not available.
    """
    recipe = experiment.recipe
    split = split or recipe.train.select_on
    check_calibration_split(split)
    with lock_run(experiment.out):
        predictor = _open(experiment)
        scores, _ = _score(experiment, predictor, split, on_progress)
        calibration = fit_calibration(
            scores,
            method=method or ("temperature" if scores.label_set.exclusive else "platt"),
            rule=recipe.evaluate.thresholds,
            cost=recipe.evaluate.cost,
            coverage=recipe.evaluate.coverage,
            answered=recipe.evaluate.answered,
            model=predictor.model_digest,
        )
        calibration.save(experiment.out)
    return calibration


def _open(experiment: Experiment) -> ZeroShotPredictor:
    """The predictor, without calibration, once the run directory is known to be of this recipe."""
    limit_threads(experiment.recipe)
    predictor = open_recipe_zero_shot(experiment.recipe, experiment.dataset.label_set)
    open_run(experiment.resolved_recipe, experiment.out, command="evaluate")
    experiment.record_dtypes()
    return predictor


def _check_calibration(predictor: ZeroShotPredictor, calibration: Calibration, where: str) -> None:
    """RunError, which says where, for a calibration of other scores."""
    try:
        ZeroShotPredictor(predictor.scorer, calibration=calibration)
    except RunError as error:
        raise RunError(
            f"{where} does not fit: {error}", hint="fit another one with mien calibrate"
        ) from error


# --- Scores --------------------------------------------------------------------------------------------


def _score(
    experiment: Experiment, predictor: ZeroShotPredictor, split: str, on_progress: _OnProgress
) -> tuple[SplitScores, Mapping[str, MienError]]:
    """The scores of a split, which are saved in the run, and the errors of those who have none."""
    samples, scorer = experiment.samples(split), predictor.scorer
    subjects = [sample.subject for sample in samples]
    texts: dict[str, str] = {}
    found: list[Sequence[float] | MienError]
    if isinstance(scorer, DescribingScorer):
        found, texts = _score_descriptions(experiment, scorer, subjects, on_progress)
    else:
        file, size = experiment.out / _SCORES, experiment.recipe.run.fixed_batch_size
        found = score_once(predictor, subjects, file, batch_size=size, on_progress=on_progress)
    scores, errors = collect_scores(split, samples, found, scorer.labels.label_set)
    scored = [sample for sample in samples if sample.subject.id not in errors]
    save_scored(experiment, scores, scored, texts, experiment.out)
    record_split_access(experiment.out, split, model=predictor.model_digest, n=len(scores))
    return scores, errors


def _score_descriptions(
    experiment: Experiment, scorer: DescribingScorer, subjects: Sequence[Subject], on_progress: _OnProgress
) -> tuple[list[Sequence[float] | MienError], dict[str, str]]:
    """Scores read from descriptions, of which only those are made that the store lacks; and the texts."""
    run, builder, lookup = experiment.recipe.run, scorer.request_builder, None
    if experiment.store.exists():  # another process may be writing to it
        with Store(experiment.store, writable=False) as store:
            lookup = lookup_descriptions(subjects, builder, store)
    if lookup is None or lookup.missing:
        with lock_for_describing(experiment), Store(experiment.store) as store, closing(builder.engine):
            describe_subjects(
                subjects,
                builder,
                store,
                batch_size=None if run.batch_size == "auto" else run.batch_size,
                workers=run.workers,
                total=len(subjects),
                on_progress=on_progress,
            )
            lookup = lookup_descriptions(subjects, builder, store)
    reasons = {failure.subject_id: failure.error for failure in lookup.failures}
    found: list[Sequence[float] | MienError] = []
    for subject in subjects:
        description = lookup.descriptions.get(subject.id)
        found.append(
            EngineError(reasons.get(subject.id, f"{subject.id!r} has no description"))
            if description is None
            else scorer.read(description).scores
        )
    return found, lookup.texts


# --- Notes ---------------------------------------------------------------------------------------------


def _limits(scores: SplitScores, errors: Mapping[str, MienError], scorer: str) -> Evaluation:
    """Which samples were left out, and what annotators rated that was not scored."""
    split, notes = scores.split, []
    if errors:
        first = next(iter(errors))
        notes.append(
            f"{len(errors):,} of {len(errors) + len(scores):,} samples of {split} could not be scored and "
            f"are left out, such as {first!r}: {errors[first]}"
        )
    if scores.dimension_targets is not None and np.isfinite(scores.dimension_targets).any():
        notes.append(f"{', '.join(DIMENSIONS)} on {split}: not scored, {scorer} gives none")
    return Evaluation(unscored=tuple(errors), notes=tuple(notes))
