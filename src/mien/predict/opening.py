"""Opens what predicts, with what finds the people, for the command line and for services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien.evaluate.calibration.calibrate import CALIBRATION
from mien.labels import LABEL_SETS
from mien.model.checkpoint import model_digest
from mien.predict.base import SubjectPredictor
from mien.predict.detect.open import NO_DETECTOR, open_detector
from mien.predict.loading import ModelSource
from mien.predict.predictor import Predictor
from mien.predict.zero_shot.open import open_calibrated, open_zero_shot
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.recipe.zero_shot import ZeroShotMethod
from mien.weights.model_folder import EMBEDDED

__all__ = ["OpenedPredictor", "open_trained", "open_untrained"]

_USUAL_DETECTOR: Final = "transformers"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPredictor:
    """A predictor, and what it is called.

    Attributes:
        predictor: Predicts, with its detector.
        name: What clients of a service call it.
        is_embedded: Whether it knows only Playhouse.
        folder: Where its model is; None if it is not trained.
    """

    predictor: Predictor | ZeroShotPredictor
    name: str
    is_embedded: bool
    folder: Path | None = None

    def identity(self) -> Mapping[str, Any]:
        """What identifies the predictor and its detector: digests of models, the calibration."""
        found = self.predictor.detector
        detector = None if found is None else found.signature
        if self.folder is not None:
            file = self.folder / CALIBRATION
            calibration = file.read_text(encoding="utf-8") if file.exists() else None
            return {"run": model_digest(self.folder), "calibration": calibration, "detector": detector}
        assert isinstance(self.predictor, ZeroShotPredictor)
        fitted = self.predictor.calibration
        return {
            "zero_shot": self.predictor.model_digest,
            "calibration": None if fitted is None else fitted.to_json(),
            "detector": detector,
        }


def open_trained(
    source: ModelSource, places: Sequence[str] = (), *, detector: str | None = None
) -> OpenedPredictor:
    """Loads a trained model, on the device that its recipe names.

    Args:
        source: From `find_source`.
        places: New places of models that have moved.
        detector: What finds the people: None for the usual one, "none" for the whole image.

    Raises:
        RunError: The run is not trained.
        WeightsError: Weights are not available.
        EngineError: The device is not available.
    """
    device = "auto" if source.recipe is None else source.recipe.run.device
    predictor = Predictor.from_pretrained(source.folder, device=device, overrides=places)
    recipe = predictor.trained.recipe
    is_embedded = EMBEDDED in (recipe.describe.model, recipe.features.vision)
    _add_detector(predictor, detector, is_embedded=is_embedded, device=device)
    return OpenedPredictor(
        predictor=predictor, name=source.name, is_embedded=is_embedded, folder=source.folder
    )


def open_untrained(
    model: str | None,
    *,
    method: ZeroShotMethod | None = None,
    labels: str | None = None,
    calibration: Path | None = None,
    detector: str | None = None,
) -> OpenedPredictor:
    """Loads a model that scores labels without training.

    Args:
        model: Its name or folder; None for the usual one.
        method: How it scores labels; None for the usual one, or that of the calibration.
        labels: A label set, or names with commas; None for EMOTIC's, or those of the calibration.
        calibration: A run or a file of `mien calibrate`.
        detector: As for `open_trained`.

    Raises:
        RunError: The calibration is missing, or was fitted to other scores.
        WeightsError: The model is not available.
        EngineError: The device is not available.
    """
    names: str | list[str] | None = labels
    if labels is not None and labels not in LABEL_SETS:
        names = [name.strip() for name in labels.split(",")]
    if calibration is not None:
        predictor = open_calibrated(calibration, model=model, method=method, labels=names)
    else:
        predictor = open_zero_shot(model, names or "emotic", method=method or "likelihood")
    is_embedded = predictor.model == EMBEDDED
    _add_detector(predictor, detector, is_embedded=is_embedded, device="auto")
    return OpenedPredictor(predictor=predictor, name=Path(predictor.model).name, is_embedded=is_embedded)


def _add_detector(predictor: SubjectPredictor, name: str | None, *, is_embedded: bool, device: str) -> None:
    if name not in NO_DETECTOR:
        usual = EMBEDDED if is_embedded else _USUAL_DETECTOR
        predictor.detector = open_detector(name or usual, device=device)
