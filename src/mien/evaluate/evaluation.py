"""What evaluating leaves in a run directory: scores, rows, and what was shown.

Goes in: the scores of a run's model, its samples and their descriptions. Comes out: `evaluation.json`,
and for each split `scores-<split>.npz` and `samples-<split>.jsonl`.
Knows nothing about: models, data sets, pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.metrics.metric_inputs import metrics_of
from mien.evaluate.results.build import (
    EVALUATION,
    Look,
    Results,
    calibration_rows,
    dimension_rows,
    label_rows,
    score_rows,
    write_results,
)
from mien.evaluate.results.examples import examples_file, write_examples
from mien.evaluate.scores import SplitScores, scores_file
from mien.recipe import EvaluateOptions
from mien.types import Description, Sample

__all__ = ["keep_split", "write_evaluation"]


def keep_split(
    run: Path,
    scores: SplitScores,
    samples: Iterable[Sample],
    descriptions: Mapping[str, Description | str],
) -> None:
    """Keeps the scores of one split and what was shown of it, for reports and comparisons."""
    scores.save(scores_file(run, scores.split))
    write_examples(examples_file(run, scores.split), samples, descriptions)


def write_evaluation(
    run: Path,
    scores: Sequence[SplitScores],
    *,
    name: str,
    seed: int,
    options: EvaluateOptions,
    calibration: Calibration | None = None,
    looks: Sequence[Look] = (),
) -> Results:
    """Rates the model `name` of one training seed on each split, and writes `evaluation.json`.

    Metrics of what the model does not estimate are left out, and told of.
    `calibration`: what was fitted on the split that stops training; `looks`: how often splits were scored.
    """
    resamples = options.bootstrap
    results = Results()
    for split in scores:
        more = Results(
            rows=score_rows(
                name,
                [split],
                seeds=(seed,),
                metrics=metrics_of(options.metrics, [split]),
                resamples=resamples,
            ),
            labels=label_rows([split], name=name, resamples=resamples, calibration=calibration),
            dimensions=dimension_rows([split], name=name, resamples=resamples),
            calibration=()
            if calibration is None
            else calibration_rows(split, calibration, name=name, resamples=resamples),
            looks=tuple(look for look in looks if look.split == split.split),
        )
        results = _joined(results, more)
    write_results(run / EVALUATION, results)
    return results


def _joined(first: Results, second: Results) -> Results:
    return Results(
        **{field.name: getattr(first, field.name) + getattr(second, field.name) for field in fields(Results)}
    )
