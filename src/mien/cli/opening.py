"""Opens what predicts, and what finds the people, for `mien predict` and `mien explain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.errors import BoxError, DataError, UsageError
from mien.types import Box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mien.cli.console import Console
    from mien.predict.base import SubjectPredictor

__all__ = ["DetectorName", "OpenedPredictor", "open_people_detector", "open_run", "parse_box_option"]

_WHOLE = ("none", "whole")  # names of no detector

DetectorName = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="NAME|PATH|none",
        help="Finds the people: a Hugging Face id, a folder, an .onnx file, or playhouse; none takes the "
        "whole image.",
        show_default="the usual one of the model",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPredictor:
    """A predictor, and what identifies it and its detector."""

    predictor: SubjectPredictor
    identity: Mapping[str, Any]


def open_run(
    console: Console, run: Path, places: Sequence[str], detector: str | None, boxes: Sequence[Box]
) -> OpenedPredictor:
    """The predictor of a run, with what finds people unless there are boxes."""
    from mien.evaluate.calibration.calibrate import CALIBRATION
    from mien.model.checkpoint import model_digest
    from mien.predict.loading import find_source, unread_places
    from mien.predict.predictor import Predictor
    from mien.recipe.places import outside_note, recorded_recipe
    from mien.workflow.experiment import embedded_model_warning
    from mien.workflow.steps import limit_threads

    source = find_source(run, places)
    run, recipe = source.folder, source.recipe or recorded_recipe(run, places)
    warning = embedded_model_warning(recipe, photographs=True)
    console.note(warning)
    limit_threads(recipe)
    predictor = Predictor.from_pretrained(run, device=recipe.run.device, overrides=places)
    trained = predictor.trained
    console.note(outside_note(trained.recipe, run, but=unread_places(trained.classifier.fusion)))
    found = open_people_detector(
        console, predictor, detector, boxes, embedded=warning is not None, device=recipe.run.device
    )
    calibration = run / CALIBRATION
    identity = {
        "run": model_digest(run),
        "calibration": calibration.read_text(encoding="utf-8") if calibration.exists() else None,
        "detector": found,
    }
    return OpenedPredictor(predictor=predictor, identity=identity)


def open_people_detector(
    console: Console,
    predictor: SubjectPredictor,
    name: str | None,
    boxes: Sequence[Box],
    *,
    embedded: bool,
    device: str,
) -> Mapping[str, Any] | None:
    """Gives the predictor its detector; returns the signature, None for no detector."""
    if boxes or name in _WHOLE:
        return None
    from mien.predict.detect.open import open_detector
    from mien.weights.model_folder import EMBEDDED

    predictor.detector = open_detector(name or (EMBEDDED if embedded else "transformers"), device=device)
    console.note(f"people are found by {predictor.detector.name}")
    return predictor.detector.signature


def parse_box_option(text: str) -> Box:
    """The box of an option such as --box."""
    from mien.media.boxes import parse_box

    try:
        return parse_box(text)
    except BoxError:
        raise
    except DataError as error:
        raise UsageError(
            f"box {text!r} is not four numbers", hint="write it as left,top,right,bottom"
        ) from error
