"""A whole ablation: check, describe, encode, train, score, compare, and write results and a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NotRequired, TypedDict

from mien.ablation.grid import Grid
from mien.ablation.jobs import TrainingJob, build_jobs, train_and_score
from mien.ablation.prepare import (
    OpenedVariant,
    ReuseCount,
    check_variants,
    describe_missing,
    encode_missing,
    open_variants,
)
from mien.ablation.workers import worker_pool
from mien.describe.progress import Progress
from mien.errors import ConfigError, RunError
from mien.evaluate.analysis.groups import build_group_rows
from mien.evaluate.metrics.metric_inputs import select_metrics
from mien.evaluate.metrics.table import default_metrics, resolve_metric
from mien.evaluate.results.build import (
    build_difference,
    build_label_rows,
    build_score_rows,
    describe_intervals,
    mark_uncalibrated,
)
from mien.evaluate.results.examples import read_attributes
from mien.evaluate.results.results import RESULTS, Evaluation, write_results
from mien.evaluate.scores import SplitScores, scores_file
from mien.locks import lock_run
from mien.recipe import Recipe
from mien.report.run.page import CURVE, write_report
from mien.runs import Run
from mien.train.loop import open_run
from mien.workflow.dtypes import record_dtypes, resolve_dtypes
from mien.workflow.experiment import find_texts, save_scored

__all__ = ["Ablation", "AblationFacts", "ablate", "default_folder"]

_NUM_WORKERS: Final = 2  # each uses one core


class ReusedDict(TypedDict):
    """What existed, or was made for another variant.

    Attributes:
        n: How many existed.
        of: How many were needed.
    """

    n: int
    of: int


class AblationFacts(TypedDict):
    """What the results of an ablation say beyond rows and differences.

    Attributes:
        reference: The variant that others are compared with.
        metric: The metric of the differences.
        split: The split of all scores.
        reused: How many descriptions, features and runs existed, by kind.
        report: The file of the page.
        curve: The file of the learning curve; missing without one.
    """

    reference: str
    metric: str
    split: str
    reused: dict[str, ReusedDict]
    report: str
    curve: NotRequired[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """The results of an ablation; `reused` counts descriptions, features and runs.

    `curve` is the figure of a learning curve.
    """

    results: Evaluation
    reference: str
    metric: str
    split: str
    reused: Mapping[str, ReuseCount]
    out: Path
    report: Path
    curve: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `rows` and `differences` are as in `results.json`."""
        facts: AblationFacts = {
            "reference": self.reference,
            "metric": self.metric,
            "split": self.split,
            "reused": {kind: {"n": count.reused, "of": count.total} for kind, count in self.reused.items()},
            "report": str(self.report),
        }
        if self.curve is not None:
            facts["curve"] = str(self.curve)
        return {**asdict(self.results), **facts}


def default_folder(grid: Grid) -> Path:
    """Where an ablation is written by default."""
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
    """Run an ablation; reuses what exists in `out` and what variants have in common.

    Args:
        grid: The variants and seeds.
        out: The directory for the runs, `results.json` and the page.
        cache: A directory for files that can be regenerated.
        command: The command to record in the run directory.
        note: Called with a sentence when a stage starts.
        on_describe: Called with the progress of describing.

    Raises:
        MienError: A variant cannot run. The error names it, and is raised before anything is written.
        RunLockedError: Another process writes to `out`.
    """
    out = out.absolute()
    recipe, stated_dtypes = resolve_dtypes(grid.reference_recipe, out)
    split = grid.split or recipe.evaluate.splits[0]
    jobs = build_jobs(grid, out=out, cache=cache, split=split)
    variants = open_variants([next(job for job in jobs if job.variant == one) for one in grid.variants])
    check_variants(variants, metrics=_named_metrics(grid, recipe), train_sizes=grid.train_sizes)
    _check_common_metric(grid, variants)
    with lock_run(out):
        _open_run(out, recipe.model_copy(update={"name": grid.name}), command)
        record_dtypes(out, stated_dtypes)
        reused = {
            "descriptions": describe_missing(variants, note=note, on_progress=on_describe),
            "features": encode_missing(variants, note=note),
            "runs": _train(jobs, note),
        }
        return _summarize(grid, jobs, out, reused)


def _named_metrics(grid: Grid, recipe: Recipe) -> Sequence[str]:
    named = recipe.evaluate.metrics
    return (*(() if named == "auto" else named), *([grid.metric] if grid.metric else []))


def _check_common_metric(grid: Grid, variants: Sequence[OpenedVariant]) -> None:
    """Raise ConfigError if no metric applies to all variants."""
    label_set = variants[0].experiment.dataset.label_set
    heads = ["labels" if variant.job.is_zero_shot else variant.recipe.train.heads for variant in variants]
    labels, dimensions = "dimensions" not in heads, "labels" not in heads
    named = grid.reference_recipe.evaluate.metrics
    metrics = default_metrics(label_set, dimensions=dimensions, labels=labels) if named == "auto" else named
    names = [grid.metric] if grid.metric else metrics
    if not any(resolve_metric(name, label_set).fits(labels=labels, dimensions=dimensions) for name in names):
        raise ConfigError(
            f"variants with train.heads {', '.join(dict.fromkeys(heads))} have none of "
            f"{', '.join(names)} in common",
            hint="let all variants learn what the metric scores, or choose another metric",
        )


def _open_run(out: Path, recipe: Recipe, command: str) -> None:
    """Open or create the ablation's run directory; raises RunError if it belongs to another reference."""
    try:
        open_run(recipe, out, command=command)
    except RunError as error:
        raise RunError(str(error), hint=f"delete {out}, or choose another directory with --out") from error


def _train(jobs: Sequence[TrainingJob], note: Callable[[str], None]) -> ReuseCount:
    """Train and score the jobs that are not finished, the longest first: no process idles for long."""
    waiting = sorted((job for job in jobs if not job.is_finished), key=lambda job: -(job.train_size or 0))
    if waiting:
        names = ", ".join(dict.fromkeys(job.variant.name for job in waiting))
        note(f"training {len(waiting)} models: {names}")
        with worker_pool(_NUM_WORKERS) as pool:
            for job in pool.map(train_and_score, waiting):
                note(f"trained {job}")
    return ReuseCount(len(jobs) - len(waiting), len(jobs))


def _summarize(
    grid: Grid, jobs: Sequence[TrainingJob], out: Path, reused: Mapping[str, ReuseCount]
) -> Ablation:
    """Compute and write the rows, the differences and the page."""
    sizes = grid.train_sizes or (None,)
    scored: dict[tuple[str, int | None], list[SplitScores]] = {}
    for job in jobs:
        found = SplitScores.load(scores_file(job.run, job.split))
        scored.setdefault((job.variant.name, job.train_size), []).append(found)
    metric_name = _comparison_metric(grid, [run for runs in scored.values() for run in runs])
    # The page shows examples of the reference, trained on the most images.
    shown = next(job for job in jobs if job.variant == grid.reference_variant and job.train_size == sizes[-1])
    shown_scores = scored[shown.variant.name, shown.train_size][0]
    results = describe_intervals(shown_scores)
    for size in sizes:
        of_size = {variant.name: scored[variant.name, size] for variant in grid.variants}
        results += _at_size(_compare_variants(grid, of_size, metric_name), size)
    _save_examples(shown, shown_scores, out)
    results += Evaluation(
        groups=build_group_rows(
            shown_scores,
            read_attributes(out, shown_scores.split),
            name=grid.reference,
            resamples=grid.reference_recipe.evaluate.bootstrap,
        )
    )
    write_results(out / RESULTS, results)
    Run.open(out).record_command()
    return Ablation(
        results=results,
        reference=grid.reference,
        metric=metric_name,
        split=shown_scores.split,
        reused=reused,
        out=out,
        report=write_report(out),
        curve=out / CURVE if grid.train_sizes else None,
    )


def _compare_variants(grid: Grid, scores: Mapping[str, Sequence[SplitScores]], metric: str) -> Evaluation:
    """Rows of the variants, by name, and their differences from the reference."""
    options = grid.reference_recipe.evaluate
    rows = [
        build_score_rows(
            name,
            runs,
            seeds=grid.seeds[: len(runs)],  # one without training
            metrics=_row_metrics(options.metrics, metric, runs),
            resamples=options.bootstrap,
        )
        for name, runs in scores.items()
    ]
    # The page shows the labels of the first variant, so the reference comes first.
    labels = [
        build_label_rows(scores[name], name=name, resamples=options.bootstrap)
        for name in sorted(scores, key=lambda name: name != grid.reference)
    ]
    untrained = [
        variant.name for variant in grid.variants if grid.recipe(variant).zero_shot.method is not None
    ]
    compared = {row.name for variant_rows in rows for row in variant_rows if row.metric == metric}
    return Evaluation(
        rows=tuple(row for variant_rows in rows for row in variant_rows),
        differences=tuple(
            build_difference(
                (grid.reference, scores[grid.reference]),
                (name, runs),
                metric=metric,
                resamples=options.bootstrap,
            )
            for name, runs in scores.items()
            if name != grid.reference and {name, grid.reference} <= compared  # the others do not define it
        ),
        labels=tuple(row for variant_rows in labels for row in variant_rows),
    ) + mark_uncalibrated(untrained)


def _at_size(results: Evaluation, size: int | None) -> Evaluation:
    """The same results, marked as those of models trained on `size` images."""
    return replace(
        results,
        rows=tuple(replace(row, train_size=size) for row in results.rows),
        differences=tuple(replace(item, train_size=size) for item in results.differences),
        labels=tuple(replace(row, train_size=size) for row in results.labels),
    )


def _comparison_metric(grid: Grid, runs: Sequence[SplitScores]) -> str:
    """The metric of the differences: the grid's, else the first of the recipe that all runs have."""
    if grid.metric is not None:
        return resolve_metric(grid.metric, runs[0].label_set).name
    return select_metrics(grid.reference_recipe.evaluate.metrics, runs)[0]


def _row_metrics(
    named: Literal["auto"] | Sequence[str], compared_by: str, runs: Sequence[SplitScores]
) -> Sequence[str]:
    """The metrics of a variant's rows: the recipe's, and the metric of the differences."""
    return tuple(dict.fromkeys((*select_metrics(named, runs), compared_by)))


def _save_examples(job: TrainingJob, scores: SplitScores, out: Path) -> None:
    """Save the scores and samples of the reference's first seed, which the page shows."""
    experiment = job.open()
    samples = experiment.samples(job.split)
    save_scored(experiment, scores, samples, find_texts(experiment, samples), out)
