"""One variant of a grid with one seed: as it is opened, and as a worker process trains and scores it.

Goes in: a variant, its recipe, folders. Comes out: a run directory with the scores of one split.
Knows nothing about: other variants, tables, printing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from mien.ablation.controls import none_left, share_of, text_control
from mien.ablation.grid import Grid, Variant
from mien.errors import MienError
from mien.evaluate.scores import scores_file
from mien.model.checkpoint import MODEL_FILE
from mien.recipe import Recipe
from mien.runs import atomic_write_json
from mien.types import Sample
from mien.workflow import steps
from mien.workflow.experiment import Experiment, open_experiment

__all__ = ["Job", "jobs_of", "naming", "train_and_score"]

_FINISHED: Final = "variant.json"
_TRAIN: Final = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training; picklable, for it travels to another process. `run`: where it goes."""

    variant: Variant
    seed: int
    recipe: Recipe
    run: Path
    cache: Path
    split: str

    def experiment(self) -> Experiment:
        """The experiment of this variant; it learns from the variant's share of the pictures."""
        experiment = open_experiment(self.recipe, out=self.run, cache=self.cache)
        if self.variant.train_share == 1:
            return experiment
        return replace(experiment, sample_filter=partial(_select_train_share, share=self.variant.train_share))

    @property
    def is_finished(self) -> bool:
        """Whether this very variant was trained and scored here; nothing of it is read again."""
        try:
            found = json.loads((self.run / _FINISHED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        left = (self.run / MODEL_FILE, scores_file(self.run, self.split))
        return bool(found == self._about()) and all(file.exists() for file in left)

    def finish(self) -> None:
        """Leaves word that it is finished."""
        atomic_write_json(self.run / _FINISHED, self._about())

    def _about(self) -> dict[str, object]:
        return {
            **self.variant.to_json(),
            "recipe": self.recipe.digest(),
            "store": str(self.recipe.run.store),
            "split": self.split,
        }


def _select_train_share(split: str, samples: Sequence[Sample], *, share: float) -> Sequence[Sample]:
    """A share of the training images; all samples of other splits."""
    return share_of(samples, share) if split == _TRAIN else samples


def jobs_of(grid: Grid, *, out: Path, cache: Path, split: str) -> list[Job]:
    """A job for each variant and seed; all share one store and one feature cache, in `out` if the recipe
    names none."""
    jobs = []
    for variant in grid.variants:
        for seed in grid.seeds:
            recipe = grid.recipe(variant, seed)
            folders = {
                "store": recipe.run.store or out / "descriptions.sqlite",
                "cache": recipe.run.cache or out / "features",
                "out": None,
            }
            recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update=folders)})
            run = out / variant.name / f"seed-{seed}"
            jobs.append(Job(variant=variant, seed=seed, recipe=recipe, run=run, cache=cache, split=split))
    return jobs


def train_and_score(job: Job) -> Job:
    """Trains and scores one job in a worker process, on one core: what was begun is continued."""
    one_core = job.recipe.run.model_copy(update={"threads": 1})
    experiment = replace(job, recipe=job.recipe.model_copy(update={"run": one_core})).experiment()
    texts = text_control(job.variant.texts, experiment.dataset.label_set)
    scored = none_left if job.variant.scored_texts == "missing" else texts
    with naming(job.variant):
        steps.train(experiment, texts=texts)
        steps.score(experiment, job.split, texts=scored)
    job.finish()
    return job


@contextmanager
def naming(variant: Variant) -> Iterator[None]:
    """Errors say which variant they are about."""
    try:
        yield
    except MienError as error:
        named = type(error)(f"variant {variant.name}: {error}", hint=error.hint)
        named.retryable = error.retryable
        raise named from error
