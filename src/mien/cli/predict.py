"""`mien predict`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.shared import AsJson, NewPlaces, make_console
from mien.errors import BoxError, DataError, ItemsFailedError, UsageError
from mien.types import Box

if TYPE_CHECKING:
    from mien.predict.results import Results

__all__ = ["predict"]


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE", help="Images, folders of images, or patterns.", show_default=False),
    ],
    run: Annotated[Path, typer.Option("--run", help="Run directory of a trained model.", show_default=False)],
    box: Annotated[
        str | None,
        typer.Option("--box", metavar="L,T,R,B", help="Box of the person, in pixels; for a single image."),
    ] = None,
    places: NewPlaces = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Number of labels to print.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Predict the apparent emotion of a person.

    Without a box, the whole image is the subject.
    """
    from mien.cli.render.results import render_predictions
    from mien.predict.predictor import Predictor, unread_places
    from mien.recipe.places import outside_note
    from mien.workflow.experiment import embedded_model_warning, recorded_recipe
    from mien.workflow.steps import limit_threads

    if box is not None and len(images) > 1:
        raise UsageError(f"one box for {len(images)} images", hint="give --box with a single image")
    sources = images if box is None else [(images[0], [_parse_box(box)])]
    console = make_console(as_json)
    recipe = recorded_recipe(run, places or ())
    console.note(embedded_model_warning(recipe, photographs=True))
    limit_threads(recipe)
    predictor = Predictor.from_pretrained(run, device=recipe.run.device, overrides=places or ())
    trained = predictor.trained
    console.note(outside_note(trained.recipe, run, but=unread_places(trained.classifier.fusion)))
    found = list(predictor.stream(sources))
    errors = [error for results in found for error in results.errors]
    if len(found) == len(errors) == 1:
        raise errors[0]
    console.print_result(
        {"predictions": [_to_json(results) for results in found]},
        "\n\n".join(render_predictions(results, top) for results in found),
    )
    if errors:
        raise ItemsFailedError(
            f"{len(errors)} of {len(found)} images failed, for example {errors[0]}", hint=errors[0].hint
        )


def _to_json(results: Results) -> dict[str, Any]:
    """The prediction of the one person in an image, or why there is none."""
    (error, *_) = (*results.errors, None)
    if error is not None:
        return {"subject_id": results.source, "status": "failed", "error": str(error), "hint": error.hint}
    prediction = results[0].prediction
    assert prediction is not None, "a person without an error has a prediction"
    return replace(prediction, subject_id=results.source).to_json()


def _parse_box(text: str) -> Box:
    from mien.media.boxes import parse_box

    try:
        return parse_box(text)
    except BoxError:
        raise
    except DataError as error:
        raise UsageError(
            f"box {text!r} is not four numbers", hint="write it as left,top,right,bottom"
        ) from error
