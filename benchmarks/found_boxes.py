"""What boxes that a detector finds cost, compared with the true ones.

    python benchmarks/found_boxes.py RUN RUN RUN [--detector playhouse] [--scenes 1000]

The runs are of one trained model with several seeds, on Playhouse. The people of the test scenes are found by
the detector. The person whom the labels describe gets the found box with the largest intersection over union
with the true one, if it is at least 0.5. A person who is not found gets what is known without a look: the
share of training people with each label. Descriptions and features are made anew with the found boxes.

Prints JSON: recall and precision over all people of the scenes at an IoU of 0.5, the score of the runs with
the true and with the found boxes, and the paired difference with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from mien.data.playhouse import Playhouse
from mien.detection.overlap import intersection_over_union
from mien.errors import MienError
from mien.evaluate.bootstrap import difference
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.table import resolve_metric
from mien.evaluate.scores import SplitScores, scores_file
from mien.files import cache_directory
from mien.playhouse.draw import person_boxes
from mien.predict.detect.detector import Detector
from mien.predict.detect.open import open_detector
from mien.predict.predictor import Predictor
from mien.types import Box, Sample, Subject
from mien.workflow.experiment import Experiment, load_experiment

SPLIT: Final = "test"
SAME: Final = 0.5  # least intersection over union of a found and a true box
BATCH: Final = 32


def main() -> None:
    options = _parser().parse_args()
    experiment = load_experiment(options.runs[0], cache=cache_directory())
    samples = experiment.samples(SPLIT)[: options.scenes]
    found = find_people([sample.subject for sample in samples], open_detector(options.detector))
    boxes = [same_person(people, sample) for people, sample in zip(found, samples, strict=True)]
    true = [head(SplitScores.load(scores_file(run, SPLIT)), len(samples)) for run in options.runs]
    assert [sample.subject.id for sample in samples] == [*true[0].ids]
    rates = training_rates(experiment)
    with_found = [predict(run, samples, boxes, rates) for run in options.runs]
    metric = resolve_metric("mAP", true[0].label_set)
    with_true_boxes, with_found_boxes = (
        MetricInput(metric=metric, targets=true[0].targets, scores=scores)
        for scores in ([run.scores for run in true], with_found)
    )
    cost = difference(with_true_boxes, with_found_boxes, groups=true[0].groups)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "detector": options.detector,
        "scenes": len(samples),
        "detection": count_hits(experiment, samples, found),
        "subjects_not_found": sum(box is None for box in boxes),
        "runs": len(options.runs),
        "metric": metric.name,
        "true_boxes": round(with_true_boxes.value(), 5),
        "found_boxes": round(with_found_boxes.value(), 5),
        "true_minus_found": {key: round(value, 5) for key, value in asdict(cost).items()},
    }
    print(json.dumps(report, indent=2))


def find_people(subjects: Sequence[Subject], detector: Detector) -> list[list[Box]]:
    """The boxes that the detector finds in each image."""
    found: list[list[Box]] = []
    for start in range(0, len(subjects), BATCH):
        images = [Image.open(subject.images[0].path) for subject in subjects[start : start + BATCH]]
        for people in detector.detect(images):
            if isinstance(people, MienError):
                raise people
            found.append([person.box for person in people if person.box is not None])
    return found


def same_person(people: Sequence[Box], sample: Sample) -> Box | None:
    """The found box of the annotated person; None if they were not found."""
    (true,) = sample.subject.boxes
    assert true is not None
    overlaps = overlap(people, [true])[:, 0]
    return people[int(overlaps.argmax())] if overlaps.size and overlaps.max() >= SAME else None


def overlap(people: Sequence[Box], true: Sequence[Box]) -> np.ndarray:
    """Intersection over union, [found, true]."""
    corners = [np.array([box.as_tuple() for box in boxes]).reshape(-1, 4) for boxes in (people, true)]
    return intersection_over_union(*corners)


def count_hits(experiment: Experiment, samples: Sequence[Sample], found: Sequence[Sequence[Box]]) -> Any:
    """Recall and precision over all people, annotated or not; every true person is matched once."""
    assert isinstance(experiment.dataset, Playhouse)
    hits = total = 0
    for sample, people in zip(samples, found, strict=True):
        scene, _ = experiment.dataset.scene(SPLIT, int(sample.subject.id.rpartition("/")[2]))
        everyone = person_boxes(scene)
        total += len(everyone)
        overlaps = overlap(people, everyone)
        rows, columns = linear_sum_assignment(overlaps >= SAME, maximize=True)
        hits += int((overlaps[rows, columns] >= SAME).sum())
    count = sum(map(len, found))
    return {
        "people": total,
        "found": count,
        "recall": round(hits / total, 4),
        "precision": round(hits / count, 4),
    }


def training_rates(experiment: Experiment) -> np.ndarray:
    """The share of training people with each label, [label]."""
    label_set = experiment.dataset.label_set
    targets = [sample.target for sample in experiment.samples("train")]
    rows = [label_set.encode(target.labels) for target in targets if target is not None]
    rates: np.ndarray = np.array(rows).mean(0)
    return rates


def predict(
    run: Path, samples: Sequence[Sample], boxes: Sequence[Box | None], rates: np.ndarray
) -> np.ndarray:
    """Scores with the found boxes, [subject, label]."""
    subjects = [
        replace(sample.subject, boxes=(box,))
        for sample, box in zip(samples, boxes, strict=True)
        if box is not None
    ]
    predictions = iter(Predictor.from_pretrained(run).predict(subjects))
    print(f"predicting with {run}", file=sys.stderr)
    return np.stack(
        [rates if box is None else np.array([*next(predictions).scores.values()]) for box in boxes]
    ).astype(np.float32)


def head(scores: SplitScores, count: int) -> SplitScores:
    """The first rows."""
    return replace(
        scores,
        ids=scores.ids[:count],
        groups=scores.groups[:count],
        scores=scores.scores[:count],
        targets=scores.targets[:count],
        dimensions=None,
        dimension_targets=None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--detector", default="playhouse")
    parser.add_argument("--scenes", type=int, default=1000)
    return parser


if __name__ == "__main__":
    main()
