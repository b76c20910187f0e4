"""`mien describe`: the run itself, and what can be done with what it wrote (see `stored`).

Goes in: parsed arguments. Comes out: data on stdout, everything else on stderr.
Knows nothing about: how anything is described; rooms are imported when their command runs.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from mien.cli.shared import (
    AsJson,
    Out,
    Overrides,
    RecipeFile,
    Splits,
    cache_folder,
    make_console,
    read_recipe,
)
from mien.cli.signals import draining
from mien.cli.stored import commands
from mien.errors import ItemsFailedError

if TYPE_CHECKING:
    from mien.describe.progress import DescribeSummary
    from mien.describe.shards import Shard
    from mien.types import Failure
    from mien.workflow.experiment import Experiment

__all__ = ["describe"]

_RUN: Final = "run"


class _RunByDefault(TyperGroup):
    """A group in which a first word that is no command of its own is the recipe of `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        asks_for_help = bool(args) and args[0] in ctx.help_option_names
        if not asks_for_help and (not args or args[0] not in self.commands):
            args = [_RUN, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        formatter.write_usage(ctx.command_path, "RECIPE [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        # What may follow a recipe, then the other commands.
        self.commands[_RUN].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


describe = typer.Typer(
    cls=_RunByDefault,
    rich_markup_mode=None,
    help="Let a vision-language model describe every subject of a recipe, and look after its descriptions.",
)


@describe.command(_RUN)
def run(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Out = None,
    splits: Splits = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again what failed before.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Only the Ith of N parts, in a store of its own."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="ray|ADDRESS", help="On workers of Ray: here, or at an address."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what there is to do and what it will take.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Describe every subject that is not described yet; what is given without a command."""
    from mien.cli.render_data import show_preflight
    from mien.describe.shards import Shard
    from mien.workflow import descriptions
    from mien.workflow import experiment as experiments
    from mien.workflow import steps as pipeline

    console = make_console(as_json)
    if cluster is not None:
        overrides = [*(overrides or ()), f"run.cluster={json.dumps(cluster)}"]
    experiment = experiments.open_experiment(read_recipe(recipe, overrides), out=out, cache=cache_folder())
    part = None if shard is None else Shard.parse(shard)
    console.note(experiments.notice(experiment.recipe))
    chosen: dict[str, Any] = {"splits": splits, "shard": part, "retry_failed": retry_failed}
    if dry_run:
        _show_dry_run(descriptions.preflight(experiment, **chosen), as_json)
        return
    with draining() as drain:
        summary = pipeline.describe(
            experiment,
            **chosen,
            on_preflight=lambda ahead: console.note(f"note: {show_preflight(ahead)}"),
            on_progress=console.describing,
            stop=drain,
        )
    console.settle()
    stopped = None if drain.signal is None else drain.signal.name
    failures = descriptions.failures_of(experiment, splits, part) if summary.failed and not stopped else ()
    table = _table(experiment, summary, part) | ({"stopped_by": stopped} if stopped else {})
    console.result(table | {"failures": [{"id": f.subject_id, "error": f.error} for f in failures]}, table)
    console.note(_what_next(experiment, part, stopped))
    if drain.exit_code is not None:
        raise typer.Exit(drain.exit_code)
    _require_all(summary, failures)


def _show_dry_run(ahead: Any, as_json: bool) -> None:
    from dataclasses import asdict

    from mien.cli.render_data import show_preflight

    make_console(as_json).result(asdict(ahead), None)
    if not as_json:
        typer.echo(show_preflight(ahead))


def _table(experiment: Experiment, summary: DescribeSummary, part: Shard | None) -> dict[str, Any]:
    from mien.workflow.descriptions import store_of

    return {
        "described": summary.done,
        "already_described": summary.skipped,
        "failed": summary.failed,
        "seconds": round(summary.seconds, 2),
        "per_second": round(summary.rate, 2),
        "store": str(store_of(experiment, part)),
    }


def _what_next(experiment: Experiment, part: Shard | None, stopped: str | None) -> str | None:
    """What is left to do, for people: after a signal to run again, after a shard to merge."""
    if stopped:
        return f"note: stopped by {stopped}; what was described is kept: run the same command again to go on"
    if part is None:
        return None
    stores = shlex.join(str(path) for path in part.siblings(experiment.store))
    return (
        f"note: when all {part.count} shards are done: mien describe merge {stores} --out {experiment.store}"
    )


def _require_all(summary: DescribeSummary, failures: tuple[Failure, ...]) -> None:
    """ItemsFailedError if some subjects have no description."""
    if summary.failed:
        first = f"; the first: {failures[0].subject_id}: {failures[0].error}" if failures else ""
        raise ItemsFailedError(
            f"{summary.failed} of {summary.done + summary.skipped + summary.failed} subjects have no "
            f"description{first}",
            hint="mend them and run again with --retry-failed",
        )


for command in commands:
    describe.command(command.__name__.rstrip("_"))(command)
