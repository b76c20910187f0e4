"""What a model predicts, and by which metric its best epoch is selected."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.batches.batch import SplitData
from mien.errors import ConfigError, UnknownNameError
from mien.evaluate.metrics.metric_inputs import metric_value
from mien.evaluate.metrics.table import load_metric
from mien.evaluate.scorer import score_split
from mien.model.checkpoint import load_trained
from mien.recipe import Recipe
from mien.runs import Run
from mien.train.loop import train

MakeSplit = Callable[..., SplitData]
MakeRecipe = Callable[..., Recipe]


def test_learning_only_dimensions_leaves_labels_at_their_base_rates(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data, val = make("train", 160), make("val", 80, seed=1)
    result = train(recipe(train={"epochs": 8, "heads": "dimensions"}), data, val, tmp_path)
    assert result.metric == "vad_mae"
    scores = score_split(load_trained(tmp_path).classifier, val)
    assert np.allclose(scores.scores, data.targets.mean(dim=0).numpy(), atol=1e-6)
    assert metric_value(load_metric("vad_mae"), scores) == pytest.approx(result.best_score)
    assert result.best_score < 0.05
    epochs = list(Run.open(tmp_path).events().named("epoch"))
    # The metric is an error, so the lowest value is the best.
    assert result.best_score == min(epoch["score"] for epoch in epochs)
    assert epochs[result.best_epoch - 1]["best"]


def test_learning_only_dimensions_needs_annotated_dimensions(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data, val = (
        replace(split, dimensions=torch.full_like(split.dimensions, float("nan")))
        for split in (make("train", 16), make("val", 8, seed=1))
    )
    with pytest.raises(ConfigError, match="no sample has valence, arousal and dominance"):
        train(recipe(train={"heads": "dimensions"}), data, val, tmp_path / "dimensions")
    train(recipe(train={"heads": "both", "epochs": 1}), data, val, tmp_path / "both")
    assert load_trained(tmp_path / "both").classifier.dimensions is None


@pytest.mark.parametrize("name", ["mAP_emotic", "vad_mae", "ERS", "Brier"])
def test_the_best_epoch_is_selected_by_the_named_metric(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path, name: str
) -> None:
    data, val = make("train", 40), make("val", 30, seed=1)
    result = train(recipe(train={"epochs": 6, "select_by": name, "lr": 0.02}), data, val, tmp_path)
    found = [epoch["score"] for epoch in Run.open(tmp_path).events().named("epoch")]
    best = max(found) if load_metric(name).higher_is_better else min(found)
    assert (result.metric, result.best_score, result.best_epoch) == (name, best, found.index(best) + 1)


def test_a_metric_of_something_not_learned_is_refused(
    make: MakeSplit, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data, val = make("train", 16), make("val", 8, seed=1)
    for heads, name in (
        ("labels", "vad_mae"),
        ("labels", "ERS"),
        ("dimensions", "mAP"),
        ("dimensions", "ERS"),
    ):
        with pytest.raises(ConfigError, match=f"select_by '{name}' needs more than train.heads '{heads}'"):
            train(recipe(train={"heads": heads, "select_by": name}), data, val, tmp_path / heads / name)
    with pytest.raises(UnknownNameError, match="map"):
        train(recipe(train={"select_by": "map"}), data, val, tmp_path / "unknown")
