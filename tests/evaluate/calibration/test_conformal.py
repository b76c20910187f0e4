"""Prediction sets cover at the stated rate, also with people who share images and with small splits."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from mien.evaluate.calibration.conformal import (
    PredictionSets,
    fit_prediction_sets,
    image_shares,
    likely_coverage,
    min_images,
)
from mien.evaluate.scores import SplitScores
from mien.labels import CAERS, LabelSet

FOUR = LabelSet(name="four", labels=("Peace", "Fear", "Pain", "Doubt"), exclusive=False)
# So many that the best label, which is always in a set, rarely has to be added.
TWELVE = LabelSet(name="twelve", labels=tuple("abcdefghijkl"), exclusive=False)


def draw(
    label_set: LabelSet, rng: np.random.Generator, images: int, *, crowd: int = 1, split: str = "val"
) -> SplitScores:
    """People of one image share a part of their logits; images have 1 to `crowd` people.

    Crowded images are harder: their scores say less.
    """
    counts = rng.integers(1, crowd + 1, size=images)
    groups = np.repeat(np.arange(images), counts)
    size = (len(groups), len(label_set))
    truth = 1.5 * rng.normal(size=(images, size[1]))[groups] + rng.normal(size=size) - 1
    noise = rng.normal(size=size) + rng.normal(size=(images, size[1]))[groups]
    logits = truth + noise * counts[groups][:, None] / 2
    if label_set.exclusive:
        targets = np.eye(size[1])[np.argmax(truth + rng.gumbel(size=size), axis=1)]
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    else:
        targets = (rng.random(size) < 1 / (1 + np.exp(-truth))).astype(float)
        scores = 1 / (1 + np.exp(-logits))
    return SplitScores(
        split=split,
        label_set=label_set,
        ids=tuple(map(str, range(len(groups)))),
        groups=tuple(map(str, groups)),
        scores=scores.astype(np.float32),
        targets=targets.astype(np.float32),
    )


def coverages(sets: PredictionSets, test: SplitScores, coverage: float) -> list[float]:
    """The share of true labels in sets, by label or in all, with images counting equally."""
    contained, truth = sets.apply(test.scores, coverage), test.targets > 0.5
    columns = list(zip(truth.T, contained.T, strict=True))
    if sets.exclusive:
        columns = [(np.any(truth, axis=1), np.any(contained & truth, axis=1))]
    images, found = np.array(test.groups).astype(int), []
    for who, covered in columns:
        people = np.bincount(images[who])
        hits = np.bincount(images[who], weights=covered[who])
        found.append(float((hits[people > 0] / people[people > 0]).mean()))
    return found


@pytest.mark.parametrize("crowd", [1, 4], ids=["one person per image", "crowds"])
@pytest.mark.parametrize("label_set", [TWELVE, CAERS], ids=["multi", "exclusive"])
def test_the_mean_coverage_over_validation_splits_is_the_stated_one(label_set: LabelSet, crowd: int) -> None:
    rng = np.random.default_rng(0)
    found: dict[float, list[list[float]]] = {0.8: [], 0.9: [], 0.95: []}
    for _ in range(250):
        test = draw(label_set, rng, 1_000, crowd=crowd, split="test")
        sets = fit_prediction_sets(draw(label_set, rng, 600, crowd=crowd), coverage=0.9)
        for coverage, values in found.items():
            values.append(coverages(sets, test, coverage))
    for coverage, values in found.items():
        by_label = np.mean(values, axis=0)
        assert np.abs(by_label - coverage).max() < 0.01, (coverage, by_label)


def test_counting_people_instead_of_images_would_not_cover_enough() -> None:
    # Of images that differ in difficulty and in the number of people.
    rng = np.random.default_rng(1)
    test = draw(CAERS, rng, 8_000, crowd=8, split="test")
    gaps = []
    for _ in range(60):
        val = draw(CAERS, rng, 300, crowd=8)
        alone = replace(val, groups=val.ids)  # as if everyone had an image of their own
        gaps.append([coverages(fit_prediction_sets(one, coverage=0.9), test, 0.9)[0] for one in (val, alone)])
    weighted, plain = np.mean(gaps, axis=0)
    assert abs(weighted - 0.9) < 0.01
    assert abs(plain - 0.9) > 0.015


def test_few_images_cover_on_average_too_and_scatter_as_stated() -> None:
    rng = np.random.default_rng(2)
    test = draw(CAERS, rng, 8_000, split="test")
    found = [
        coverages(fit_prediction_sets(draw(CAERS, rng, 19), coverage=0.9), test, 0.9)[0] for _ in range(600)
    ]
    assert abs(np.mean(found) - 0.9) < 0.01
    low, high = likely_coverage(0.9, 19)
    assert 0.93 < np.mean([low <= one <= high for one in found]) < 0.97


def test_the_table_in_the_docs_is_computed() -> None:
    page = (Path(__file__).parents[3] / "docs" / "explanation" / "not-sure.md").read_text(encoding="utf-8")
    rows = [
        re.findall(r"[\d.,]+", line.split("|", 2)[2]) for line in page.splitlines() if line.startswith("| ")
    ]
    images, low, high = (row for row in rows if len(row) == 7)
    found = [likely_coverage(0.9, int(number.replace(",", ""))) for number in images]
    assert low == [f"{one:.3f}"[1:] for one, _ in found]
    assert high == [f"{one:.3f}"[1:] for _, one in found]


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_below_the_smallest_size_every_label_is_in_the_set(coverage: float, needed: int) -> None:
    assert min_images(coverage) == needed
    rng = np.random.default_rng(3)
    enough = fit_prediction_sets(draw(CAERS, rng, needed), coverage=coverage)
    assert enough.is_promised
    assert enough.unbounded == ()
    few = fit_prediction_sets(draw(CAERS, rng, needed - 1), coverage=coverage)
    assert not few.is_promised
    assert few.apply(draw(CAERS, rng, 20).scores).all()


def test_a_model_that_is_right_more_often_than_stated_covers_more() -> None:
    # The best label is always in the set.
    rng = np.random.default_rng(7)
    val, test = draw(CAERS, rng, 300), draw(CAERS, rng, 3_000, split="test")
    sure = [replace(one, scores=(one.targets + 0.1 * one.scores) / 1.1) for one in (val, test)]
    sets = fit_prediction_sets(sure[0], coverage=0.8)
    assert sets.apply(sure[1].scores).sum(axis=1).max() == 1
    assert coverages(sets, sure[1], 0.8) == [1.0]


def test_a_label_that_few_people_have_is_in_every_set() -> None:
    val = draw(FOUR, np.random.default_rng(4), 200)
    targets = val.targets.copy()
    targets[:, 2] = np.arange(len(targets)) < 8
    sets = fit_prediction_sets(replace(val, targets=targets), coverage=0.9)
    assert sets.unbounded == (2,)
    assert sets.num_images[2] == 8
    assert sets.apply(val.scores)[:, 2].all()
    assert not sets.apply(val.scores)[:, 1].all()
    assert not sets.apply(val.scores, 0.8)[:, 2].all()  # for which 4 are enough


def test_eight_people_of_one_image_are_not_eight_images() -> None:
    val = draw(FOUR, np.random.default_rng(4), 40)
    crowd = replace(val, groups=tuple(str(row // 8) for row in range(len(val))))
    assert not fit_prediction_sets(crowd, coverage=0.9).is_promised


def test_sets_are_never_empty_and_grow_with_the_coverage() -> None:
    rng = np.random.default_rng(5)
    test = draw(FOUR, rng, 500)
    sets = fit_prediction_sets(draw(FOUR, rng, 300), coverage=0.7)
    assert [cuts.coverage for cuts in sets.cuts] == [0.7, 0.8, 0.9, 0.95]
    found = [sets.apply(test.scores, cuts.coverage) for cuts in sets.cuts]
    for smaller, larger in itertools.pairwise(found):
        assert (larger | ~smaller).all()
    assert found[0].any(axis=1).all()
    assert (sets.apply(test.scores) == found[0]).all()
    unlikely = np.full((1, 4), 1e-6, dtype=np.float32)
    unlikely[0, 1] = 2e-6
    assert sets.apply(unlikely).tolist() == [[False, True, False, False]]


def test_the_shares_of_an_image_sum_to_one() -> None:
    assert image_shares(["a", "b", "a", "c\0", "c"]).tolist() == [0.5, 1.0, 0.5, 1.0, 1.0]


def test_sets_are_restored_from_json_and_damaged_ones_refused() -> None:
    sets = fit_prediction_sets(draw(FOUR, np.random.default_rng(6), 30), coverage=0.9)
    values = asdict(sets)
    assert PredictionSets.from_json(values) == sets
    cuts = values["cuts"][1]
    for damage in (
        {"coverage": 0.7},
        {"num_images": [1]},
        {"cuts": [{**cuts, "scores": [float("nan")] * 4}]},
        {"cuts": [{**cuts, "scores": ["a"] * 4}]},
        {"cuts": [{**cuts, "coverage": 1.0}], "coverage": 1.0},
    ):
        with pytest.raises((ValueError, TypeError)):
            PredictionSets.from_json({**values, **damage})
