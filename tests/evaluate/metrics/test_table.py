"""Metrics by name: which ones a label set has, chance, invalid input, and metrics from other packages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from sklearn.metrics import hamming_loss
from tests.factories.metric_cases import multi_label_case, one_hot

from mien import registry
from mien.errors import ConfigError, DataError, UnknownNameError
from mien.evaluate.bootstrap import interval
from mien.evaluate.metrics.classification import macro_f1, macro_f1_at_half
from mien.evaluate.metrics.metric import Metric, for_each_resample
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.ranking import MAP, MAP_TAIL, MEAN_ROC_AUC
from mien.evaluate.metrics.table import (
    default_metrics,
    find_metric,
    load_metric,
    primary_metric,
    resolve_metric,
)
from mien.evaluate.metrics.targets import check_labels
from mien.evaluate.results.build import build_difference, build_score_rows
from mien.evaluate.scores import SplitScores
from mien.labels import BOLD, CAERS, EMOTIC


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    targets, scores = multi_label_case(6)
    scores[7, 2] = bad
    with pytest.raises(DataError, match="scores of sample 7 are not finite"):
        MAP.value(targets, scores)
    with pytest.raises(DataError, match="targets of sample 7"):
        check_labels(scores, targets)


def test_shapes_and_empty_splits_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(2, 3\) against targets of shape \(2, 2\)"):
        check_labels(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(DataError, match="no samples"):
        check_labels(np.zeros((0, 3)), np.zeros((0, 3)))


def test_chance_is_reached_without_looking() -> None:
    targets = one_hot([0, 0, 0, 1], 3)
    assert load_metric("accuracy").chance(targets) == 0.75
    assert load_metric("macro_f1").chance(targets) == pytest.approx(0.5)  # of the two labels that occur
    # Of three samples in four: over the four places of the other one. Of one in four: over its places.
    three = np.mean(
        [
            np.mean([1, 1, 1]),
            np.mean([1, 1, 3 / 4]),
            np.mean([1, 2 / 3, 3 / 4]),
            np.mean([1 / 2, 2 / 3, 3 / 4]),
        ]
    )
    one = np.mean([1, 1 / 2, 1 / 3, 1 / 4])
    assert load_metric("mAP").chance(targets) == pytest.approx((three + one) / 2)
    dimensions = np.array([[0.2], [0.4], [0.9], [np.nan]])
    assert load_metric("vad_mae").chance(dimensions) == pytest.approx((0.2 + 0.0 + 0.5) / 3)
    with pytest.raises(UnknownNameError, match="map_of_the_world"):
        load_metric("map_of_the_world")


def test_random_scores_reach_chance_and_no_more() -> None:
    rng = np.random.default_rng(8)
    targets = (rng.random((4000, 5)) < 0.2).astype(np.float64)
    reached = np.mean([MAP.value(targets, rng.random((4000, 5))) for _ in range(5)])
    assert reached == pytest.approx(load_metric("mAP").chance(targets), abs=0.01)


def test_metrics_by_name() -> None:
    assert primary_metric(EMOTIC) is load_metric("mAP") is MAP
    assert primary_metric(CAERS) is load_metric("accuracy")
    assert resolve_metric("macro_f1", CAERS).function is macro_f1
    assert resolve_metric("macro_f1", EMOTIC).function is macro_f1_at_half
    assert not resolve_metric("vad_mae", EMOTIC).higher_is_better
    with pytest.raises(UnknownNameError) as caught:
        resolve_metric("map", EMOTIC)
    assert "did you mean 'mAP'" in caught.value.hint
    assert resolve_metric("mAP_tail", EMOTIC) is resolve_metric("mAP_tail", CAERS) is MAP_TAIL
    with pytest.raises(ConfigError, match="several labels may hold"):
        resolve_metric("accuracy", EMOTIC)
    with pytest.raises(ConfigError, match="exactly one label holds"):
        replace(MAP, label_sets="multi").for_label_set(CAERS)


def test_auto_selects_metrics_by_label_set() -> None:
    assert default_metrics(EMOTIC, dimensions=True) == ("mAP", "vad_mae")
    assert default_metrics(CAERS, dimensions=False) == ("accuracy", "macro_f1")


# --- The family that BoLD's papers report ---


def test_bold_is_judged_by_its_own_family() -> None:
    assert default_metrics(BOLD, dimensions=True) == ("mAP", "mRA", "mR2", "ERS")
    assert default_metrics(BOLD, dimensions=False) == ("mAP", "mRA")


def test_chance_of_the_family_is_what_blind_answers_reach() -> None:
    targets, scores = multi_label_case(8, rows=400)
    dimensions = np.random.default_rng(9).random((400, 3))
    both = np.hstack((targets, dimensions))
    assert load_metric("mRA").chance(targets) == MEAN_ROC_AUC.value(targets, np.ones_like(scores)) == 0.5
    assert load_metric("mR2").chance(dimensions) == 0.0
    expected = (load_metric("mAP").chance(targets) + 0.5) / 4
    assert load_metric("ERS").chance(both) == pytest.approx(expected)


# --- A metric from another package ---

OWN_METRIC = """
import numpy as np
from mien.evaluate.metrics.metric import Metric

def top_two(targets, scores, sample_weight):
    second = np.sort(scores, axis=1)[:, -2]
    correct = (scores * targets).max(axis=1) >= second
    return correct @ sample_weight / sample_weight.sum(axis=0)

TOP_TWO = Metric(
    name="top two",
    title="a true label among the two highest scores",
    function=top_two,
    chance=lambda targets: 0.25,
)
NOT_A_METRIC = 3
"""


@pytest.fixture
def own_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_metrics.py").write_text(OWN_METRIC)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_metrics:TOP_TWO"


def scored(seed: int) -> SplitScores:
    rng = np.random.default_rng(seed)
    targets = one_hot(np.random.default_rng(0).integers(0, len(CAERS), 90).tolist(), len(CAERS))
    scores = (rng.random(targets.shape).astype(np.float32) + np.float32(0.2) * targets) / np.float32(1.2)
    ids = tuple(str(row) for row in range(len(targets)))
    return SplitScores(split="test", label_set=CAERS, ids=ids, groups=ids, scores=scores, targets=targets)


def test_a_metric_takes_one_file_and_one_line_of_the_registry(
    own_metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has an interval, a chance level and paired differences, like those of the package."""
    table = MappingProxyType({**registry.TABLES["metric"], "top_two": own_metric})
    monkeypatch.setattr(registry, "TABLES", MappingProxyType({**registry.TABLES, "metric": table}))
    runs = [scored(1), scored(2)]
    row, accuracy = build_score_rows(
        "fused", runs, seeds=(1, 2), metrics=("top_two", "accuracy"), resamples=100
    )
    by_hand = [
        np.mean(
            [
                target.argmax() in np.argsort(score)[-2:]
                for score, target in zip(run.scores, run.targets, strict=True)
            ]
        )
        for run in runs
    ]
    assert row.value == pytest.approx(np.mean(by_hand))
    assert row.low is not None
    assert row.high is not None
    assert accuracy.value < row.low < row.value < row.high < 1
    assert (row.chance, row.labels, row.n, row.seeds) == (0.25, len(CAERS), 90, (1, 2))
    difference = build_difference(("a", [runs[0]]), ("b", [runs[1]]), metric="top_two", resamples=100)
    assert difference.value == pytest.approx(by_hand[0] - by_hand[1])
    assert difference.low is not None
    assert difference.high is not None
    assert difference.low < difference.value < difference.high


def test_a_recipe_names_a_metric_by_module_and_attribute(own_metric: str) -> None:
    (row,) = build_score_rows("fused", [scored(1)], seeds=(1,), metrics=(own_metric,), resamples=50)
    assert row.metric == own_metric
    assert row.low is not None
    assert row.high is not None
    assert row.low < row.value < row.high
    found = find_metric(row.metric)
    assert found is not None
    assert found.title == "a true label among the two highest scores"
    with pytest.raises(ConfigError, match="'own_metrics:NOT_A_METRIC' is a int"):
        load_metric("own_metrics:NOT_A_METRIC")
    assert find_metric("not_installed:METRIC") is None


def test_a_function_of_scikit_learn_becomes_a_metric() -> None:
    def error(targets: np.ndarray, scores: np.ndarray, *, sample_weight: np.ndarray) -> float:
        return float(hamming_loss(targets >= 0.5, scores >= 0.5, sample_weight=sample_weight))

    metric = Metric(
        name="hamming",
        title="share of wrong labels",
        function=for_each_resample(error),
        chance=lambda targets: 0.5,
        higher_is_better=False,
    )
    targets, scores = multi_label_case(9, rows=60)
    item = MetricInput(metric=metric, targets=targets, scores=[scores])
    found = interval(item, groups=[str(row) for row in range(60)], resamples=100)
    assert found.value == pytest.approx(np.mean((targets >= 0.5) != (scores >= 0.5)))
    assert found.low < found.value < found.high
