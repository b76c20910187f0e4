"""The steps of the method: describe, encode, train, score, evaluate, compare, predict.

A step finds what the earlier steps left in the run directory, and leaves its own result there. Steps never
print; long ones report to `on_progress`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.data.open import dataset_class
from mien.describe.generate import describe as describe_subjects
from mien.describe.preflight import Preflight, survey
from mien.describe.progress import DescribeSummary, Progress
from mien.describe.shards import Shard
from mien.describe.store.store import Store
from mien.errors import ConfigError, RunError
from mien.locks import lock_run
from mien.recipe import Recipe
from mien.runs import Run
from mien.types import Prediction, Sample, Subject
from mien.weights.model_folder import find_origin
from mien.workflow.descriptions import (
    estimate_run,
    iterate_subjects,
    lock_for_describing,
    record_rate,
    require_imported,
    store_path,
)
from mien.workflow.experiment import (
    Experiment,
    embedded_model_warning,
    find_texts,
    load_experiment,
    recorded_recipe,
    save_scored,
)

if TYPE_CHECKING:
    from mien.batches.batch import SplitData
    from mien.evaluate.calibration.calibrate import Calibration
    from mien.evaluate.results.comparison import Comparison
    from mien.evaluate.results.published import Published
    from mien.evaluate.results.results import Evaluation
    from mien.evaluate.scores import SplitScores
    from mien.features.encode import EncodeProgress
    from mien.model.checkpoint import TrainResult
    from mien.train.loop import TrainProgress
    from mien.train.plan import Plan

__all__ = [
    "compare",
    "describe",
    "encode",
    "evaluate",
    "limit_threads",
    "plan_training",
    "predict",
    "score",
    "train",
]

_MODELS: Final = "models"  # the event of a run
# Changes which text belongs to which subject; texts are given and returned by subject id.
TextTransform = Callable[[Mapping[str, str]], Mapping[str, str]]

# --- Describe ------------------------------------------------------------------------------------------


def describe(
    experiment: Experiment,
    *,
    splits: Sequence[str] | None = None,
    shard: Shard | None = None,
    retry_failed: bool = False,
    on_preflight: Callable[[Preflight], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> DescribeSummary:
    """Describes the subjects that the store lacks.

    A run that was interrupted continues where it stopped.

    Args:
        experiment: From `open_experiment`.
        splits: The splits to describe; all by default.
        shard: Describe only this part of the subjects, into a store of its own.
        retry_failed: Whether subjects that failed in an earlier run are tried again.
        on_preflight: Called once before the first request, with an estimate of what the run will take.
        on_progress: Called after each batch, and before the estimate after each group of described subjects.
        stop: Once it returns true, batches in flight are finished and written, and no other is begun.

    Returns:
        How many subjects were described, skipped, and failed. Their descriptions are in the store.

    Raises:
        EngineError: The engine fails for every subject, or imported descriptions are missing.
        RunLockedError: Another command, such as a training, writes to the run that holds the store.
        StoreLockedError: Another process writes to the store.
        WeightsError: The engine's model is not available here.
    """
    limit_threads(experiment.recipe)
    if shard is not None and "describe.dtype" in experiment.stated_dtypes:
        raise ConfigError(
            'describe.dtype is "auto", which may be another type on the machine of another shard',
            hint="state one for all shards, such as describe.dtype=bfloat16",
        )
    run, request_builder = experiment.recipe.run, experiment.open_request_builder()
    path = store_path(experiment, shard)
    require_imported(experiment, splits)
    with lock_for_describing(experiment), Store(path) as store, closing(request_builder.engine):
        experiment.record_dtypes()
        found = survey(
            partial(iterate_subjects, experiment, splits, shard),
            request_builder,
            store,
            retry_failed=retry_failed,
            workers=run.workers,
            on_progress=on_progress,
            stop=stop,
        )
        if on_preflight is not None and not stop():
            on_preflight(estimate_run(experiment, found, request_builder, store, shard))
        summary = describe_subjects(
            found.remaining,
            request_builder,
            store,
            batch_size=None if run.batch_size == "auto" else run.batch_size,
            workers=run.workers,
            retry_failed=retry_failed,
            total=found.total,
            skipped=found.described,
            failed=found.failed,
            on_progress=on_progress,
            stop=stop,
        )
    record_rate(path, request_builder.engine, summary)
    return summary


def limit_threads(recipe: Recipe) -> None:
    """Applies `run.threads`; torch takes all cores by default."""
    if recipe.run.threads is not None:
        import torch

        torch.set_num_threads(recipe.run.threads)


# --- Train and evaluate --------------------------------------------------------------------------------


def encode(
    experiment: Experiment,
    *,
    splits: Sequence[str] | None = None,
    on_progress: Callable[[EncodeProgress], None] | None = None,
) -> None:
    """Encodes the images that the feature cache lacks.

    Training and evaluating do this on their own; this step does it ahead of them.

    Args:
        experiment: From `open_experiment`.
        splits: The splits to encode; all by default.
        on_progress: Called while images are encoded.

    Raises:
        WeightsError: The encoder is not available here.
    """
    limit_threads(experiment.recipe)
    experiment.record_dtypes()
    for split in splits or experiment.dataset.splits:
        _load_split(experiment, split, text=False, on_progress=on_progress)


def train(
    experiment: Experiment,
    *,
    texts: TextTransform | None = None,
    on_progress: Callable[[TrainProgress], None] | None = None,
) -> TrainResult:
    """Trains on the split "train", stops by `train.select_on`, and leaves the model in the run directory.

    A training that was interrupted continues; a finished one is left as it is. Processes that `torchrun`
    starts train one model together.

    Args:
        experiment: From `open_experiment`.
        texts: Changes the descriptions before the model sees them, for controls.
        on_progress: Called after each step.

    Returns:
        The best epoch (from 1), its score, the metric of that score, and the number of steps.

    Raises:
        ConfigError: The recipe asks for labels or a metric that the data do not have.
        DataError: Descriptions are missing, or a training was begun on other data.
        DivergedError: The loss explodes or is not finite.
        RunError: The run directory belongs to another recipe.
        RunLockedError: Another process writes to the run directory.
    """
    from mien.train.distributed import join_world
    from mien.train.loop import train as train_splits

    limit_threads(experiment.recipe)
    image, text = _fusion_inputs(experiment)
    splits = tuple(_training_samples(experiment))
    device = experiment.recipe.run.device
    with join_world(device) as world, world.lock_run(experiment.out, device):
        if world.is_main:
            experiment.record_dtypes()
        with world.main_process_first():  # it fills the cache that the others read
            data, val = (
                _load_split(experiment, split, image=image, text=text, texts=texts) for split in splits
            )
        result = train_splits(
            experiment.resolved_recipe, data, val, experiment.out, on_progress=on_progress, world=world
        )
        if world.is_main:
            _record_images(experiment, splits)
            _record_models(experiment)
        return result


def _record_images(experiment: Experiment, splits: Sequence[str]) -> None:
    """Records the images that the model was trained with, unless an earlier call has."""
    from mien.evaluate.shared_images import has_training_images, record_training_images
    from mien.model.checkpoint import model_digest

    model = model_digest(experiment.out)
    if not has_training_images(experiment.out, model=model):
        samples = {split: experiment.samples(split) for split in splits}
        record_training_images(experiment.out, samples, model=model)


def _record_models(experiment: Experiment) -> None:
    """Records which models of the Hugging Face Hub the training started from, unless an earlier call has."""
    features, run = experiment.recipe.features, Run.open(experiment.out)
    names = {
        "features.vision": features.vision,
        "features.tokenizer": features.tokenizer,
        "model.init": experiment.recipe.model.init,
    }
    models = {key: origin for key, name in names.items() if (origin := find_origin(name)) is not None}
    if models and next(run.events().named(_MODELS), None) is None:
        run.append(_MODELS, models=models)


def plan_training(experiment: Experiment) -> Plan:
    """What `train` would do: sizes, steps and time. Nothing is encoded, learned or written."""
    from mien.train.plan import plan
    from mien.train.readiness import check_inputs

    limit_threads(experiment.recipe)
    image, text = _fusion_inputs(experiment)
    samples = _training_samples(experiment)
    descriptions = {split: find_texts(experiment, found) for split, found in samples.items()}
    inputs = check_inputs(
        experiment.input_builder,
        samples,
        experiment.dataset.label_set,
        image=image,
        descriptions=descriptions if text else None,
    )
    return plan(experiment.recipe, inputs)


def _training_samples(experiment: Experiment) -> dict[str, list[Sample]]:
    """The samples of the splits that a training reads; ConfigError if they lack what is to be learned."""
    from mien.train.selection import TRAIN_SPLIT, check_targets

    options, method = experiment.recipe.train, experiment.recipe.zero_shot.method
    if method is not None:
        raise ConfigError(
            f"recipe {experiment.recipe.name!r} scores without training, by method {method!r}",
            hint="run mien evaluate RECIPE, or remove zero_shot.method",
        )
    samples = {split: experiment.samples(split) for split in (TRAIN_SPLIT, options.select_on)}
    check_targets(options, experiment.dataset.label_set, samples)
    return samples


def score(experiment: Experiment, split: str, *, texts: TextTransform | None = None) -> SplitScores:
    """Scores a split with the trained model.

    The scores, and what the model saw, are written to the run directory. That the split was accessed is
    recorded in the run's events.

    Args:
        experiment: From `open_experiment` or `load_experiment`, after `train`.
        split: The split to score.
        texts: Changes the descriptions before the model sees them, for controls.

    Returns:
        One row of scores per sample of the split.

    Raises:
        RunError: The run is not trained, or was trained by another recipe or with another encoder.
    """
    from mien.evaluate.results.split_accesses import record_split_access
    from mien.evaluate.scorer import score_split
    from mien.model.checkpoint import load_trained, model_digest

    limit_threads(experiment.recipe)
    trained = load_trained(experiment.out, experiment.recipe.run.device, places=experiment.recipe)
    trained.check_recipe(experiment.recipe)
    image, text = _fusion_inputs(experiment)
    with lock_run(experiment.out):
        data = _load_split(experiment, split, image=image, text=text, texts=texts)
        trained.check_inputs(data.spec, split)
        scores = score_split(trained.classifier, data)
        samples = experiment.samples(split)
        # Kept for the report even if the model does not read them.
        found = find_texts(experiment, samples)
        save_scored(experiment, scores, samples, texts(found) if texts else found, experiment.out)
        record_split_access(experiment.out, split, model=model_digest(experiment.out), n=len(scores))
    return scores


def evaluate(
    run: Path, *, cache: Path, splits: Sequence[str] | None = None, overrides: Sequence[str] = ()
) -> Evaluation:
    """Scores a trained run, and writes `evaluation.json` into it.

    A calibration is fitted on the split that stops training, unless the run has one for its weights.

    Args:
        run: A run directory.
        cache: The folder for what can be computed again, shared by all runs.
        splits: The splits to score; by default those of the recipe.
        overrides: New places of what lies outside of the run, such as "data.root=/data/EMOTIC".

    Returns:
        Every metric with its 95 % interval and its chance level.

    Raises:
        RunError: The directory is not a run, or the run is not trained.
        RunLockedError: Another process writes to the run.
        UnknownNameError: The recipe asks for a metric that does not exist.
    """
    from mien.evaluate.evaluation import write_evaluation
    from mien.evaluate.metrics.table import resolve_metric
    from mien.evaluate.results.split_accesses import read_split_accesses
    from mien.evaluate.shared_images import find_shared_images
    from mien.model.checkpoint import model_digest
    from mien.workflow.annotators import rate_by_annotators

    experiment = load_experiment(run, cache=cache, overrides=overrides)
    recipe = experiment.recipe
    for name in () if recipe.evaluate.metrics == "auto" else recipe.evaluate.metrics:
        resolve_metric(name, experiment.dataset.label_set)  # an error before anything is scored
    with lock_run(experiment.out):
        scores = {split: score(experiment, split) for split in splits or recipe.evaluate.splits}
        return write_evaluation(
            experiment.out,
            tuple(scores.values()),
            name=recipe.model.fusion,
            seed=recipe.train.seed,
            options=recipe.evaluate,
            calibration=None if recipe.train.heads == "dimensions" else _calibration(experiment, scores),
            split_accesses=read_split_accesses(experiment.out),
            shared_images=find_shared_images(
                experiment.out,
                {split: experiment.samples(split) for split in scores},
                model=model_digest(experiment.out),
            ),
            more=rate_by_annotators(experiment, scores, name=recipe.model.fusion),
        )


def _calibration(experiment: Experiment, scores: Mapping[str, SplitScores]) -> Calibration:
    """The run's calibration, fitted unless it has a complete one for its weights; `scores` are at hand."""
    from mien.evaluate.calibration.calibrate import fit_calibration, read_calibration
    from mien.model.checkpoint import model_digest

    options, split = experiment.recipe.evaluate, experiment.recipe.train.select_on
    model = model_digest(experiment.out)
    try:
        calibration = read_calibration(experiment.out)
    except RunError:
        calibration = None  # damaged, so it is fitted again
    if calibration is not None and calibration.fits(model) and split not in scores:
        return calibration
    calibration = fit_calibration(
        scores.get(split) or score(experiment, split),
        method=options.calibration,
        rule=options.thresholds,
        cost=options.cost,
        coverage=options.coverage,
        answered=options.answered,
        model=model,
    )
    calibration.save(experiment.out)
    return calibration


def _fusion_inputs(experiment: Experiment) -> tuple[bool, bool]:
    """Whether the recipe's fusion reads images, and whether it reads text."""
    from mien.model.fusion import fusion_class

    fusion = fusion_class(experiment.recipe.model.fusion)
    return fusion.uses_image, fusion.uses_text


def _load_split(
    experiment: Experiment,
    split: str,
    *,
    image: bool = True,
    text: bool = True,
    texts: TextTransform | None = None,
    on_progress: Callable[[EncodeProgress], None] | None = None,
) -> SplitData:
    """The inputs of the classifier for one split."""
    samples = experiment.samples(split)
    descriptions: Mapping[str, str] | None = None
    if text:
        # A missing store counts as an empty one: the input builder reports what is missing, or allows it.
        descriptions = find_texts(experiment, samples)
        descriptions = texts(descriptions) if texts else descriptions
    return experiment.input_builder.build_split(
        split,
        samples,
        experiment.dataset.label_set,
        image=image,
        descriptions=descriptions,
        on_progress=on_progress,
    )


# --- Compare -------------------------------------------------------------------------------------------


def compare(
    runs: Sequence[Path],
    *,
    split: str = "test",
    metrics: Sequence[str] | None = None,
    published: bool = False,
) -> Comparison:
    """Compares evaluated runs, with paired differences from the first; seeds of one recipe share a row.

    Args:
        runs: Run directories that `evaluate` has scored.
        split: The split on which they are compared.
        metrics: The metrics to show; by default all that the runs have in common.
        published: Whether to add what others reported on the same dataset, with its caveats.

    Raises:
        RunError: A directory is not a run, or the run is not evaluated on this split.
        DataError: The runs are scored on different subjects.
    """
    from mien.evaluate.results.comparison import compare_runs

    comparison = compare_runs(runs, split=split, metrics=metrics)
    return replace(comparison, published=_published_rows(runs, comparison)) if published else comparison


def _published_rows(runs: Sequence[Path], comparison: Comparison) -> tuple[tuple[Published, str], ...]:
    from mien.evaluate.results.published import comparison_caveats, published_rows

    recipes = [recorded_recipe(run) for run in runs]
    name, rows = recipes[0].data.name, comparison.results.rows
    official = dataset_class(name).card.num_subjects.get(comparison.split)
    drawn = any(embedded_model_warning(recipe, photographs=True) is not None for recipe in recipes)
    metrics = list(dict.fromkeys(row.metric for row in rows))
    return tuple(
        (row, comparison_caveats(row, split=comparison.split, n=rows[0].n, official=official, drawn=drawn))
        for row in published_rows(name, metrics)
    )


# --- Predict -------------------------------------------------------------------------------------------


def predict(run: Path, subjects: Sequence[Subject]) -> list[Prediction]:
    """How subjects appear to feel, by the model, engine and encoder of a run, on the run's device.

    Args:
        run: The directory of a trained run.
        subjects: Images with the box of a person, or without one for the main person.

    Returns:
        A prediction per subject, in order.

    Raises:
        DataError: A subject's image or box cannot be used.
        RunError: The run is not trained, or its encoder has changed since.
    """
    from mien.predict.predictor import Predictor

    recipe = recorded_recipe(run)
    limit_threads(recipe)
    return Predictor.from_pretrained(run, device=recipe.run.device).predict(subjects)
