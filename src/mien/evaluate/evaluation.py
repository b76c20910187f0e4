"""What evaluating leaves in a run directory: scores and samples of each split, and `evaluation.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mien.evaluate.analysis.groups import build_group_rows
from mien.evaluate.calibration.calibrate import Calibration
from mien.evaluate.metrics.metric_inputs import select_metrics
from mien.evaluate.results.build import (
    build_calibration_rows,
    build_dimension_rows,
    build_label_rows,
    build_score_rows,
    describe_intervals,
)
from mien.evaluate.results.examples import examples_file, read_attributes, write_examples
from mien.evaluate.results.results import EVALUATION, Evaluation, SharedImages, SplitAccess, write_results
from mien.evaluate.results.uncertainty import rate_uncertainty
from mien.evaluate.results.votes import Votes
from mien.evaluate.scores import SplitScores, scores_file
from mien.recipe import EvaluateOptions
from mien.types import Description, Sample

__all__ = ["save_split", "write_evaluation"]


def save_split(
    run: Path,
    scores: SplitScores,
    samples: Iterable[Sample],
    descriptions: Mapping[str, Description | str],
    *,
    votes: Mapping[str, Votes] | None = None,
    attributes: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Saves the scores and samples of one split in a run directory, for reports and comparisons.

    Writes `scores-<split>.npz` and `samples-<split>.jsonl`. Descriptions, votes and attributes are by
    subject id.
    """
    scores.save(scores_file(run, scores.split))
    path = examples_file(run, scores.split)
    write_examples(path, samples, descriptions, votes=votes, attributes=attributes)


def write_evaluation(
    run: Path,
    scores: Sequence[SplitScores],
    *,
    name: str,
    seed: int,
    options: EvaluateOptions,
    calibration: Calibration | None = None,
    split_accesses: Sequence[SplitAccess] = (),
    shared_images: Sequence[SharedImages] = (),
    more: Evaluation | None = None,
) -> Evaluation:
    """Rates a model on each split, and writes `evaluation.json`.

    Args:
        run: The run directory.
        scores: The model's scores, one value per split.
        name: The model's name in the results.
        seed: Its training seed.
        options: Which metrics, and how many resamples. Metrics of what the model does not predict are
            omitted, with a warning in the log.
        calibration: What was fitted on the split that stops training.
        split_accesses: How often splits were scored.
        shared_images: What the splits share with those of training.
        more: Further results, such as notes, to write with them.
    """
    resamples = options.bootstrap
    results = Evaluation(shared_images=tuple(shared_images)) + (more or Evaluation())
    for split in scores:
        results += Evaluation(
            rows=build_score_rows(
                name,
                [split],
                seeds=(seed,),
                metrics=select_metrics(options.metrics, [split]),
                resamples=resamples,
            ),
            labels=build_label_rows([split], name=name, resamples=resamples, calibration=calibration),
            dimensions=build_dimension_rows([split], name=name, resamples=resamples),
            calibration=()
            if calibration is None
            else build_calibration_rows(split, calibration, name=name, resamples=resamples),
            split_accesses=tuple(access for access in split_accesses if access.split == split.split),
        )
        results += Evaluation(
            groups=build_group_rows(split, read_attributes(run, split.split), name=name, resamples=resamples)
        )
        results += rate_uncertainty(split, calibration, name=name, resamples=resamples)
        results += describe_intervals(split)
    write_results(run / EVALUATION, results)
    return results
