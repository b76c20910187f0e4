"""How often the prediction sets of a run cover, and whether leaving people without an answer helps.

    python benchmarks/prediction_sets.py RUN [--out FILE] [--splits 200]

RUN has the scores of val and test (`mien evaluate RUN --split val --split test`). Sets and the lowest
confidence are fitted on val and judged on test. "exchangeable" fits them on one random half of the images of
test and judges them on the other, many times: what is left of the difference if images and annotation are
alike. "same_annotators" (runs of Playhouse) fits them on val as so many of its annotators labeled it as test
has, and judges them on test: what is left of the difference if only the images are others. "steps" are the
gains in accuracy from one share of people to the next smaller one, with paired 95 % intervals.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from mien.data.playhouse import Playhouse, combine_annotations
from mien.evaluate.bootstrap import RESAMPLES, resample_weights, resampled_interval
from mien.evaluate.calibration.abstention import answered_accuracy, are_right, confidences
from mien.evaluate.calibration.calibrate import fit_calibration
from mien.evaluate.calibration.conformal import fit_prediction_sets
from mien.evaluate.metrics.metric import unit_weight
from mien.evaluate.results.uncertainty import ANSWERED, build_abstention_rows, build_set_rows
from mien.evaluate.scores import SplitScores, scores_file
from mien.files import atomic_write_json, cache_directory
from mien.recipe.load import parse_recipe
from mien.runs import Run


def measure(run: Path, splits: int) -> dict[str, Any]:
    """Everything that the log reports."""
    val, test = (SplitScores.load(scores_file(run, split)) for split in ("val", "test"))
    calibration = fit_calibration(val)
    assert calibration.prediction_sets is not None
    return {
        "people": {"val": len(val), "test": len(test)},
        "images": {"val": len(set(val.groups)), "test": len(set(test.groups))},
        "labels_per_person": {
            one.split: float((one.targets >= 0.5).sum(axis=1).mean()) for one in (val, test)
        },
        "prediction_sets": [asdict(row) for row in build_set_rows(test, calibration.prediction_sets)],
        "exchangeable": _exchangeable(test, splits),
        "same_annotators": _same_annotators(run, val, test),
        "abstention": [asdict(row) for row in build_abstention_rows(test, calibration)],
        "steps": _steps(test, calibration.apply(test.scores)),
    }


def _exchangeable(scores: SplitScores, splits: int) -> list[dict[str, float]]:
    """The mean coverage over random halves, by stated coverage, and its standard error."""
    rng, images = np.random.default_rng(0), np.unique(np.array(scores.groups))
    found: dict[float, list[float]] = {}
    for _ in range(splits):
        chosen = set(rng.permutation(images)[: len(images) // 2].tolist())
        first = np.array([group in chosen for group in scores.groups])
        sets = fit_prediction_sets(_rows(scores, first, "val"), coverage=0.9)
        for row in build_set_rows(_rows(scores, ~first, "test"), sets, resamples=1):
            found.setdefault(row.coverage, []).append(row.value)
    return [
        {
            "coverage": coverage,
            "mean": float(np.mean(values)),
            "deviation": float(np.std(values)),
            "standard_error": float(np.std(values) / np.sqrt(len(values))),
        }
        for coverage, values in found.items()
    ]


def _same_annotators(run: Path, val: SplitScores, test: SplitScores) -> list[dict[str, float]]:
    """The coverage on test of sets fitted to val with the labels of as many annotators as test has.

    The mean of all choices of annotators, and the mean size of the sets; empty if the data are not Playhouse.
    """
    options = parse_recipe(dict(Run.open(run).manifest.recipe), [], where=str(run)).data
    if options.name != "playhouse":
        return []
    data = Playhouse(options, cache_directory())
    given = [data.scene("val", int(id.rpartition("/")[2]))[1] for id in val.ids]
    number = len(data.scene("test", 0)[1])
    found: dict[float, list[tuple[float, float]]] = {}
    for chosen in combinations(range(len(given[0])), number):
        targets = [
            val.label_set.encode(combine_annotations(tuple(one[index] for index in chosen)).labels)
            for one in given
        ]
        sets = fit_prediction_sets(replace(val, targets=np.array(targets, np.float32)), coverage=0.9)
        for row in build_set_rows(test, sets, resamples=1):
            found.setdefault(row.coverage, []).append((row.value, row.size))
    return [
        {
            "coverage": coverage,
            "annotators": number,
            "choices": len(values),
            "mean": float(np.mean([value for value, _ in values])),
            "lowest": min(value for value, _ in values),
            "highest": max(value for value, _ in values),
            "size": float(np.mean([size for _, size in values])),
        }
        for coverage, values in found.items()
    ]


def _rows(scores: SplitScores, chosen: np.ndarray, split: str) -> SplitScores:
    rows = np.flatnonzero(chosen).tolist()
    return replace(
        scores,
        split=split,
        ids=tuple(scores.ids[row] for row in rows),
        groups=tuple(scores.groups[row] for row in rows),
        scores=scores.scores[rows],
        targets=scores.targets[rows],
        dimensions=None,
        dimension_targets=None,
    )


def _steps(scores: SplitScores, calibrated: np.ndarray) -> list[Mapping[str, float]]:
    right = are_right(scores.targets, calibrated, exclusive=scores.label_set.exclusive)
    confidence = confidences(calibrated)
    value = answered_accuracy(right, confidence, ANSWERED, unit_weight(len(scores)))[:, 0]
    drawn = np.concatenate(
        [
            answered_accuracy(right, confidence, ANSWERED, weight)
            for weight in resample_weights(scores.groups, RESAMPLES, 0)
        ],
        axis=1,
    )
    found = []
    for row in range(1, len(ANSWERED)):
        step = resampled_interval(
            float(value[row] - value[row - 1]), drawn[row] - drawn[row - 1], is_difference=True
        )
        found.append({"from": ANSWERED[row - 1], "to": ANSWERED[row], **asdict(step)})
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--splits", type=int, default=200, help="random halves")
    options = parser.parse_args(arguments)
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "splits": options.splits,
        **measure(options.run, options.splits),
    }
    if options.out is not None:
        atomic_write_json(options.out, found)
    for row in found["prediction_sets"]:
        print(f"stated {row['coverage']:.2f}  test {row['value']:.4f}  {row['size']:.1f} labels")
    for row in found["exchangeable"]:
        print(f"stated {row['coverage']:.2f}  halves {row['mean']:.4f} +- {row['standard_error']:.4f}")
    for row in found["same_annotators"]:
        print(f"stated {row['coverage']:.2f}  same annotators {row['mean']:.4f}  {row['size']:.1f} labels")
    for row in found["abstention"]:
        print(f"{row['answered']:5.0%} {row['value']:.3f}  {row['low']:.3f} to {row['high']:.3f}")
    for row in found["steps"]:
        interval = f"{row['low']:+.4f} to {row['high']:+.4f}"
        print(f"{row['from']:.0%} to {row['to']:.0%}  {row['value']:+.4f}  {interval}")


if __name__ == "__main__":
    main()
