"""The commands from training to predicting, and the demonstration.

Goes in: parsed arguments. Comes out: data on stdout, everything else on stderr.
Knows nothing about: how a room does its work; rooms are imported when their command runs.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.shared import (
    AsJson,
    Out,
    Overrides,
    RecipeFile,
    RunFolder,
    Splits,
    cache_folder,
    make_console,
    read_recipe,
)

__all__ = ["rooms"]

rooms = typer.Typer()


@rooms.command()
def train(recipe: RecipeFile, overrides: Overrides = None, out: Out = None, as_json: AsJson = False) -> None:
    """Train the fusion on described subjects; run again after a break, it goes on where it was."""
    from mien import experiment as experiments
    from mien import pipeline

    console = make_console(as_json)
    experiment = experiments.open_experiment(read_recipe(recipe, overrides), out=out, cache=cache_folder())
    console.note(experiments.notice(experiment.recipe))
    table = pipeline.train(experiment, on_progress=console.training)
    console.settle()
    console.result(table, table)


@rooms.command()
def evaluate(run: RunFolder, splits: Splits = None, as_json: AsJson = False) -> None:
    """Score a trained run, with 95 % intervals and the chance level beside every score."""
    from mien import pipeline
    from mien.console import show_results

    console = make_console(as_json)
    results = pipeline.evaluate(run, cache=cache_folder(), splits=splits)
    console.result(asdict(results), None)
    if not as_json:
        typer.echo(show_results(results))


@rooms.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run directory with results.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page about a run."""
    from mien.report.page import report as write

    table = {"report": str(write(run))}
    make_console(as_json).result(table, table)


@rooms.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG or WebP files.", show_default=False)],
    run: Annotated[
        Path, typer.Option("--run", help="The run directory of a trained model.", show_default=False)
    ],
    box: Annotated[
        str | None, typer.Option("--box", metavar="L,T,R,B", help="The person, in pixels; for one image.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many labels to print.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Say how the person in each image appears to feel."""
    from mien import experiment as experiments
    from mien import pipeline
    from mien.console import show_prediction

    console = make_console(as_json)
    subjects = pipeline.subjects_of(images, box)
    recipe = experiments.recorded_recipe(run)
    console.note(experiments.notice(recipe, photographs=True))
    predictions = pipeline.predict(run, subjects)
    console.result({"predictions": [item.to_json() for item in predictions]}, None)
    if not as_json:
        typer.echo("\n\n".join(show_prediction(item, top) for item in predictions))


@rooms.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Where the demo's runs go.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """The whole method on Playhouse, a theatre drawn by code: describe, train, compare, report, predict."""
    from mien.console import show_prediction, show_results
    from mien.demo import run_demo

    console = make_console(as_json)
    shown = run_demo(out, cache=cache_folder(), note=console.note, on_describe=console.describing)
    console.result(
        {
            "results": asdict(shown.results),
            "report": str(shown.report),
            "prediction": shown.prediction.to_json(),
        },
        None,
    )
    if not as_json:
        typer.echo(show_prediction(shown.prediction, 5))
        typer.echo()
        typer.echo(show_results(shown.results))
        typer.echo(f"\nreport: {shown.report}")
