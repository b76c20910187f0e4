"""Opens what predicts, and what finds the people, for `mien predict`, `mien explain` and `mien serve`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.errors import BoxError, DataError, UsageError
from mien.types import Box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mien.cli.render.console import Console
    from mien.predict.base import SubjectPredictor
    from mien.recipe.zero_shot import ZeroShotMethod

__all__ = [
    "DetectorName",
    "OpenedPredictor",
    "ZeroShotArguments",
    "ZeroShotLabelNames",
    "open_predictor",
    "open_run",
    "parse_box_option",
]

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
ZeroShotLabelNames = Annotated[
    str | None,
    typer.Option("--labels", metavar="SET|A,B,C", help="With --zero-shot: emotic, bold, caers, or your own."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPredictor:
    """A predictor, its name, what identifies it and its detector, and whether it knows only Playhouse."""

    name: str
    predictor: SubjectPredictor
    identity: Mapping[str, Any]
    is_embedded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotArguments:
    """What was said about scoring without training, None where nothing was."""

    model: str | None
    method: ZeroShotMethod | None
    labels: str | None
    calibration: Path | None

    @property
    def given(self) -> str | None:
        """The first option that was given."""
        options = {
            "--zero-shot": self.model,
            "--method": self.method,
            "--labels": self.labels,
            "--calibration": self.calibration,
        }
        return next((name for name, value in options.items() if value is not None), None)


def open_predictor(
    console: Console,
    *,
    run: Path | None,
    zero_shot: ZeroShotArguments,
    places: Sequence[str],
    detector: str | None,
    boxes: Sequence[Box] = (),
) -> OpenedPredictor:
    """The predictor of a run, or one that needs no training, and what finds people unless there are boxes."""
    if run is not None:
        if zero_shot.given is not None:
            raise UsageError(f"a run and {zero_shot.given} exclude each other", hint="give one of them")
        return open_run(console, run, places, detector, boxes)
    return _open_zero_shot(console, zero_shot, detector, boxes)


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
    found = _open_people_detector(
        console, predictor, detector, boxes, embedded=warning is not None, device=recipe.run.device
    )
    calibration = run / CALIBRATION
    identity = {
        "run": model_digest(run),
        "calibration": calibration.read_text(encoding="utf-8") if calibration.exists() else None,
        "detector": found,
    }
    return OpenedPredictor(
        name=run.resolve().name, predictor=predictor, identity=identity, is_embedded=warning is not None
    )


def _open_zero_shot(
    console: Console, given: ZeroShotArguments, detector: str | None, boxes: Sequence[Box]
) -> OpenedPredictor:
    from mien.labels import LABEL_SETS
    from mien.predict.zero_shot.open import open_calibrated, open_zero_shot
    from mien.weights.model_folder import EMBEDDED
    from mien.workflow.experiment import EMBEDDED_MODEL_WARNING

    names: str | list[str] | None = given.labels
    if given.labels is not None and given.labels not in LABEL_SETS:
        names = [name.strip() for name in given.labels.split(",")]
    if given.calibration is not None:
        predictor = open_calibrated(given.calibration, model=given.model, method=given.method, labels=names)
    else:
        predictor = open_zero_shot(given.model, names or "emotic", method=given.method or "likelihood")
    is_embedded = predictor.model == EMBEDDED
    if is_embedded:
        console.note(EMBEDDED_MODEL_WARNING)
    if given.model is None and given.calibration is None:
        console.note(f"no run is given: labels are scored without training, by {predictor.model}")
    found = _open_people_detector(console, predictor, detector, boxes, embedded=is_embedded, device="auto")
    identity = {
        "zero_shot": predictor.model_digest,
        "calibration": None if predictor.calibration is None else predictor.calibration.to_json(),
        "detector": found,
    }
    name = Path(predictor.model).name
    return OpenedPredictor(name=name, predictor=predictor, identity=identity, is_embedded=is_embedded)


def _open_people_detector(
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
