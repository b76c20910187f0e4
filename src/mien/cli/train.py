"""`mien train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.shared import (
    AsJson,
    Out,
    Overrides,
    RecipeFile,
    is_first_process,
    make_console,
    open_experiment,
)

if TYPE_CHECKING:
    from mien.cli.documents.models import FinishedTraining

__all__ = ["train"]


def train(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Out = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be trained: size, memory, duration.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on described subjects. Run again to resume an interrupted training.

    To train on N processes: torchrun --nproc-per-node N -m mien train RECIPE
    """
    from mien.cli.render.console import render_table
    from mien.cli.render.training import render_plan
    from mien.recipe.places import DATA_PLACES, MODEL_PLACES, outside_note
    from mien.runs import Run
    from mien.workflow import steps
    from mien.workflow.experiment import embedded_model_warning

    console = make_console(as_json)
    experiment = open_experiment(recipe, overrides, out)
    console.note(embedded_model_warning(experiment.recipe))
    # The recipe names data and models; the store and the features of another run are easily overlooked.
    outside = outside_note(experiment.resolved_recipe, experiment.out, but=(*DATA_PLACES, *MODEL_PLACES))
    console.note(outside)
    if dry_run:
        plan = steps.plan_training(experiment)
        console.print_result(plan.to_json(), render_plan(plan))
        return
    result = steps.train(experiment, on_progress=console.show_training)
    if is_first_process():
        Run.open(experiment.out).record_command()
    split = experiment.recipe.train.select_on
    document: FinishedTraining = {
        "run": str(experiment.out),
        "best_epoch": result.best_epoch,
        "split": split,
        "metric": result.metric,
        "score": result.best_score,
        "steps": result.steps,
    }
    score = {f"{split}_{result.metric}": result.best_score}
    table = {
        "run": document["run"],
        "best_epoch": result.best_epoch,
        **score,
        "steps": result.steps,
    }
    console.print_result({**document, **score}, render_table(table))
