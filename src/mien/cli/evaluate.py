"""`mien evaluate` and `mien compare`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.shared import AsJson, NewPlaces, RunFolder, Splits, cache_directory, make_console

__all__ = ["compare", "evaluate"]


def evaluate(
    run: RunFolder, splits: Splits = None, places: NewPlaces = None, as_json: AsJson = False
) -> None:
    """Score a trained model.

    Every score comes with a 95 % interval and its chance level.
    """
    from mien.cli.render.results import render_results
    from mien.recipe.places import outside_note, recorded_recipe
    from mien.workflow import steps

    console = make_console(as_json)
    console.note(outside_note(recorded_recipe(run, places or ()), run, but=("model.init",)))
    results = steps.evaluate(run, cache=cache_directory(), splits=splits, overrides=places or ())
    console.print_result(asdict(results), render_results(results))


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run directories with results.", show_default=False)
    ],
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", help="Use only this metric; repeatable.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Split on which to compare.")] = "test",
    published: Annotated[
        bool, typer.Option("--published", help="Also show published scores, with their caveats.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare evaluated runs.

    Prints paired differences from the first run. Seeds of one recipe form one row.
    """
    from mien.cli.render.results import render_comparison
    from mien.workflow.steps import compare as compare_runs

    comparison = compare_runs(runs, split=split, metrics=metrics, published=published)
    make_console(as_json).print_result(comparison.to_json(), render_comparison(comparison))
