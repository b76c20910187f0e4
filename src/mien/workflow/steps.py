"""The rooms in a row: what a recipe asks for, done with what the earlier rooms left in the run directory.

In: a recipe or a run directory. Out: what each room makes, kept in the run directory.
Knows nothing about: printing, the environment, how any room works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.describe.generate import DescribeSummary, Progress
from mien.describe.generate import describe as describe_subjects
from mien.describe.preflight import Preflight
from mien.describe.shards import Shard
from mien.describe.store.store import Store
from mien.errors import RunError
from mien.recipe import Recipe
from mien.types import Prediction, Sample, Subject
from mien.workflow.descriptions import estimate, note_rate, require_imported, store_of, subjects_in
from mien.workflow.experiment import Experiment, find_descriptions, recorded_recipe, reopen

if TYPE_CHECKING:
    from mien.batches.batch import SplitData
    from mien.evaluate.calibration.calibrate import Calibration
    from mien.evaluate.results.build import Results
    from mien.evaluate.scores import SplitScores
    from mien.features.encode import EncodeProgress
    from mien.train.loop import TrainProgress
    from mien.train.plan import Plan

__all__ = ["describe", "encode", "evaluate", "plan_training", "predict", "score", "train"]

Texts = Callable[[Mapping[str, str]], Mapping[str, str]]

# --- Describe ---


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
    """Describes all subjects of the splits (all by default) that the store does not hold yet.

    Of a `shard` only its own, into a store of its own. `on_preflight` is told first what there is to do; once
    `stop` says so, what was begun is finished.
    """
    _limit_threads(experiment.recipe)
    asking, path = experiment.asking, store_of(experiment, shard)
    require_imported(experiment, splits)
    subjects = partial(subjects_in, experiment, splits, shard)
    with Store(path) as store, closing(asking["engine"]):
        ahead = estimate(experiment, subjects(), asking, store, shard, retry_failed=retry_failed)
        if on_preflight is not None:
            on_preflight(ahead)
        summary = describe_subjects(
            subjects(),
            **asking,
            store=store,
            batch_size=experiment.recipe.run.batch_size,
            workers=experiment.recipe.run.workers,
            retry_failed=retry_failed,
            total=ahead.total,
            on_progress=on_progress,
            stop=stop,
        )
    note_rate(path, asking["engine"], summary)
    return summary


def _limit_threads(recipe: Recipe) -> None:
    """As many threads as `[run]` allows a process; torch takes all cores otherwise."""
    if recipe.run.threads is not None:
        import torch

        torch.set_num_threads(recipe.run.threads)


# --- Train and evaluate ---


def encode(
    experiment: Experiment,
    *,
    splits: Sequence[str] | None = None,
    on_progress: Callable[[EncodeProgress], None] | None = None,
) -> None:
    """Encodes the pictures of the splits (all by default) that the cache lacks."""
    _limit_threads(experiment.recipe)
    for split in splits or experiment.dataset.splits:
        _inputs(experiment, split, text=False, on_progress=on_progress)


def train(
    experiment: Experiment,
    *,
    texts: Texts | None = None,
    on_progress: Callable[[TrainProgress], None] | None = None,
) -> dict[str, Any]:
    """Trains on "train", stops by `train.select_on`, leaves the model in the run directory.

    `texts` may change which description belongs to whom, for controls. Run again after a break, it continues.
    Started by `torchrun`, its processes train together.
    """
    from mien.train.distributed import join_world
    from mien.train.loop import train as train_splits

    _limit_threads(experiment.recipe)
    image, text = _uses(experiment)
    splits = tuple(_learned_from(experiment))
    with join_world(experiment.recipe.run.device) as world:
        with world.main_process_first():  # it fills the cache that the others read
            data, val = (_inputs(experiment, split, image=image, text=text, texts=texts) for split in splits)
        result = train_splits(
            experiment.settled, data, val, experiment.out, on_progress=on_progress, world=world
        )
    return {
        "run": str(experiment.out),
        "best_epoch": result.best_epoch,
        f"{experiment.recipe.train.select_on}_{result.metric}": result.best_score,
        "steps": result.steps,
    }


def plan_training(experiment: Experiment) -> Plan:
    """What `train` would do, without doing it: nothing is encoded, learned or written."""
    from mien.train.plan import plan
    from mien.train.readiness import check_inputs

    _limit_threads(experiment.recipe)
    image, text = _uses(experiment)
    samples = _learned_from(experiment)
    described = experiment.store.exists()
    descriptions = {
        split: find_descriptions(experiment, found).texts if described else {}
        for split, found in samples.items()
    }
    inputs = check_inputs(
        experiment.builder,
        samples,
        experiment.dataset.label_set,
        image=image,
        descriptions=descriptions if text else None,
    )
    return plan(experiment.recipe, inputs)


def _learned_from(experiment: Experiment) -> dict[str, list[Sample]]:
    """The samples of the splits that a training reads; ConfigError if they lack what is to be learned."""
    from mien.train.selection import TRAIN_SPLIT, check_targets

    options = experiment.recipe.train
    samples = {split: experiment.samples(split) for split in (TRAIN_SPLIT, options.select_on)}
    check_targets(options, experiment.dataset.label_set, samples)
    return samples


def score(experiment: Experiment, split: str, *, texts: Texts | None = None) -> SplitScores:
    """The trained model's scores on a split; they and what was shown are kept in the run directory.

    That the split was looked at is recorded in the run's events.
    """
    from mien.evaluate.evaluation import keep_split
    from mien.evaluate.results.split_accesses import record_look
    from mien.evaluate.scorer import score_split
    from mien.model.checkpoint import load_trained
    from mien.model.model_digest import model_digest

    _limit_threads(experiment.recipe)
    trained = load_trained(experiment.out, experiment.recipe.run.device)
    trained.check_recipe(experiment.recipe)
    image, text = _uses(experiment)
    data = _inputs(experiment, split, image=image, text=text, texts=texts)
    trained.check(data.spec, split)
    scores = score_split(trained.classifier, data)
    samples = experiment.samples(split)
    # Shown even where the model does not read them, so that a reader may.
    found = find_descriptions(experiment, samples).texts if experiment.store.exists() else {}
    keep_split(experiment.out, scores, samples, texts(found) if texts else found)
    record_look(experiment.out, split, model=model_digest(experiment.out), n=len(scores))
    return scores


def evaluate(run: Path, *, cache: Path, splits: Sequence[str] | None = None) -> Results:
    """Scores a run on the splits of its recipe, or on these, and writes `evaluation.json`.

    A calibration is fitted on the split that stops training, unless the run has one of its weights.
    """
    from mien.evaluate.evaluation import write_evaluation
    from mien.evaluate.metrics.table import metric
    from mien.evaluate.results.split_accesses import read_looks

    experiment = reopen(run, cache=cache)
    recipe = experiment.recipe
    for name in () if recipe.evaluate.metrics == "auto" else recipe.evaluate.metrics:
        metric(name, experiment.dataset.label_set)  # an error before anything is scored
    scores = {split: score(experiment, split) for split in splits or recipe.evaluate.splits}
    return write_evaluation(
        experiment.out,
        tuple(scores.values()),
        name=recipe.model.fusion,
        seed=recipe.train.seed,
        options=recipe.evaluate,
        calibration=None if recipe.train.heads == "dimensions" else _calibration(experiment, scores),
        looks=read_looks(experiment.out),
    )


def _calibration(experiment: Experiment, scores: Mapping[str, SplitScores]) -> Calibration:
    """The run's calibration, fitted if there is none of these weights; `scores`: what was scored by now."""
    from mien.evaluate.calibration.calibrate import fit_calibration, read_calibration
    from mien.model.model_digest import model_digest

    options, split = experiment.recipe.evaluate, experiment.recipe.train.select_on
    model = model_digest(experiment.out)
    try:
        found = read_calibration(experiment.out)
    except RunError:
        found = None  # damaged: it is made anew
    if found is not None and found.model == model and split not in scores:
        return found
    found = fit_calibration(
        scores.get(split) or score(experiment, split),
        how=options.calibration,
        rule=options.thresholds,
        cost=options.cost,
        model=model,
    )
    found.save(experiment.out)
    return found


def _uses(experiment: Experiment) -> tuple[bool, bool]:
    from mien.model.fusion import fusion_class

    fusion = fusion_class(experiment.recipe.model.fusion)
    return fusion.uses_image, fusion.uses_text


def _inputs(
    experiment: Experiment,
    split: str,
    *,
    image: bool = True,
    text: bool = True,
    texts: Texts | None = None,
    on_progress: Callable[[EncodeProgress], None] | None = None,
) -> SplitData:
    """One split as the classifier takes it."""
    samples = experiment.samples(split)
    descriptions: Mapping[str, str] | None = None
    if text:
        # No store at all is as one that lacks everybody: the builder counts them, or may do without.
        there = experiment.store.exists()
        descriptions = find_descriptions(experiment, samples).texts if there else {}
        descriptions = texts(descriptions) if texts else descriptions
    return experiment.builder.split(
        split,
        samples,
        experiment.dataset.label_set,
        image=image,
        descriptions=descriptions,
        on_progress=on_progress,
    )


# --- Predict ---


def predict(run: Path, subjects: Sequence[Subject]) -> list[Prediction]:
    """How the subjects appear to feel, by the model, engine and encoder of a run, on the run's device."""
    from mien.predict.predictor import Predictor

    recipe = recorded_recipe(run)
    _limit_threads(recipe)
    return Predictor.from_pretrained(run, device=recipe.run.device).predict(subjects)
