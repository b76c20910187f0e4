"""`mien describe RECIPE`; the commands on existing descriptions are in `descriptions`."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from mien.cli.descriptions import commands
from mien.cli.render.console import render_table
from mien.cli.shared import AsJson, Out, Overrides, RecipeFile, Splits, make_console, open_experiment
from mien.cli.signals import graceful_shutdown
from mien.errors import ItemsFailedError

if TYPE_CHECKING:
    from mien.cli.documents.describe import CountedTokens, DescribeRun, ListedFailure
    from mien.describe.progress import DescribeSummary
    from mien.describe.shards import Shard
    from mien.types import Failure
    from mien.workflow.experiment import Experiment

__all__ = ["describe"]

_RUN: Final = "run"


class _RunByDefault(TyperGroup):
    """A group whose first word, if it is not a command, is the recipe of `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_help = bool(args) and args[0] in ctx.help_option_names
        is_completed = ctx.resilient_parsing and not args  # by the shell, which asks for commands
        if not is_help and not is_completed and (not args or args[0] not in self.commands):
            args = [_RUN, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        formatter.write_usage(ctx.command_path, "RECIPE [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        # First the options of `run`, then the other commands.
        self.commands[_RUN].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


describe = typer.Typer(
    cls=_RunByDefault,
    rich_markup_mode=None,
    help="Describe subjects; manage descriptions.\n\nA vision-language model describes each subject.",
)


@describe.command(_RUN)
def run(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Out = None,
    splits: Splits = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry subjects that failed before.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Describe only the Ith of N parts, in its own store."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster", metavar="ray|ADDRESS", help="Use Ray workers: on this machine, or at an address."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what remains to be done and its cost.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Describe subjects (default command).

    Subjects that have a description are skipped. Run again to resume an interrupted run.
    """
    from mien.cli.render.descriptions import render_preflight
    from mien.describe.shards import Shard
    from mien.workflow import descriptions, steps
    from mien.workflow.experiment import embedded_model_warning

    console = make_console(as_json)
    if cluster is not None:
        overrides = [*(overrides or ()), f"run.cluster={json.dumps(cluster)}"]
    experiment = open_experiment(recipe, overrides, out)
    part = None if shard is None else Shard.parse(shard)
    console.note(embedded_model_warning(experiment.recipe))
    chosen: dict[str, Any] = {"splits": splits, "shard": part, "retry_failed": retry_failed}
    if dry_run:
        preflight = descriptions.preflight(experiment, **chosen)
        console.print_result(asdict(preflight), render_preflight(preflight))
        return
    with graceful_shutdown() as shutdown:
        summary = steps.describe(
            experiment,
            **chosen,
            on_preflight=lambda preflight: console.note(f"note: {render_preflight(preflight)}"),
            on_progress=console.show_describing,
            stop=shutdown,
        )
    console.end_progress()
    stopped = None if shutdown.signal is None else shutdown.signal.name
    failures = descriptions.failures(experiment, splits, part) if summary.failed and not stopped else ()
    document = _document(experiment, summary, part, stopped, failures)
    console.print_result(document, render_table(_shown(document)))
    console.note(_next_step(experiment, part, stopped))
    if shutdown.exit_code is not None:
        raise typer.Exit(shutdown.exit_code)
    _require_all_described(summary, failures)


def _document(
    experiment: Experiment,
    summary: DescribeSummary,
    part: Shard | None,
    stopped: str | None,
    failures: tuple[Failure, ...],
) -> DescribeRun:
    from mien.workflow.descriptions import store_path

    listed: list[ListedFailure] = [{"id": failure.subject_id, "error": failure.error} for failure in failures]
    tokens: CountedTokens | None = None
    if (found := summary.tokens) is not None:
        tokens = {"replies": found.replies, "prompt": found.prompt, "completion": found.completion}
    document: DescribeRun = {
        "described": summary.done,
        "already_described": summary.skipped,
        "failed": summary.failed,
        "seconds": round(summary.seconds, 2),
        "per_second": round(summary.rate, 2),
        "batch_size": summary.batch_size,
        "tokens": tokens,
        "store": str(store_path(experiment, part)),
        "failures": listed,
    }
    if stopped:
        document["stopped_by"] = stopped
    return document


def _shown(document: DescribeRun) -> dict[str, Any]:
    """The document for a reader: without failures; tokens in two lines, or none if they are not counted."""
    shown: dict[str, Any] = {}
    for name, value in document.items():
        if name not in ("tokens", "failures"):
            shown[name] = value
        elif name == "tokens" and (tokens := document["tokens"]) is not None:
            for title, count in (("tokens_read", tokens["prompt"]), ("tokens_written", tokens["completion"])):
                shown[title] = f"{count:,} ({count / tokens['replies']:,.0f} per reply)"
    return shown


def _next_step(experiment: Experiment, part: Shard | None, stopped: str | None) -> str | None:
    """What to do next: after a signal, run again; after a shard, merge."""
    if stopped:
        return f"note: stopped by {stopped}; descriptions so far are kept. Run the same command to resume"
    if part is None:
        return None
    stores = shlex.join(str(path) for path in part.all_store_paths(experiment.store))
    return (
        f"note: when all {part.count} shards are done: mien describe merge {stores} --out {experiment.store}"
    )


def _require_all_described(summary: DescribeSummary, failures: tuple[Failure, ...]) -> None:
    """ItemsFailedError if some subjects have no description."""
    if summary.failed:
        first = f"; the first: {failures[0].subject_id}: {failures[0].error}" if failures else ""
        raise ItemsFailedError(
            f"{summary.failed} of {summary.done + summary.skipped + summary.failed} subjects have no "
            f"description{first}",
            hint="fix the cause and run again with --retry-failed",
        )


for command in commands:
    describe.command(command.__name__.rstrip("_"))(command)
