"""Training on the union, the majority or the shares of annotators, each rated on all three, on Playhouse.

    python benchmarks/soft_targets.py --work FOLDER [--train 640] [--test 1600] [--seeds 3]
        [--set run.store=...] [--out results.json]

Four trainings per seed differ in what they learn from the same scenes: one annotator per person in train
(as in EMOTIC), and five annotators as union, as majority and as shares. The epoch is chosen by the same
kind of target on val. Descriptions, features and runs are made in FOLDER unless they are there. Each model
is rated on the test split against the union and the majority of its three annotators, by mAP, and against
their shares, by the mean squared difference from the uncalibrated score ("Brier"; lower is better).
Differences are from the union of five, with paired 95 % intervals over images; all are means over seeds.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from mien.cli import main as run_command
from mien.data.annotators import Combination
from mien.evaluate.analysis.annotators import with_truth
from mien.evaluate.bootstrap import RESAMPLES, resample_weights
from mien.evaluate.results.build import build_difference, build_score_rows
from mien.evaluate.scores import SplitScores, scores_file
from mien.files import atomic_write_json, cache_directory
from mien.types import Target
from mien.workflow.experiment import load_experiment

VARIANTS: Final[dict[str, tuple[int, Combination]]] = {
    "one": (1, "combined"),
    "union": (5, "combined"),
    "majority": (5, "majority"),
    "soft": (5, "soft"),
}
TRUTHS: Final[dict[str, Combination]] = {"union": "combined", "majority": "majority"}
REFERENCE: Final = "union"


def make_runs(work: Path, recipe: str, seeds: int, overrides: Sequence[str]) -> None:
    shared = [f"run.store={work / 'descriptions.sqlite'}", f"run.cache={work / 'features'}", *overrides]
    words = [word for one in shared for word in ("--set", one)]
    assert run_command(["describe", "run", recipe, *words, "--out", str(work / "described")]) == 0
    for seed in range(seeds):
        for name, (annotators, target) in VARIANTS.items():
            run = work / "runs" / name / f"seed-{seed}"
            own = [f"train.seed={seed}", f"data.options.train_annotators={annotators}"]
            own = [word for one in (*own, f"data.options.target={target}") for word in ("--set", one)]
            assert run_command(["train", recipe, *words, *own, "--out", str(run)]) == 0
            if not scores_file(run, "test").exists():
                assert run_command(["evaluate", str(run), "--split", "test"]) == 0


def load_scores(work: Path, seeds: int) -> dict[str, list[SplitScores]]:
    return {
        name: [
            SplitScores.load(scores_file(work / "runs" / name / f"seed-{seed}", "test"))
            for seed in range(seeds)
        ]
        for name in VARIANTS
    }


def measure(work: Path, seeds: int) -> dict[str, Any]:
    scores = load_scores(work, seeds)
    experiment = load_experiment(work / "runs" / REFERENCE / "seed-0", cache=cache_directory())
    answers = {record.sample.subject.id: record.annotations for record in experiment.dataset.records("test")}
    found: dict[str, Any] = {"mAP": [], "differences": []}
    for truth, how in TRUTHS.items():
        judged = {name: [with_truth(one, answers, how) for one in runs] for name, runs in scores.items()}
        for name, runs in judged.items():
            rows = build_score_rows(name, runs, seeds=range(seeds), metrics=["mAP"])
            found["mAP"] += [{"truth": truth, **asdict(row)} for row in rows]
            if name != REFERENCE:
                pair = build_difference((name, runs), (REFERENCE, judged[REFERENCE]), metric="mAP")
                found["differences"].append({"truth": truth, **asdict(pair)})
    found["brier_to_shares"] = _brier(scores, answers)
    return found


def _brier(scores: dict[str, list[SplitScores]], answers: dict[str, tuple[Target, ...]]) -> dict[str, Any]:
    """The mean squared difference of scores and shares, and that of the base rate of each share."""
    shares = with_truth(scores[REFERENCE][0], answers, "soft").targets.astype(np.float64)
    by_person = {
        name: np.mean([((run.scores - shares) ** 2).mean(axis=1) for run in runs], axis=0)
        for name, runs in scores.items()
    }
    groups = scores[REFERENCE][0].groups
    weights = np.concatenate(list(resample_weights(groups, RESAMPLES, 0)), axis=1)
    found: dict[str, Any] = {"chance": float(((shares - shares.mean(axis=0)) ** 2).mean())}
    for name, errors in by_person.items():
        difference = errors - by_person[REFERENCE]
        low, high = np.quantile(difference @ weights / weights.sum(axis=0), [0.025, 0.975])
        found[name] = {
            "value": float(errors.mean()),
            "minus_union": float(difference.mean()),
            "low": float(low),
            "high": float(high),
        }
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recipe", default="recipes/playhouse.toml")
    parser.add_argument("--train", type=int, default=640)
    parser.add_argument("--test", type=int, default=1600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="override a key of the recipe")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    sizes = [f"data.options.train={given.train}", f"data.options.test={given.test}", "run.threads=1"]
    make_runs(given.work, given.recipe, given.seeds, [*sizes, *given.set])
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.machine(),
        "train": given.train,
        "test": given.test,
        "seeds": given.seeds,
        **measure(given.work, given.seeds),
    }
    print(json.dumps(document, indent=2))
    if given.out:
        atomic_write_json(given.out, document)


if __name__ == "__main__":
    main()
