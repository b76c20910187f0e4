"""`mien predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.shared import AsJson, make_console
from mien.errors import UsageError
from mien.types import Box, Subject

__all__ = ["predict"]


def predict(
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG or WebP files.", show_default=False)],
    run: Annotated[Path, typer.Option("--run", help="Run directory of a trained model.", show_default=False)],
    box: Annotated[
        str | None,
        typer.Option("--box", metavar="L,T,R,B", help="Box of the person, in pixels; for a single image."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Number of labels to print.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Predict the apparent emotion of a person.

    Without a box, the whole image is the subject.
    """
    from mien.cli.render.results import render_prediction
    from mien.workflow import experiment as experiments
    from mien.workflow import steps

    console = make_console(as_json)
    subjects = _subjects_of(images, box)
    console.note(experiments.embedded_model_warning(experiments.recorded_recipe(run), photographs=True))
    predictions = steps.predict(run, subjects)
    console.print_result(
        {"predictions": [prediction.to_json() for prediction in predictions]},
        "\n\n".join(render_prediction(prediction, top) for prediction in predictions),
    )


def _subjects_of(images: Sequence[Path], box: str | None) -> list[Subject]:
    """One subject per image; a box is for a single image."""
    if box is not None and len(images) > 1:
        raise UsageError(f"one box for {len(images)} images", hint="give --box with a single image")
    return [Subject.still(str(path), path, None if box is None else _parse_box(box)) for path in images]


def _parse_box(text: str) -> Box:
    try:
        left, top, right, bottom = (float(edge) for edge in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"box {text!r} is not four numbers", hint="write it as left,top,right,bottom"
        ) from error
    return Box(left=left, top=top, right=right, bottom=bottom)
