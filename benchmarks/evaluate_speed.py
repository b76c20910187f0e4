"""How long it takes to evaluate a test split with all intervals: 7,203 people, 26 labels, 1,000 resamples.

    python benchmarks/evaluate_speed.py [--rows 7203] [--resamples 1000] [--repeats 3]

Makes scores and targets with the label frequencies of EMOTIC's test split, two people per image, and rates
them as `mien evaluate` does: the default metrics of EMOTIC and of BoLD, every label, every dimension, and
what a calibration changes. "seconds" is the fastest of the repeats, on one thread of NumPy; "parts" is the
same by step. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is loaded

import numpy as np  # noqa: E402

from mien.evaluate.calibration.calibrate import fit_calibration  # noqa: E402
from mien.evaluate.results.build import (  # noqa: E402
    build_calibration_rows,
    build_difference,
    build_dimension_rows,
    build_label_rows,
    build_score_rows,
)
from mien.evaluate.scores import SplitScores  # noqa: E402
from mien.labels import BOLD, EMOTIC  # noqa: E402

# Label frequencies of the test split, from Engagement down to Embarrassment.
_SHARES = np.array(
    (
        *(0.776, 0.482, 0.481, 0.478, 0.473, 0.29, 0.154, 0.147, 0.145, 0.137, 0.133, 0.124, 0.084),
        *(0.065, 0.061, 0.059, 0.051, 0.047, 0.043, 0.033, 0.032, 0.029, 0.029, 0.024, 0.019, 0.019),
    )
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints one JSON document."""
    options = _parser().parse_args(arguments)
    emotic = _scores(options.rows)
    bold = replace(emotic, label_set=BOLD)
    # Another sample of the same size, as the validation split.
    calibration = fit_calibration(replace(_scores(options.rows, seed=1), split="val"))
    count = options.resamples
    parts: dict[str, Callable[[], object]] = {
        "emotic_default_metrics": lambda: build_score_rows("x", [emotic], seeds=(0,), resamples=count),
        "bold_default_metrics": lambda: build_score_rows("x", [bold], seeds=(0,), resamples=count),
        "every_label": lambda: build_label_rows([emotic], calibration=calibration, resamples=count),
        "every_dimension": lambda: build_dimension_rows([emotic], resamples=count),
        "calibration": lambda: build_calibration_rows(emotic, calibration, resamples=count),
        "paired_difference_of_map": lambda: build_difference(
            ("a", [emotic]), ("b", [emotic]), metric="mAP", resamples=count
        ),
    }
    build_score_rows("x", [emotic], seeds=(0,), resamples=2)  # imports what is imported on first use
    seconds = {
        name: round(min(_timed(run) for _ in range(options.repeats)), 3) for name, run in parts.items()
    }
    shared = seconds["every_label"] + seconds["every_dimension"] + seconds["calibration"]
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, one used",
        "rows": options.rows,
        "labels": len(EMOTIC),
        "resamples": count,
        "seconds": {
            "emotic": round(shared + seconds["emotic_default_metrics"], 2),
            "bold": round(shared + seconds["bold_default_metrics"], 2),
        },
        "parts": seconds,
    }
    print(json.dumps(result, indent=2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=7203, help="people")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    return parser


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _scores(rows: int, seed: int = 0) -> SplitScores:
    rng = np.random.default_rng(seed)
    targets = (rng.random((rows, len(EMOTIC))) < _SHARES).astype(np.float32)
    odds = 1.5 * rng.normal(size=targets.shape) + targets - 2
    truth = rng.random((rows, 3)).astype(np.float32)
    return SplitScores(
        split="test",
        label_set=EMOTIC,
        ids=tuple(str(row) for row in range(rows)),
        groups=tuple(str(row // 2) for row in range(rows)),
        scores=(1 / (1 + np.exp(-odds))).astype(np.float32),
        targets=targets,
        dimensions=(truth + 0.1 * rng.normal(size=truth.shape)).astype(np.float32),
        dimension_targets=truth,
    )


if __name__ == "__main__":
    main()
