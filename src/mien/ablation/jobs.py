"""One variant with one seed: opened, trained and scored, in a worker process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from mien.ablation.controls import build_text_control, remove_texts, subsample_train
from mien.ablation.grid import Grid, Variant
from mien.documents import read_json
from mien.errors import MienError
from mien.evaluate.scores import scores_file
from mien.files import atomic_write_json
from mien.model.checkpoint import MODEL_FILE
from mien.recipe import Recipe
from mien.recipe.places import recorded_recipe
from mien.workflow import steps
from mien.workflow.dtypes import resolve_dtypes
from mien.workflow.experiment import Experiment, open_experiment

__all__ = ["TrainingJob", "build_jobs", "name_variant_in_errors", "train_and_score"]

_FINISHED: Final = "variant.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """The training of one variant with one seed in the run directory `run`; can be pickled."""

    variant: Variant
    seed: int
    recipe: Recipe
    run: Path
    cache: Path
    split: str

    def open(self) -> Experiment:
        """The experiment of this job, which trains on the variant's share of the images."""
        experiment, share = self.open_whole(), self.variant.train_share
        if share == 1:
            return experiment
        return replace(experiment, sample_filter=partial(subsample_train, share=share))

    def open_whole(self) -> Experiment:
        """The same experiment on all of the images."""
        return open_experiment(self.recipe, out=self.run, cache=self.cache)

    @property
    def is_finished(self) -> bool:
        """Whether the run directory holds this variant, trained and scored."""
        try:
            recorded = read_json(self.run / _FINISHED)
        except (OSError, ValueError):
            return False
        files = (self.run / MODEL_FILE, scores_file(self.run, self.split))
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
        return {
            **self.variant.to_json(),
            "recipe": self.recipe.digest(),
            "split": self.split,
        }


def build_jobs(grid: Grid, *, out: Path, cache: Path, split: str) -> list[TrainingJob]:
    """A job per variant and seed.

    All share one store and one feature cache, in `out` unless the recipe names them.
    """
    jobs = []
    for variant in grid.variants:
        for seed in grid.seeds:
            recipe = grid.recipe(variant, seed)
            paths = {
                "store": recipe.run.store or out / "descriptions.sqlite",
                "cache": recipe.run.cache or out / "features",
                "out": None,
            }
            recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update=paths)})
            recipe, _ = resolve_dtypes(recipe, out)
            run = out / variant.name / f"seed-{seed}"
            jobs.append(
                TrainingJob(variant=variant, seed=seed, recipe=recipe, run=run, cache=cache, split=split)
            )
    return jobs


def train_and_score(job: TrainingJob) -> TrainingJob:
    """Train and score a job on one core, in a worker process; resumes an interrupted training."""
    one_core = job.recipe.run.model_copy(update={"threads": 1})
    experiment = replace(job, recipe=job.recipe.model_copy(update={"run": one_core})).open()
    texts = build_text_control(job.variant.texts, experiment.dataset.label_set)
    scored_texts = remove_texts if job.variant.scored_texts == "missing" else texts
    with name_variant_in_errors(job.variant):
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
