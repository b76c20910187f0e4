"""`mien ablate`, and `mien demo`, which is an ablation on Playhouse."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.shared import AsJson, Overrides, cache_directory, make_console

if TYPE_CHECKING:
    from mien.cli.documents.models import DemoRun
    from mien.cli.render.console import Console

__all__ = ["ablate", "demo"]


def ablate(
    grid: Annotated[
        Path,
        typer.Argument(
            metavar="GRID", help="Grid in TOML, such as those in recipes/ablations/.", show_default=False
        ),
    ],
    base: Annotated[
        Path | None, typer.Option("--base", help="Base recipe instead of the grid's.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", min=0, help="Use only this seed; repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the runs.", show_default="runs/RECIPE-GRID")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train and compare variants of a recipe.

    Each variant is trained with several seeds and compared with a reference. Existing and shared results are
    reused.
    """
    from mien.ablation.grid import load_grid
    from mien.ablation.study import ablate as run_grid
    from mien.ablation.study import default_folder
    from mien.cli.render.results import render_ablation
    from mien.workflow import experiment as experiments

    console = make_console(as_json)
    loaded = load_grid(grid, base=base, overrides=overrides or (), seeds=seeds or ())
    console.note(experiments.embedded_model_warning(loaded.recipe(loaded.reference_variant)))
    ablation = run_grid(
        loaded,
        out or default_folder(loaded),
        cache=cache_directory(),
        note=console.note,
        on_describe=console.show_describing,
    )
    console.print_result(ablation.to_json(), render_ablation(ablation))


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of the demo's runs.")] = Path("runs/demo"),
    ui: Annotated[
        bool, typer.Option("--ui", help="Then serve the trained model, with a page to try it.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", help="With --ui: port of the page; 0 for a free one.")
    ] = 8000,
    as_json: AsJson = False,
) -> None:
    """Run the whole method on Playhouse.

    Playhouse is a small drawn world. The demo describes it, trains, compares, reports and predicts.
    """
    if ui:
        _demo_with_page(out, port, as_json)
    else:
        _run_demo(make_console(as_json), out)


def _demo_with_page(out: Path, port: int, as_json: bool) -> None:
    """The demo, and then a service of its first run with the page."""
    from mien.cli.opening import open_run
    from mien.cli.serve import require_service, serve_predictor
    from mien.workflow.steps import evaluate

    require_service()  # before the demo, which takes minutes
    from mien.serve.server import bind
    from mien.serve.settings import ServiceOptions

    console, options = make_console(as_json), ServiceOptions(port=port)
    listener = bind(options)
    try:
        run = _run_demo(console, out)
        console.note("scoring the validation split, so that the page can say how sure the model is")
        evaluate(run, cache=cache_directory(), splits=("val",))
        opened = open_run(console, run, (), None, ())
        code = serve_predictor(console, opened, "demo", options, listener, is_result=False)
    finally:
        listener.close()
    if code is not None:
        raise typer.Exit(code)


def _run_demo(console: Console, out: Path) -> Path:
    """Runs and prints the demo; returns the directory of the run that it shows."""
    from mien.ablation.demo import run_demo
    from mien.cli.render.results import render_prediction, render_results

    result = run_demo(out, cache=cache_directory(), note=console.note, on_describe=console.show_describing)
    document: DemoRun = {
        "results": result.results,
        "report": str(result.report),
        "run": str(result.run),
        "image": str(result.image),
        "prediction": result.prediction.to_json(),
    }
    text = (
        f"{render_prediction(result.prediction, 5)}\n\n{render_results(result.results)}\n\n"
        f"report: {result.report}"
    )
    console.print_result(document, text)
    run = out / result.run.relative_to(out.absolute())
    command = ["mien", "predict", str(result.image), "--run", str(run), "--annotate", "marked"]
    console.note(f"try: {shlex.join(command)}")
    return result.run
