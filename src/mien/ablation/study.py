"""A whole ablation: checked, described, encoded, trained, scored, compared, and written down.

Goes in: a grid, a folder. Comes out: `results.json` and a page there, and an `Ablation`.
Knows nothing about: printing, the environment, how any room works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Literal

from mien.ablation.grid import Grid
from mien.ablation.inputs import Opened, Reused, check, describe_missing, encode_missing, open_whole
from mien.ablation.jobs import Job, jobs_of, train_and_score
from mien.describe.progress import Progress
from mien.errors import ConfigError, RunError
from mien.evaluate.evaluation import save_split
from mien.evaluate.metrics.metric_inputs import select_metrics
from mien.evaluate.metrics.table import default_metrics, resolve_metric
from mien.evaluate.results.build import build_difference, build_label_rows, build_score_rows
from mien.evaluate.results.results import RESULTS, Results, write_results
from mien.evaluate.scores import SplitScores, scores_file
from mien.recipe import Recipe
from mien.report.run.page import write_report
from mien.runs import Run
from mien.workflow.experiment import find_texts

__all__ = ["Ablation", "ablate", "ablation_folder"]

_WORKERS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """What an ablation came to; `reused` by kind: descriptions, features, runs."""

    results: Results
    reference: str
    metric: str
    split: str
    reused: Mapping[str, Reused]
    out: Path
    report: Path

    def to_json(self) -> dict[str, Any]:
        """`rows` and `differences` as in `results.json`, and the rest beside them, as plain JSON values."""
        return {
            **asdict(self.results),
            "reference": self.reference,
            "metric": self.metric,
            "split": self.split,
            "reused": {kind: {"n": one.there, "of": one.wanted} for kind, one in self.reused.items()},
            "report": str(self.report),
        }


def ablation_folder(grid: Grid) -> Path:
    """Where an ablation goes if nobody says."""
    return Path("runs") / grid.name


def ablate(
    grid: Grid,
    out: Path,
    *,
    cache: Path,
    command: str = "ablate",
    note: Callable[[str], None] = lambda _: None,
    on_describe: Callable[[Progress], None] | None = None,
) -> Ablation:
    """Everything; what was finished in `out` before is not done again, nor what variants have in common.

    Raises the error of the first variant that cannot run, by its name, before anything is made.
    """
    out = out.absolute()
    recipe = grid.recipe(grid.referred)
    split = grid.split or recipe.evaluate.splits[0]
    jobs = jobs_of(grid, out=out, cache=cache, split=split)
    one_each = open_whole([job for job in jobs if job.seed == grid.seeds[0]])
    check(one_each, metrics=_named_metrics(grid, recipe))
    _require_common_metric(grid, one_each)
    _settle(out, recipe.model_copy(update={"name": grid.name}), command)
    reused = {
        "descriptions": describe_missing(one_each, note=note, on_progress=on_describe),
        "features": encode_missing(one_each, note=note),
        "runs": _train(jobs, note),
    }
    return _conclude(grid, jobs, out, reused)


def _named_metrics(grid: Grid, recipe: Recipe) -> Sequence[str]:
    asked = recipe.evaluate.metrics
    return (*(() if asked == "auto" else asked), *([grid.metric] if grid.metric else []))


def _require_common_metric(grid: Grid, variants: Sequence[Opened]) -> None:
    """ConfigError if there is nothing by which all variants can be compared."""
    label_set = variants[0].experiment.dataset.label_set
    every = [one.recipe.train.heads for one in variants]
    labels, dimensions = "dimensions" not in every, "labels" not in every
    asked = grid.recipe(grid.referred).evaluate.metrics
    usual = default_metrics(label_set, dimensions=dimensions, labels=labels) if asked == "auto" else asked
    names = [grid.metric] if grid.metric else usual
    if not any(resolve_metric(name, label_set).fits(labels=labels, dimensions=dimensions) for name in names):
        raise ConfigError(
            f"variants with train.heads {', '.join(dict.fromkeys(every))} have none of "
            f"{', '.join(names)} in common",
            hint="let all of them learn what is compared, or name a metric of what they all learn",
        )


def _settle(out: Path, recipe: Recipe, command: str) -> None:
    """Makes the ablation's own run directory, or sees that an earlier one there was of this reference."""
    try:
        Run.open_or_create(out, command=command, recipe=recipe.to_json(), digest=recipe.digest())
    except RunError as error:
        raise RunError(str(error), hint=f"delete {out}, or give another folder with --out") from error


def _train(jobs: Sequence[Job], note: Callable[[str], None]) -> Reused:
    """Trains and scores what is not finished."""
    waiting = [job for job in jobs if not job.is_finished]
    if waiting:
        names = ", ".join(dict.fromkeys(job.variant.name for job in waiting))
        note(f"training {len(waiting)} models: {names}")
        # Forking a process that has run torch may hang; two workers, because a model is small enough for one
        # core.
        with ProcessPoolExecutor(_WORKERS, mp_context=get_context("spawn")) as pool:
            for job in pool.map(train_and_score, waiting):
                note(f"trained {job.variant.name}, seed {job.seed}")
    return Reused(len(jobs) - len(waiting), len(jobs))


def _conclude(grid: Grid, jobs: Sequence[Job], out: Path, reused: Mapping[str, Reused]) -> Ablation:
    """The rows and differences, the files, the page."""
    scores = {
        variant.name: [
            SplitScores.load(scores_file(job.run, job.split)) for job in jobs if job.variant == variant
        ]
        for variant in grid.variants
    }
    options = grid.recipe(grid.referred).evaluate
    every = [run for runs in scores.values() for run in runs]
    name, reference = _metric(grid, every), (grid.reference, scores[grid.reference])
    rows = [
        build_score_rows(
            one,
            runs,
            seeds=grid.seeds,
            metrics=_shown(options.metrics, name, runs),
            resamples=options.bootstrap,
        )
        for one, runs in scores.items()
    ]
    # The reference first: the page shows the labels of whoever comes first.
    labels = [
        build_label_rows(scores[one], name=one, resamples=options.bootstrap)
        for one in sorted(scores, key=lambda name: name != grid.reference)
    ]
    results = Results(
        rows=tuple(row for found in rows for row in found),
        differences=tuple(
            build_difference(reference, other, metric=name, resamples=options.bootstrap)
            for other in scores.items()
            if other[0] != grid.reference
        ),
        labels=tuple(row for found in labels for row in found),
    )
    write_results(out / RESULTS, results)
    _keep_examples(next(job for job in jobs if job.variant == grid.referred), reference[1][0], out)
    return Ablation(
        results=results,
        reference=grid.reference,
        metric=name,
        split=reference[1][0].split,
        reused=reused,
        out=out,
        report=write_report(out),
    )


def _metric(grid: Grid, runs: Sequence[SplitScores]) -> str:
    """The metric of the differences: the grid's, else the first of the recipe that all of these runs have."""
    if grid.metric is not None:
        return resolve_metric(grid.metric, runs[0].label_set).name
    return select_metrics(grid.recipe(grid.referred).evaluate.metrics, runs)[0]


def _shown(
    asked: Literal["auto"] | Sequence[str], compared_by: str, runs: Sequence[SplitScores]
) -> Sequence[str]:
    """The metrics of a variant's rows: what the recipe asks for, and by what variants are compared."""
    return tuple(dict.fromkeys((*select_metrics(asked, runs), compared_by)))


def _keep_examples(job: Job, scores: SplitScores, out: Path) -> None:
    """What the page shows of the reference's first seed."""
    experiment = job.experiment()
    samples = experiment.samples(job.split)
    save_split(out, scores, samples, find_texts(experiment, samples))
