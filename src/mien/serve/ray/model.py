"""Opens the model of a replica, with what finds the people."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mien.labels import LABEL_SETS
from mien.predict.base import SubjectPredictor
from mien.predict.detect.open import open_detector
from mien.predict.loading import find_source
from mien.predict.predictor import Predictor
from mien.predict.zero_shot.open import open_calibrated, open_zero_shot
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.serve.inference import ServedModel
from mien.serve.ray.arguments import Arguments
from mien.weights.model_folder import EMBEDDED

__all__ = ["open_model"]

_NO_DETECTOR: Final = ("none", "whole")


def open_model(arguments: Arguments, *, max_pixels: int) -> ServedModel:
    """The model that an application serves.

    Raises:
        RunError: The run is not trained.
        WeightsError: Weights are not available on this node.
        EngineError: The device is not available.
    """
    if arguments.run is not None:
        predictor, device = _open_run(arguments.run)
        recipe = predictor.trained.recipe
        name = Path(arguments.run).name
        is_embedded = EMBEDDED in (recipe.describe.model, recipe.features.vision)
        opened: SubjectPredictor = predictor
    else:
        scorer, device = _open_zero_shot(arguments), "auto"
        name, is_embedded, opened = Path(scorer.model).name, scorer.model == EMBEDDED, scorer
    if arguments.detector not in _NO_DETECTOR:
        usual = EMBEDDED if is_embedded else "transformers"
        opened.detector = open_detector(arguments.detector or usual, device=device)
    return ServedModel(opened, name=arguments.name or name, max_pixels=max_pixels, is_embedded=is_embedded)


def _open_run(run: str) -> tuple[Predictor, str]:
    """The predictor, and the device that its recipe names."""
    recipe = find_source(run).recipe
    device = "auto" if recipe is None else recipe.run.device
    return Predictor.from_pretrained(run, device=device), device


def _open_zero_shot(arguments: Arguments) -> ZeroShotPredictor:
    labels: str | list[str] | None = arguments.labels
    if arguments.labels is not None and arguments.labels not in LABEL_SETS:
        labels = [name.strip() for name in arguments.labels.split(",")]
    if arguments.calibration is not None:
        return open_calibrated(
            Path(arguments.calibration), model=arguments.zero_shot, method=arguments.method, labels=labels
        )
    return open_zero_shot(arguments.zero_shot, labels or "emotic", method=arguments.method or "likelihood")
