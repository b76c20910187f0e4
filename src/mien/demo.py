"""The demonstration: the whole method on Playhouse, with controls, in minutes and without a download.

In: a folder. Out: runs for every variant and seed, `results.json`, a report, one prediction.
Knows nothing about: printing. It is the same code that the commands run, on a recipe of its own.

Variants: the fused model; the picture alone; the words alone; and three controls that should do worse than
fused: no box in either stage, descriptions shuffled between subjects, a plain caption in place of the
description.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from mien import pipeline
from mien.config import parse_recipe
from mien.describe.progress import Progress
from mien.errors import RunError
from mien.evaluate.evaluation import keep_split
from mien.evaluate.results import RESULTS, Results, compare, label_rows, score_rows, write_results
from mien.evaluate.scores import SplitScores, scores_file
from mien.experiment import Experiment, find_descriptions, open_experiment
from mien.recipe import Recipe
from mien.report.page import report
from mien.runs import Run
from mien.types import Prediction

__all__ = ["SEEDS", "VARIANTS", "Demo", "run_demo"]

SEEDS: Final = (0, 1, 2)
SIZES: Final = {"train": 640, "val": 120, "test": 400}
SPLIT: Final = "test"
METRIC: Final = "mAP"
SHUFFLED: Final = "shuffled"
FUSED: Final = "fused"

RECIPE: Final[Mapping[str, Any]] = {
    "name": "demo",
    "data": {"name": "playhouse", "options": {**SIZES, "seed": 2024}},
    "describe": {"engine": "local", "model": "playhouse", "prompt": "paper", "max_new_tokens": 100},
    "features": {"vision": "playhouse", "tokenizer": "playhouse", "max_text_tokens": 96},
    "model": {
        "fusion": "qformer",
        "width": 96,
        "layers": 2,
        "heads": 4,
        "num_queries": 8,
        "cross_every": 1,
        "options": {"feedforward": 2},
    },
    "train": {"epochs": 6, "batch_size": 16, "lr": 3e-3, "patience": 4},
    "run": {"batch_size": 32},
}
# What each variant changes. Shuffling is no knob of a recipe: nobody should train on it by mistake.
VARIANTS: Final[Mapping[str, tuple[str, ...]]] = {
    FUSED: (),
    "image_only": ("model.fusion=image_only",),
    "text_only": ("model.fusion=text_only",),
    "no_box": ("describe.marking=none",),
    SHUFFLED: (),
    "caption": ("describe.prompt=caption",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demonstration came to."""

    results: Results
    report: Path
    prediction: Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One training of one variant, as a worker process gets it."""

    variant: str
    seed: int
    out: Path
    cache: Path
    overrides: tuple[str, ...] = ()

    @property
    def run(self) -> Path:
        return self.out / self.variant / f"seed-{self.seed}"

    def recipe(self, *overrides: str) -> Recipe:
        """The demo's recipe with the variant's changes; runs share one store and one feature cache."""
        given = (
            *VARIANTS[self.variant],
            f"name={self.variant}",
            f"train.seed={self.seed}",
            *self.overrides,
            *overrides,
        )
        recipe = parse_recipe(RECIPE, given, where="demo")
        folders = {"store": self.out / "descriptions.sqlite", "cache": self.out / "features"}
        return recipe.model_copy(update={"run": recipe.run.model_copy(update=folders)})

    def experiment(self, *overrides: str) -> Experiment:
        return open_experiment(self.recipe(*overrides), out=self.run, cache=self.cache)


def run_demo(
    out: Path,
    *,
    cache: Path,
    note: Callable[[str], None] = lambda _: None,
    on_describe: Callable[[Progress], None] | None = None,
    seeds: Sequence[int] = SEEDS,
    overrides: Sequence[str] = (),
) -> Demo:
    """Everything; what an earlier, broken-off demo finished in `out` is not done again.

    `overrides` change the recipe of every variant, as `--set` does.
    """
    out = out.absolute()
    jobs = [
        _Job(variant=name, seed=seed, out=out, cache=cache, overrides=tuple(overrides))
        for name in VARIANTS
        for seed in seeds
    ]
    _settle(out, _first(jobs, FUSED))
    for name in (FUSED, "no_box", "caption"):
        note(f"describing Playhouse: {name}")
        pipeline.describe(_first(jobs, name).experiment(), on_progress=on_describe)
    for name in (FUSED, "no_box"):
        note(f"encoding the pictures: {name}")
        pipeline.encode(_first(jobs, name).experiment())
    note(f"training {len(jobs)} models: {', '.join(VARIANTS)}, {len(seeds)} seeds each")
    # Forking a process that has run torch may hang; two workers, because a model is small enough for one
    # core.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for job in pool.map(_train, jobs):
            note(f"trained {job.variant}, seed {job.seed}")
    return _conclude(out, jobs, seeds)


def _settle(out: Path, first: _Job) -> None:
    """Makes the demo's own run directory, or sees that an earlier demo there was this one."""
    recipe = first.recipe().model_copy(update={"name": "demo"})
    try:
        Run.open_or_create(out, command="demo", recipe=recipe.to_json(), digest=recipe.digest())
    except RunError as error:
        raise RunError(str(error), hint=f"delete {out}, or give another folder with --out") from error


def _first(jobs: Sequence[_Job], variant: str) -> _Job:
    return next(job for job in jobs if job.variant == variant)


def _train(job: _Job) -> _Job:
    """Trains and scores one job in a worker process."""
    experiment = job.experiment("run.threads=1")
    texts = _shuffled if job.variant == SHUFFLED else None
    pipeline.train(experiment, texts=texts)
    pipeline.score(experiment, "test", texts=texts)
    return job


def _shuffled(texts: Mapping[str, str]) -> dict[str, str]:
    """Every subject gets another subject's description."""
    ids = sorted(texts)
    random.Random(len(ids)).shuffle(ids)
    return {here: texts[there] for here, there in zip(ids, [*ids[1:], ids[0]], strict=True)}


def _conclude(out: Path, jobs: Sequence[_Job], seeds: Sequence[int]) -> Demo:
    """The table, the report, and one prediction of the fused model."""
    first = _first(jobs, FUSED)
    experiment = first.experiment()
    scores = {
        name: [SplitScores.load(scores_file(job.run, SPLIT)) for job in jobs if job.variant == name]
        for name in VARIANTS
    }
    results = Results(
        rows=tuple(row for name, runs in scores.items() for row in score_rows(name, runs, seeds=seeds)),
        differences=tuple(
            compare((FUSED, scores[FUSED]), (name, runs), metric_name=METRIC)
            for name, runs in scores.items()
            if name != FUSED
        ),
        labels=label_rows(scores[FUSED], name=FUSED),
    )
    write_results(out / RESULTS, results)
    samples = experiment.samples(SPLIT)
    keep_split(out, scores[FUSED][0], samples, find_descriptions(experiment, samples).texts)
    (prediction,) = pipeline.predict(first.run, [samples[0].subject])
    return Demo(results=results, report=report(out), prediction=prediction)
