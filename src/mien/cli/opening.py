"""Opens what predicts, and says what it is, for `mien predict`, `mien explain` and `mien serve`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import BoxError, DataError, UsageError
from mien.types import Box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.cli.render.console import Console
    from mien.predict.opening import OpenedPredictor
    from mien.recipe.zero_shot import ZeroShotMethod

__all__ = [
    "DetectorName",
    "ZeroShotArguments",
    "ZeroShotLabelNames",
    "open_predictor",
    "open_run",
    "parse_box_option",
]

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
    from mien.predict.loading import find_source, unread_places
    from mien.predict.opening import open_trained
    from mien.predict.predictor import Predictor
    from mien.recipe.places import outside_note, recorded_recipe
    from mien.workflow.experiment import embedded_model_warning
    from mien.workflow.steps import limit_threads

    source = find_source(run, places)
    if source.recipe is None:
        source = replace(source, recipe=recorded_recipe(source.folder, places))
    assert source.recipe is not None
    console.note(embedded_model_warning(source.recipe, photographs=True))
    limit_threads(source.recipe)
    opened = open_trained(source, places, detector=_none_for(boxes, detector))
    assert isinstance(opened.predictor, Predictor)
    trained = opened.predictor.trained
    but = unread_places(trained.classifier.fusion)
    console.note(outside_note(trained.recipe, source.folder, but=but))
    _note_detector(console, opened)
    return opened


def _open_zero_shot(
    console: Console, given: ZeroShotArguments, detector: str | None, boxes: Sequence[Box]
) -> OpenedPredictor:
    from mien.predict.opening import open_untrained
    from mien.predict.zero_shot.predictor import ZeroShotPredictor
    from mien.workflow.experiment import EMBEDDED_MODEL_WARNING

    opened = open_untrained(
        given.model,
        method=given.method,
        labels=given.labels,
        calibration=given.calibration,
        detector=_none_for(boxes, detector),
    )
    if opened.is_embedded:
        console.note(EMBEDDED_MODEL_WARNING)
    if given.model is None and given.calibration is None:
        assert isinstance(opened.predictor, ZeroShotPredictor)
        console.note(f"no run is given: labels are scored without training, by {opened.predictor.model}")
    _note_detector(console, opened)
    return opened


def _none_for(boxes: Sequence[Box], detector: str | None) -> str | None:
    return "none" if boxes else detector


def _note_detector(console: Console, opened: OpenedPredictor) -> None:
    detector = opened.predictor.detector
    if detector is not None:
        console.note(f"people are found by {detector.name}")


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
