"""`mien evaluate`, `mien calibrate`, `mien compare` and `mien report`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.shared import (
    AsJson,
    CalibrationPlace,
    Method,
    Out,
    Root,
    Splits,
    ZeroShotModel,
    cache_directory,
    make_console,
    recipe_of,
    zero_shot_method,
)
from mien.errors import ItemsFailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.cli.documents.models import OfRun, WrittenPages
    from mien.cli.render.console import Console
    from mien.evaluate.results.results import Evaluation
    from mien.recipe.zero_shot import ZeroShotMethod
    from mien.workflow.experiment import Experiment

__all__ = ["calibrate", "compare", "evaluate", "report"]

Scored = Annotated[
    str,
    typer.Argument(
        metavar="RUN|RECIPE|NAME",
        help="Run directory; or, to score without training, a recipe or the name of a dataset.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="A.B=VALUE",
        help="New place of moved data or models of a run; any key of a recipe; repeatable.",
    ),
]


def evaluate(
    run: Scored,
    splits: Splits = None,
    settings: Settings = None,
    zero_shot: ZeroShotModel = None,
    method: Method = None,
    calibration: CalibrationPlace = None,
    root: Root = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Score a trained model, or one that needs no training.

    Every score comes with a 95 % interval and its chance level. Without training, people are scored once: run
    it again to go on.
    """
    console = make_console(as_json)
    chosen = zero_shot_method(method)
    if _is_trained(run, zero_shot, chosen):
        if calibration is not None or out is not None or root is not None:
            raise UsageError(
                f"{run} is a trained run, which has its data, its folder and its calibration",
                hint="leave out --calibration, --out and --root",
            )
        _evaluate_trained(console, Path(run), splits, settings or ())
        return
    from mien.cli.render.results import render_results
    from mien.predict.zero_shot.open import load_calibration
    from mien.runs import Run
    from mien.workflow.zero_shot import evaluate_zero_shot

    experiment = _open_zero_shot(console, run, zero_shot, chosen, settings or (), root, out)
    results = evaluate_zero_shot(
        experiment,
        splits=splits,
        calibration=None if calibration is None else load_calibration(calibration),
        on_progress=console.show_scoring,
    )
    Run.open(experiment.out).record_command()
    of_run: OfRun = {"run": str(experiment.out)}
    console.print_result({**asdict(results), **of_run}, render_results(results))
    console.note(f"run: {experiment.out}")
    _require_all_scored(results)


def calibrate(
    run: Scored,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Split to fit on.", show_default="the one that stops training"),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            "--fit",
            metavar="platt|temperature",
            help="A slope and an offset per label, or one temperature.",
            show_default="platt; temperature where exactly one label holds",
        ),
    ] = None,
    settings: Settings = None,
    zero_shot: ZeroShotModel = None,
    method: Method = None,
    root: Root = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Fit probabilities, thresholds and prediction sets to scores without training.

    They are fitted on a split with labels, and saved in the run for mien evaluate and mien predict.
    """
    from mien.cli.render.console import render_table
    from mien.errors import unknown_name
    from mien.runs import Run
    from mien.workflow.zero_shot import FITS, calibrate_zero_shot

    console = make_console(as_json)
    chosen = zero_shot_method(method)
    if _is_trained(run, zero_shot, chosen):
        raise UsageError(f"{run} is a trained run", hint=f"mien evaluate {run} calibrates it")
    kind = next((known for known in FITS if known == fit), None)
    if fit is not None and kind is None:
        raise unknown_name("calibration", fit, FITS)
    experiment = _open_zero_shot(console, run, zero_shot, chosen, settings or (), root, out)
    found = calibrate_zero_shot(experiment, split=split, method=kind, on_progress=console.show_scoring)
    Run.open(experiment.out).record_command()
    table = {
        "run": str(experiment.out),
        "split": found.split,
        "samples": found.n,
        "method": found.method,
        "labels": len(found.labels),
        "sure from": f"a score of {found.min_confidence:.3f}, of {found.answered:.0%} of the people",
        "sets": "none" if found.coverage is None else f"a coverage of {found.coverage:.0%}",
    }
    of_run: OfRun = {"run": str(experiment.out)}
    console.print_result({**found.to_json(), **of_run}, render_table(table))
    if found.set_note:
        console.note(f"note: {found.set_note}")
    if found.shared:
        console.note(f"note: too rare for a slope of their own: {', '.join(found.shared)}")
    if found.defaulted:
        console.note(f"note: the threshold is 0.5 without a positive sample: {', '.join(found.defaulted)}")
    console.note(f"next: mien evaluate {experiment.out}")


def _is_trained(run: str, model: str | None, method: ZeroShotMethod | None) -> bool:
    """Whether a trained run is meant: a directory that does not say how to score without training."""
    from mien.recipe.places import recorded_recipe
    from mien.registry import registered_names
    from mien.runs import MANIFEST

    if (Path(run) / MANIFEST).exists():
        if model is not None or method is not None:
            raise UsageError(
                f"{run} is a run, which has its model", hint="leave out --zero-shot and --method"
            )
        return recorded_recipe(Path(run)).zero_shot.method is None
    is_recipe = run.endswith(".toml") or run in registered_names("dataset")
    return model is None and method is None and not is_recipe


def _evaluate_trained(
    console: Console, run: Path, splits: Sequence[str] | None, places: Sequence[str]
) -> None:
    from mien.cli.render.results import render_results
    from mien.recipe.places import outside_note, recorded_recipe
    from mien.runs import Run
    from mien.workflow import steps

    console.note(outside_note(recorded_recipe(run, places), run, but=("model.init",)))
    results = steps.evaluate(run, cache=cache_directory(), splits=splits, overrides=places)
    Run.open(run).record_command()
    console.print_result(asdict(results), render_results(results))


def _open_zero_shot(
    console: Console,
    run: str,
    model: str | None,
    method: ZeroShotMethod | None,
    settings: Sequence[str],
    root: Path | None,
    out: Path | None,
) -> Experiment:
    """The experiment of a run without training, or of a recipe or dataset that is to become one."""
    from mien.runs import MANIFEST
    from mien.workflow.experiment import embedded_model_warning, load_experiment, open_experiment
    from mien.workflow.zero_shot import zero_shot_recipe

    if (Path(run) / MANIFEST).exists():
        if out is not None or root is not None:
            raise UsageError(
                f"{run} is a run, which has its data and its folder",
                hint="leave out --out and --root; --set data.root=PATH names data that were moved",
            )
        return load_experiment(Path(run), cache=cache_directory(), overrides=settings)
    given = recipe_of(run, root, overrides=settings)
    if model is None and method is None and given.zero_shot.method is None:
        raise UsageError(
            f"{run} is not a run, and does not say how to score without training",
            hint="name a run directory, or give --zero-shot MODEL",
        )
    recipe = zero_shot_recipe(given, model=model, method=method)
    if model is None:
        console.note(f"labels are scored by {recipe.describe.model}, method {recipe.zero_shot.method}")
    experiment = open_experiment(recipe, out=out, cache=cache_directory())
    console.note(embedded_model_warning(experiment.recipe))
    return experiment


def _require_all_scored(results: Evaluation) -> None:
    if results.unscored:
        raise ItemsFailedError(
            f"{len(results.unscored)} people could not be scored, for example {results.unscored[0]!r}",
            hint="see the notes; fix the cause, and run it again",
        )


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


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Run directory with results; several with --compare.", show_default=False
        ),
    ],
    compare_them: Annotated[
        bool, typer.Option("--compare", help="Write one page that compares the runs with the first one.")
    ] = False,
    photos: Annotated[
        str,
        typer.Option(
            "--photos",
            metavar="full|blurred|none",
            help="Show photos as they are, with heads blurred beyond recovery, or not at all.",
        ),
    ] = "full",
    faces: Annotated[
        Path | None,
        typer.Option(
            "--faces",
            metavar="FILE",
            help="With --photos blurred: also blur the faces that this YuNet finds (ONNX).",
            show_default=False,
        ),
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            "--tables",
            metavar="FOLDER",
            help="Also write every table as CSV and LaTeX into this folder.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="With --compare: the split.", show_default="test, or one that all have"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="With --compare: the page.", show_default="comparison.html"
        ),
    ] = None,
    explain: Annotated[
        int,
        typer.Option(
            "--explain",
            min=0,
            metavar="N",
            help="Explain the N best and the N worst predictions of a trained run, and keep why in the run.",
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Write an HTML page about a run, or one that compares runs.

    The page is self-contained, and nothing on it runs.
    """
    from mien.errors import unknown_name
    from mien.report.photos import PHOTO_MODES, FaceFinder
    from mien.report.tables.write import write_tables

    mode = next((known for known in PHOTO_MODES if known == photos), None)
    if mode is None:
        raise unknown_name("way to show photos", photos, PHOTO_MODES)
    if faces is not None and mode != "blurred":
        raise UsageError("--faces blurs faces, and photos are not blurred", hint="add --photos blurred")
    if not compare_them:
        _require_one_run(runs, split, out)
    elif explain:
        raise UsageError("--explain is for the report of one run", hint="explain each run without --compare")
    console, failures = make_console(as_json), []
    finder = None if faces is None else FaceFinder(faces)
    if compare_them:
        from mien.report.comparison.page import (
            COMPARISON,
            comparison_tables,
            load_comparison,
            write_comparison,
        )

        found = load_comparison(runs, split=split)
        page = write_comparison(found, out or Path(COMPARISON), photos=mode, find_faces=finder)
        document: WrittenPages = {"comparison": str(page)}
        values = comparison_tables(found)
    else:
        from mien.report.run.contents import load_contents
        from mien.report.run.page import CURVE, write_report
        from mien.report.tables.of_run import run_tables

        if explain:
            from mien.workflow.explanations import explain_examples

            failures = explain_examples(
                runs[0],
                explain,
                on_progress=lambda done, of: console.note(f"explaining person {done + 1} of {of}"),
            )
        page = write_report(runs[0], photos=mode, find_faces=finder)
        curve = runs[0] / CURVE
        document = {"report": str(page), "curve": str(curve)} if curve.exists() else {"report": str(page)}
        values = () if tables is None else run_tables(load_contents(runs[0]))
    if tables is not None:
        write_tables(values, tables)
        document["tables"] = str(tables)
    console.print_table(document)
    if failures:
        raise ItemsFailedError(
            f"{len(failures)} people could not be explained, for example: {failures[0]}",
            hint=failures[0].hint or "the page shows the others",
        )


def _require_one_run(runs: Sequence[Path], split: str | None, out: Path | None) -> None:
    if len(runs) > 1:
        raise UsageError(f"{len(runs)} runs have no common report", hint="add --compare, or name one run")
    if split is not None or out is not None:
        raise UsageError(
            "--split and --out are for --compare; the report of a run lies in the run",
            hint="leave them out, or name several runs and --compare",
        )
