"""The commands from training to predicting, and the demonstration.

Goes in: parsed arguments. Comes out: data on stdout, everything else on stderr.
Knows nothing about: how a room does its work; rooms are imported when their command runs.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from mien.errors import UsageError
from mien.types import Box, Subject

__all__ = ["rooms"]

rooms = typer.Typer()


@rooms.command()
def train(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Out = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be trained, how large and how long it is.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train the fusion on described subjects; run again after a break, it goes on where it was. Started by
    torchrun (torchrun --nproc-per-node N -m mien train RECIPE), N processes train one model."""
    from mien.cli.render_runs import show_plan
    from mien.workflow import experiment as experiments
    from mien.workflow import steps as pipeline

    console = make_console(as_json)
    experiment = experiments.open_experiment(read_recipe(recipe, overrides), out=out, cache=cache_folder())
    console.note(experiments.notice(experiment.recipe))
    if dry_run:
        planned = pipeline.plan_training(experiment)
        console.result(planned.to_json(), None)
        if not as_json:
            typer.echo(show_plan(planned))
        return
    table = pipeline.train(experiment, on_progress=console.training)
    console.settle()
    console.result(table, table)


@rooms.command()
def evaluate(run: RunFolder, splits: Splits = None, as_json: AsJson = False) -> None:
    """Score a trained run, with 95 % intervals and the chance level beside every score."""
    from mien.cli.render_runs import show_results
    from mien.workflow import steps as pipeline

    console = make_console(as_json)
    results = pipeline.evaluate(run, cache=cache_folder(), splits=splits)
    console.result(asdict(results), None)
    if not as_json:
        typer.echo(show_results(results))


@rooms.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run directories that mien evaluate has scored.", show_default=False)
    ],
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", help="Only this metric; may be repeated.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="The split on which they are compared.")] = "test",
    published: Annotated[
        bool, typer.Option("--published", help="Also show what others reported, and what speaks against it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Set scored runs side by side, with paired differences from the first; seeds of a recipe are one row."""
    from mien.cli.render_runs import show_comparison
    from mien.workflow import compare as standing

    console = make_console(as_json)
    found = standing.compare(runs, split=split, metrics=metrics, published=published)
    console.result(found.to_json(), None)
    if not as_json:
        typer.echo(show_comparison(found))


@rooms.command()
def ablate(
    grid: Annotated[
        Path, typer.Argument(help="A grid in TOML, as in recipes/ablations/.", show_default=False)
    ],
    base: Annotated[
        Path | None, typer.Option("--base", help="Another base recipe than the grid's.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", min=0, help="Only this seed; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the runs go.", show_default="runs/RECIPE-GRID")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train variants of a recipe with several seeds, and set each beside a reference; what is there already,
    or the same for several variants, is not made again."""
    from mien.ablation.grid import load_grid
    from mien.ablation.study import ablate as run_grid
    from mien.ablation.study import ablation_folder
    from mien.cli.render_runs import show_ablation
    from mien.workflow import experiment as experiments

    console = make_console(as_json)
    loaded = load_grid(grid, base=base, overrides=overrides or (), seeds=seeds or ())
    console.note(experiments.notice(loaded.recipe(loaded.referred)))
    found = run_grid(
        loaded,
        out or ablation_folder(loaded),
        cache=cache_folder(),
        note=console.note,
        on_describe=console.describing,
    )
    console.result(found.to_json(), None)
    if not as_json:
        typer.echo(show_ablation(found))


@rooms.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run directory with results.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page about a run."""
    from mien.report.run.page import write_report

    table = {"report": str(write_report(run))}
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
    from mien.cli.render_runs import show_prediction
    from mien.workflow import experiment as experiments
    from mien.workflow import steps as pipeline

    console = make_console(as_json)
    subjects = subjects_of(images, box)
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
    from mien.ablation.demo import run_demo
    from mien.cli.render_runs import show_prediction, show_results

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


# --- What the arguments mean ---


def subjects_of(images: Sequence[Path], box: str | None) -> list[Subject]:
    """One subject a picture; a box belongs to a single picture."""
    if box is not None and len(images) > 1:
        raise UsageError(f"one box for {len(images)} images", hint="give --box with a single image")
    return [Subject.still(str(path), path, None if box is None else _box(box)) for path in images]


def _box(text: str) -> Box:
    try:
        left, top, right, bottom = (float(edge) for edge in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"box {text!r} is not four numbers", hint="write it as left,top,right,bottom"
        ) from error
    return Box(left=left, top=top, right=right, bottom=bottom)
