"""A run directory as `mien evaluate` and the demo write it: Playhouse images and texts, random scores."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mien.batches.batch import image_groups
from mien.evaluate.analysis.annotators import build_annotator_rows
from mien.evaluate.calibration.calibrate import fit_calibration
from mien.evaluate.evaluation import save_split, write_evaluation
from mien.evaluate.results.build import build_difference, build_label_rows, build_score_rows
from mien.evaluate.results.results import (
    EVALUATION,
    RESULTS,
    Evaluation,
    SplitAccess,
    read_results,
    write_results,
)
from mien.evaluate.results.votes import Votes
from mien.evaluate.scores import SplitScores
from mien.labels import EMOTIC, LabelSet
from mien.playhouse.draw import draw_scene
from mien.playhouse.rules import annotate
from mien.playhouse.scene import sample_scene
from mien.playhouse.text import describe_emotions
from mien.recipe import EvaluateOptions, Recipe
from mien.runs import Run
from mien.types import DIMENSIONS, Sample, Subject, Target

# How well each model distinguishes the labels, in standard deviations.
_SIGNAL = {"fused": 2.6, "image_only": 2.1, "text_only": 2.2, "no_box": 2.2, "shuffled": 1.9, "caption": 2.5}


@dataclass(frozen=True)
class PlayhouseSamples:
    """Samples of the split "test", their descriptions, the answers of their annotators, and the votes."""

    samples: list[Sample]
    descriptions: dict[str, str]
    votes: dict[str, Votes]
    annotations: dict[str, list[Target]]


def draw_samples(folder: Path, count: int) -> PlayhouseSamples:
    """Draws `count` scenes into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    samples, descriptions, votes, answers = [], {}, {}, {}
    for index in range(count):
        rng = random.Random(index)
        scene = sample_scene(rng)
        annotations = annotate(scene, rng, 3)
        staging = draw_scene(scene)
        path = folder / f"{index:05d}.png"
        staging.image.save(path, compress_level=1)
        subject = Subject.still(f"test/{index:05d}", path, staging.boxes[scene.subject])
        labels = {label: 1.0 for annotation in annotations for label in annotation.labels}
        means = (
            np.mean([annotation.dimensions for annotation in annotations if annotation.dimensions], axis=0)
            / 10
        )
        target = Target(labels=labels, dimensions=dict(zip(DIMENSIONS, means.tolist(), strict=True)))
        samples.append(Sample(subject=subject, target=target, split="test"))
        descriptions[subject.id] = describe_emotions(scene)
        chosen = Counter(label for annotation in annotations for label in annotation.labels)
        votes[subject.id] = Votes(annotators=len(annotations), chosen=chosen)
        answers[subject.id] = [Target(labels=dict.fromkeys(item.labels, 1.0)) for item in annotations]
    return PlayhouseSamples(samples, descriptions, votes, answers)


def make_scores(
    drawn: PlayhouseSamples,
    *,
    signal: float,
    seed: int,
    label_set: LabelSet = EMOTIC,
    dimensions: bool = True,
) -> SplitScores:
    """Scores that separate true labels by `signal` standard deviations; models share part of the noise."""
    ids = tuple(sample.subject.id for sample in drawn.samples)
    rows = [label_set.encode(sample.target.labels) for sample in drawn.samples if sample.target]
    targets = np.array(rows, dtype=np.float32)
    shared = np.random.default_rng(0).normal(size=targets.shape)
    own = np.random.default_rng([seed, round(100 * signal)]).normal(size=targets.shape)
    logits = 0.9 * shared + 0.6 * own + signal * targets - 2.5
    truth = np.array(
        [
            [s.target.dimensions[name] for name in DIMENSIONS]
            for s in drawn.samples
            if s.target and s.target.dimensions
        ],
        dtype=np.float32,
    )
    noise = np.random.default_rng(seed).normal(size=truth.shape)
    return SplitScores(
        split="test",
        label_set=label_set,
        ids=ids,
        groups=image_groups(drawn.samples),
        scores=(1 / (1 + np.exp(-logits))).astype(np.float32),
        targets=targets,
        dimensions=(truth + 0.08 * noise).astype(np.float32) if dimensions else None,
        dimension_targets=truth if dimensions else None,
    )


def make_demo_run(path: Path, count: int = 40, seeds: tuple[int, ...] = (0, 1)) -> Path:
    """A demo's run directory: a comparison, the fused model's evaluation and its examples."""
    recipe = Recipe(name="playhouse-demo")
    Run.create(path, command="mien demo", recipe=recipe.to_json(), digest=recipe.digest())
    drawn = draw_samples(path / "images", count)
    runs = {
        name: [make_scores(drawn, signal=signal, seed=seed) for seed in seeds]
        for name, signal in _SIGNAL.items()
    }
    options = EvaluateOptions(bootstrap=100)
    save_split(path, runs["fused"][0], drawn.samples, drawn.descriptions, votes=drawn.votes)
    # The validation split: the same people, with other random errors of the model.
    calibration = fit_calibration(replace(make_scores(drawn, signal=_SIGNAL["fused"], seed=9), split="val"))
    calibration.save(path)
    write_evaluation(
        path,
        [runs["fused"][0]],
        name="fused",
        seed=0,
        options=options,
        calibration=calibration,
        split_accesses=[
            SplitAccess(split="test", times=3, weights=2),
            SplitAccess(split="val", times=2, weights=2),
        ],
    )
    evaluation = replace(
        read_results(path / EVALUATION),
        annotators=build_annotator_rows(
            runs["fused"][0], drawn.annotations, name="fused", metrics=("mAP", "mRA"), resamples=100
        ),
    )
    write_results(path / EVALUATION, evaluation)
    rows = [
        row
        for name, scores in runs.items()
        for row in build_score_rows(name, scores, seeds=seeds, metrics=("mAP",), resamples=100)
    ]
    differences = tuple(
        build_difference(("fused", runs["fused"]), (name, runs[name]), metric="mAP", resamples=100)
        for name in runs
        if name != "fused"
    )
    labels = build_label_rows(runs["fused"], name="fused", resamples=100)
    write_results(path / RESULTS, Evaluation(rows=tuple(rows), differences=differences, labels=labels))
    return path


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo's run directory. Tests only read it, except that they write the page."""
    return make_demo_run(tmp_path_factory.mktemp("demo") / "run")


@pytest.fixture
def make_samples(tmp_path: Path) -> Callable[[int], PlayhouseSamples]:
    """make_samples(3): three drawn samples."""
    return lambda count: draw_samples(tmp_path / "images", count)
