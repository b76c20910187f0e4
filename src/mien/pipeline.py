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
from mien.describe.store import Store
from mien.descriptions import estimate, note_rate, require_imported, store_of, subjects_in
from mien.errors import UsageError
from mien.experiment import Experiment, find_descriptions, recorded_recipe, reopen
from mien.recipe import Recipe
from mien.types import Box, Prediction, Subject

if TYPE_CHECKING:
    from mien.evaluate.results import Results
    from mien.evaluate.scores import SplitScores
    from mien.features.encode import EncodeProgress
    from mien.train.batch import SplitData
    from mien.train.loop import TrainProgress

__all__ = ["describe", "encode", "evaluate", "predict", "score", "subjects_of", "train"]

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


def encode(experiment: Experiment, *, on_progress: Callable[[EncodeProgress], None] | None = None) -> None:
    """Encodes the pictures of all splits that the cache lacks."""
    _limit_threads(experiment.recipe)
    for split in experiment.dataset.splits:
        _inputs(experiment, split, text=False, on_progress=on_progress)


def train(
    experiment: Experiment,
    *,
    texts: Texts | None = None,
    on_progress: Callable[[TrainProgress], None] | None = None,
) -> dict[str, Any]:
    """Trains on "train", stops by `train.select_on`, leaves the model in the run directory.

    `texts` may change which description belongs to whom, for controls. Run again after a break, it continues.
    """
    from mien.train.fit import TRAIN
    from mien.train.loop import train as train_splits

    _limit_threads(experiment.recipe)
    image, text = _uses(experiment)
    splits = (TRAIN, experiment.recipe.train.select_on)
    data, val = (_inputs(experiment, split, image=image, text=text, texts=texts) for split in splits)
    result = train_splits(experiment.settled, data, val, experiment.out, on_progress=on_progress)
    return {
        "run": str(experiment.out),
        "best_epoch": result.best_epoch,
        f"{experiment.recipe.train.select_on}_{result.metric}": result.best_score,
        "steps": result.steps,
    }


def score(experiment: Experiment, split: str, *, texts: Texts | None = None) -> SplitScores:
    """The trained model's scores on a split; they and what was shown are kept in the run directory."""
    from mien.evaluate.evaluation import keep_split
    from mien.evaluate.scorer import score_split
    from mien.train.checkpoint import load_trained

    _limit_threads(experiment.recipe)
    trained = load_trained(experiment.out, experiment.recipe.run.device)
    image, text = _uses(experiment)
    data = _inputs(experiment, split, image=image, text=text, texts=texts)
    trained.check(data)
    scores = score_split(trained.classifier, data)
    samples = experiment.samples(split)
    # Shown even where the model does not read them, so that a reader may.
    found = find_descriptions(experiment, samples).texts if experiment.store.exists() else {}
    keep_split(experiment.out, scores, samples, texts(found) if texts else found)
    return scores


def evaluate(run: Path, *, cache: Path, splits: Sequence[str] | None = None) -> Results:
    """Scores a run on the splits of its recipe, or on these, and writes `evaluation.json`."""
    from mien.evaluate.evaluation import write_evaluation

    experiment = reopen(run, cache=cache)
    options = experiment.recipe.evaluate
    scores = [score(experiment, split) for split in splits or options.splits]
    recipe = experiment.recipe
    return write_evaluation(
        experiment.out, scores, name=recipe.model.fusion, seed=recipe.train.seed, options=options
    )


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
        descriptions = find_descriptions(experiment, samples).texts
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


def subjects_of(images: Sequence[Path], box: str | None) -> list[Subject]:
    """One subject a picture; a box belongs to a single picture."""
    if box is not None and len(images) > 1:
        raise UsageError(f"one box for {len(images)} images", hint="give --box with a single image")
    return [Subject.still(str(path), path, None if box is None else _box(box)) for path in images]


def _box(text: str) -> Box:
    try:
        left, top, right, bottom = (float(edge) for edge in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"box {text!r} is not four numbers", hint="write it as left,top,right,bottom"
        ) from error
    return Box(left=left, top=top, right=right, bottom=bottom)


def predict(run: Path, subjects: Sequence[Subject]) -> list[Prediction]:
    """How the subjects appear to feel, by the model, engine and encoder of a run, on the run's device."""
    from mien.predict.predictor import Predictor

    recipe = recorded_recipe(run)
    _limit_threads(recipe)
    return Predictor.from_run(run, device=recipe.run.device).predict(subjects)
