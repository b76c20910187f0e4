"""One variant with one seed, on all training images or some: opened, trained and scored, in a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

from mien.ablation.controls import build_text_control, remove_texts, subsample_train
from mien.ablation.grid import Grid, Variant
from mien.digests import digest
from mien.documents import read_json
from mien.errors import MienError
from mien.evaluate.scores import scores_file
from mien.files import atomic_write_json
from mien.model.checkpoint import MODEL_FILE
from mien.recipe import Recipe
from mien.recipe.places import recorded_recipe
from mien.types import Sample
from mien.workflow import steps
from mien.workflow.dtypes import resolve_dtypes
from mien.workflow.experiment import Experiment, open_experiment
from mien.workflow.zero_shot import score_zero_shot

__all__ = [
    "TrainingJob",
    "build_jobs",
    "name_variant_in_errors",
    "open_in_worker",
    "run_folder",
    "train_and_score",
]

_FINISHED: Final = "variant.json"
# The samples of the data of the last job in this process, by the digest of the data.
_all_samples: dict[str, dict[str, list[Sample]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """The training of one variant with one seed in the run directory `run`; can be pickled.

    A variant without training is scored, once.

    `train_size` is the number of training images of a learning curve; None: the share of the variant.
    """

    variant: Variant
    seed: int
    recipe: Recipe
    run: Path
    cache: Path
    split: str
    train_size: int | None = None

    def __str__(self) -> str:
        size = "" if self.train_size is None else f"{self.train_size:,} images, "
        return f"{self.variant.name}, {size}seed {self.seed}"

    def open(self) -> Experiment:
        """The experiment of this job, which trains on its part of the images."""
        experiment = self.open_whole()
        size = self.variant.train_share if self.train_size is None else self.train_size
        if self.train_size is None and size == 1:
            return experiment
        return replace(experiment, sample_filter=partial(subsample_train, size=size))

    def open_whole(self) -> Experiment:
        """The same experiment on all of the images."""
        return open_experiment(self.recipe, out=self.run, cache=self.cache)

    @property
    def is_zero_shot(self) -> bool:
        """Whether the variant scores without training."""
        return self.recipe.zero_shot.method is not None

    @property
    def is_finished(self) -> bool:
        """Whether the run directory holds this variant, trained and scored."""
        try:
            recorded = read_json(self.run / _FINISHED)
        except (OSError, ValueError):
            return False
        files = [scores_file(self.run, self.split)]
        if not self.is_zero_shot:
            files.append(self.run / MODEL_FILE)
        # mien 0.1.0 recorded the store here, as an absolute path; the manifest knows where it is now.
        if not isinstance(recorded, dict) or not all(file.exists() for file in files):
            return False
        recorded.pop("store", None)
        return recorded == self._identity() and self._has_same_store()

    def _has_same_store(self) -> bool:
        try:
            held = recorded_recipe(self.run).run.store
        except MienError:
            return False
        ours = self.recipe.run.store
        return held is not None and ours is not None and held.resolve() == ours.absolute().resolve()

    def mark_finished(self) -> None:
        """Record in the run directory that the job is finished."""
        atomic_write_json(self.run / _FINISHED, self._identity())

    def _identity(self) -> dict[str, object]:
        # Present only if used, so that runs finished before there were sizes still count as finished.
        size = {} if self.train_size is None else {"train_size": self.train_size}
        return {
            **self.variant.to_json(),
            **size,
            "recipe": self.recipe.digest(),
            "split": self.split,
        }


def build_jobs(grid: Grid, *, out: Path, cache: Path, split: str) -> list[TrainingJob]:
    """A job per variant, size of the training split, and seed.

    All share one store and one feature cache, in `out` unless the recipe names them.
    """
    jobs = []
    for variant in grid.variants:
        sizes, seeds = grid.train_sizes or (None,), grid.seeds
        if grid.recipe(variant).zero_shot.method is not None:
            sizes, seeds = sizes[:1], seeds[:1]  # nothing depends on them
        for size, seed in product(sizes, seeds):
            recipe = grid.recipe(variant, seed, size)
            paths = {
                "store": recipe.run.store or out / "descriptions.sqlite",
                "cache": recipe.run.cache or out / "features",
                "out": None,
            }
            recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update=paths)})
            recipe, _ = resolve_dtypes(recipe, out)
            jobs.append(
                TrainingJob(
                    variant=variant,
                    seed=seed,
                    recipe=recipe,
                    run=run_folder(out, variant, seed, size),
                    cache=cache,
                    split=split,
                    train_size=size,
                )
            )
    return jobs


def run_folder(out: Path, variant: Variant, seed: int, train_size: int | None = None) -> Path:
    """Where an ablation in `out` trains a variant; `mien.recipe.places` knows the form."""
    folder = out / variant.name
    return (folder if train_size is None else folder / f"train-{train_size}") / f"seed-{seed}"


def open_in_worker(job: TrainingJob) -> Experiment:
    """The experiment of a job, on one core; jobs of a process on the same data read its samples once."""
    one_core = job.recipe.run.model_copy(update={"threads": 1})
    experiment = replace(job, recipe=job.recipe.model_copy(update={"run": one_core})).open()
    key = digest({"data": experiment.recipe.to_json()["data"], "cache": str(job.cache)})
    if key not in _all_samples:
        _all_samples.clear()
        _all_samples[key] = {}
    return replace(experiment, all_samples=_all_samples[key])


def train_and_score(job: TrainingJob) -> TrainingJob:
    """Train and score a job on one core, in a worker process; resumes an interrupted training."""
    experiment = open_in_worker(job)
    texts = build_text_control(job.variant.texts, experiment.dataset.label_set)
    scored_texts = remove_texts if job.variant.scored_texts == "missing" else texts
    with name_variant_in_errors(job.variant):
        if job.is_zero_shot:
            score_zero_shot(experiment, job.split)
            job.mark_finished()
            return job
        steps.train(experiment, texts=texts)
        steps.score(experiment, job.split, texts=scored_texts)
    job.mark_finished()
    return job


@contextmanager
def name_variant_in_errors(variant: Variant) -> Iterator[None]:
    """Put the name of a variant in front of error messages."""
    try:
        yield
    except MienError as error:
        named = type(error)(f"variant {variant.name}: {error}", hint=error.hint)
        named.retryable = error.retryable
        raise named from error
