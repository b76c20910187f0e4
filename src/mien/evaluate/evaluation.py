"""What evaluating leaves in a run directory: scores, rows, and what was shown.

Goes in: the scores of a run's model, its samples and their descriptions. Comes out: `evaluation.json`,
and for each split `scores-<split>.npz` and `samples-<split>.jsonl`.
Knows nothing about: models, data sets, pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mien.evaluate.examples import examples_file, write_examples
from mien.evaluate.results import EVALUATION, Results, label_rows, score_rows, write_results
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
    run: Path, scores: Sequence[SplitScores], *, name: str, seed: int, options: EvaluateOptions
) -> Results:
    """Rates the model `name` of one training seed on each split, and writes `evaluation.json`."""
    results = Results(
        rows=tuple(
            row
            for split in scores
            for row in score_rows(
                name, [split], seeds=(seed,), metrics=options.metrics, resamples=options.bootstrap
            )
        ),
        labels=tuple(
            row for split in scores for row in label_rows([split], name=name, resamples=options.bootstrap)
        ),
    )
    write_results(run / EVALUATION, results)
    return results
