"""A refactor changes no number: losses and scores of tiny trainings equal those of version 0.1.0."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from tests.factories.training import learnable_split, tiny_recipe
from tests.factories.versions import draws_as_recorded

from mien.evaluate.scorer import score_split
from mien.model.checkpoint import load_trained
from mien.train.loop import TrainProgress, train

GOLDEN: Final = Path(__file__).parent / "loss_trace_0.1.0.json"
# 10 steps of 2 batches per epoch. Nothing that consumes random numbers is off.
_TRAIN: Final = {
    "epochs": 2,
    "batch_size": 4,
    "accumulate": 2,
    "ema": 0.9,
    "description_dropout": 0.2,
    "seed": 7,
}
_QFORMER: Final = {"fusion": "qformer", "options": {"attention_dropout": 0.1}}
CASES: Final[dict[str, tuple[dict[str, Any], dict[str, Any], bool]]] = {
    "qformer": (_QFORMER, {}, False),
    "concat": ({"fusion": "concat"}, {}, False),
    "image_only": ({**_QFORMER, "fusion": "image_only"}, {"sampler": "balanced"}, False),
    "bce, weighted": (_QFORMER, {"loss": "bce", "loss_options": {"positive_weights": True}}, False),
    "asl": (_QFORMER, {"loss": "asl", "label_smoothing": 0.05, "layer_decay": 0.8}, False),
    "focal": (_QFORMER, {"loss": "focal", "loss_options": {"alpha": 0.3}}, False),
    "one label": (_QFORMER, {"label_smoothing": 0.1}, True),
    "one label, class balanced": (
        _QFORMER,
        {"loss": "class_balanced", "loss_options": {"gamma": 1.0}, "label_smoothing": 0.1},
        True,
    ),
}


def trace(case: str, folder: Path) -> dict[str, Any]:
    """The losses of 20 steps, and what the trained model says of val."""
    model, options, exclusive = CASES[case]
    data = learnable_split(folder, "train", 76, seed=3, exclusive=exclusive)
    val = learnable_split(folder, "val", 12, seed=4, exclusive=exclusive)
    losses: list[float] = []

    def listen(event: TrainProgress) -> None:
        losses.append(event.loss)

    result = train(tiny_recipe(model, {**_TRAIN, **options}), data, val, folder / "run", on_progress=listen)
    scores = score_split(load_trained(folder / "run").classifier, val)
    return {
        "losses": losses,
        "best_epoch": result.best_epoch,
        "best_score": result.best_score,
        "scores": scores.scores.tolist(),
        "dimensions": np.asarray(scores.dimensions).tolist(),
    }


@draws_as_recorded
@pytest.mark.parametrize("case", CASES)
def test_losses_and_scores_are_those_of_version_0_1_0(case: str, tmp_path: Path) -> None:
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))[case]
    found = trace(case, tmp_path)
    assert len(found["losses"]) == 20
    assert found["best_epoch"] == expected["best_epoch"]
    # On the machine that wrote the file the bits are equal; processors differ in how they add up.
    for name in ("losses", "best_score", "scores", "dimensions"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
