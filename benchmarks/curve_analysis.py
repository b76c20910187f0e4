"""Where image and description help each other on Playhouse: by label, and in seen and unseen situations.

    python benchmarks/curve_analysis.py OUT [--sizes 400 1600 6400]

OUT is the folder of `mien ablate recipes/ablations/curve.toml`. A situation is a setting, an occasion and
what the person holds. Prints JSON. For each number of training scenes: "by_situation" has the scores of the
test people in situations that occur in these training scenes ("seen"), and of the others ("unseen"), with the
paired differences of fused from image only and from description only and their 95 % intervals; "by_label" has
the average precision of the three per label.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from mien.ablation.controls import subsample_images
from mien.data.playhouse import Playhouse
from mien.evaluate.bootstrap import difference, interval
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.results.results import RESULTS
from mien.evaluate.scores import SplitScores, scores_file
from mien.files import cache_directory
from mien.playhouse.situations import Situation
from mien.types import Sample
from mien.workflow.experiment import load_experiment

SPLIT: Final = "test"
FUSED: Final = "fused"
OTHERS: Final = ("image_only", "text_only")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[400, 1600, 6400])
    options = parser.parse_args()
    experiment = load_experiment(options.out, cache=cache_directory())
    assert isinstance(experiment.dataset, Playhouse)
    playhouse, train = experiment.dataset, list(experiment.samples("train"))
    tested = [situation(playhouse, sample) for sample in experiment.samples(SPLIT)]
    found: dict[str, Any] = {}
    for size in options.sizes:
        shown = {situation(playhouse, sample) for sample in subsample_images(train, size)}
        seen = np.array([one in shown for one in tested])
        runs = {name: load_runs(options.out / name / f"train-{size}") for name in (FUSED, *OTHERS)}
        found[str(size)] = {
            "by_situation": {"seen": compare(runs, seen), "unseen": compare(runs, ~seen)},
            "by_label": by_label(options.out, size),
        }
    print(json.dumps(found, indent=1))


def situation(playhouse: Playhouse, sample: Sample) -> Situation:
    """The situation of the person whom the labels describe."""
    split, _, index = sample.subject.id.partition("/")
    scene, _ = playhouse.scene(split, int(index))
    return scene.situation


def load_runs(folder: Path) -> list[SplitScores]:
    """The scores of all seeds."""
    return [SplitScores.load(scores_file(run, SPLIT)) for run in sorted(folder.glob("seed-*"))]


def compare(runs: Mapping[str, Sequence[SplitScores]], chosen: np.ndarray) -> dict[str, Any]:
    """Scores of some of the people, and paired differences."""
    inputs = {name: as_input(scores, chosen) for name, scores in runs.items()}
    groups = [group for group, is_chosen in zip(runs[FUSED][0].groups, chosen, strict=True) if is_chosen]
    report: dict[str, Any] = {"people": int(chosen.sum())}
    for name, one in inputs.items():
        bounds = interval(one, groups=groups)
        report[name] = [round(value, 4) for value in (one.value(), bounds.low, bounds.high)]
    for name in OTHERS:
        gain = difference(inputs[FUSED], inputs[name], groups=groups)
        report[f"{FUSED} - {name}"] = [round(value, 4) for value in (gain.value, gain.low, gain.high)]
    return report


def as_input(runs: Sequence[SplitScores], chosen: np.ndarray) -> MetricInput:
    targets = runs[0].targets[chosen]
    metric = resolve_metric("mAP", runs[0].label_set)
    return MetricInput(metric=metric, targets=targets, scores=[run.scores[chosen] for run in runs])


def by_label(out: Path, size: int) -> dict[str, dict[str, float]]:
    """Average precision per label; first where fused loses most against the better of the others."""
    table: dict[str, dict[str, float]] = {}
    for row in json.loads((out / RESULTS).read_text(encoding="utf-8"))["labels"]:
        if row["train_size"] == size and row["name"] in (FUSED, *OTHERS):
            table.setdefault(row["label"], {"positives": row["positives"]})[row["name"]] = round(
                row["value"], 4
            )
    return dict(
        sorted(table.items(), key=lambda item: item[1][FUSED] - max(item[1][name] for name in OTHERS))
    )


if __name__ == "__main__":
    main()
