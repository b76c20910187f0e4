"""The command `mien`: one command for each room, and the one place that prints, reads the environment, exits.

Goes in: the arguments. Comes out: data on stdout, everything else on stderr, an exit code.
Knows nothing about: how a room does its work; rooms are imported when their command runs.

A failure is two lines, what happened and what to do; with MIEN_DEBUG=1 the traceback comes before them.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mien import __version__
from mien.errors import ItemsFailedError, MienError, UsageError

if TYPE_CHECKING:
    from mien.console import Console
    from mien.recipe import Recipe

__all__ = ["app", "main"]

_INTERRUPTED: Final = 130  # the shells' convention: 128 + SIGINT
_TERMINATED: Final = 143  # 128 + SIGTERM
_PIPE_CLOSED: Final = 141  # 128 + SIGPIPE
_SCHEMA: Final = 1

app = typer.Typer(
    name="mien",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would take longer to import than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeFile = Annotated[Path, typer.Argument(help="A recipe in TOML, as in recipes/.", show_default=False)]
RunFolder = Annotated[
    Path, typer.Argument(help="A run directory that mien train filled.", show_default=False)
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override one key; may be repeated.")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="The run directory.", show_default="runs/NAME-OF-RECIPE")
]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Only this split; may be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """How people in photographs appear to feel: in words, and in labels.

    What is estimated is the appearance, never the feeling. See RESPONSIBLE_USE.md.
    """
    if version:
        typer.echo(f"mien {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def describe(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Out = None,
    splits: Splits = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again what failed before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a vision-language model describe every subject; what is described already is not described
    again."""
    from mien import experiment as experiments
    from mien import pipeline

    console = _console(as_json)
    experiment = experiments.open_experiment(_recipe(recipe, overrides), out=out, cache=_cache())
    console.note(experiments.notice(experiment.recipe))
    summary = pipeline.describe(
        experiment, splits=splits, retry_failed=retry_failed, on_progress=console.describing
    )
    console.settle()
    failures = experiments.failures(experiment, splits) if summary.failed else ()
    table = {
        "described": summary.done,
        "already_described": summary.skipped,
        "failed": summary.failed,
        "seconds": round(summary.seconds, 2),
        "per_second": round(summary.rate, 2),
        "store": str(experiment.store),
    }
    console.result(table | {"failures": [{"id": f.subject_id, "error": f.error} for f in failures]}, table)
    if summary.failed:
        first = f"; the first: {failures[0].subject_id}: {failures[0].error}" if failures else ""
        raise ItemsFailedError(
            f"{summary.failed} of {summary.done + summary.skipped + summary.failed} subjects have no "
            f"description{first}",
            hint="mend them and run again with --retry-failed",
        )


@app.command()
def train(recipe: RecipeFile, overrides: Overrides = None, out: Out = None, as_json: AsJson = False) -> None:
    """Train the fusion on described subjects; run again after a break, it goes on where it was."""
    from mien import experiment as experiments
    from mien import pipeline

    console = _console(as_json)
    experiment = experiments.open_experiment(_recipe(recipe, overrides), out=out, cache=_cache())
    console.note(experiments.notice(experiment.recipe))
    table = pipeline.train(experiment, on_progress=console.training)
    console.settle()
    console.result(table, table)


@app.command()
def evaluate(run: RunFolder, splits: Splits = None, as_json: AsJson = False) -> None:
    """Score a trained run, with 95 % intervals and the chance level beside every score."""
    from mien import pipeline
    from mien.console import show_results

    console = _console(as_json)
    results = pipeline.evaluate(run, cache=_cache(), splits=splits)
    console.result(asdict(results), None)
    if not as_json:
        typer.echo(show_results(results))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run directory with results.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page about a run."""
    from mien.report.page import report as write

    table = {"report": str(write(run))}
    _console(as_json).result(table, table)


@app.command()
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

    console = _console(as_json)
    subjects = pipeline.subjects_of(images, box)
    recipe = experiments.recorded_recipe(run)
    console.note(experiments.notice(recipe, photographs=True))
    predictions = pipeline.predict(run, subjects)
    console.result({"predictions": [item.to_json() for item in predictions]}, None)
    if not as_json:
        typer.echo("\n\n".join(show_prediction(item, top) for item in predictions))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Where the demo's runs go.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """The whole method on Playhouse, a theatre drawn by code: describe, train, compare, report, predict."""
    from mien.console import show_prediction, show_results
    from mien.demo import run_demo

    console = _console(as_json)
    shown = run_demo(out, cache=_cache(), note=console.note, on_describe=console.describing)
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


# --- What the commands share ---


def _recipe(path: Path, overrides: Sequence[str] | None) -> Recipe:
    from mien.config import load_recipe

    return load_recipe(path, overrides or ())


def _cache() -> Path:
    """Where what can be made again is kept, as the desktop's convention has it."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "mien"


def _console(as_json: bool) -> Console:
    from mien.console import Console

    plain = not sys.stderr.isatty() or bool(os.environ.get("NO_COLOR"))
    return Console(as_json=as_json, schema=_SCHEMA, live=not plain, out=typer.echo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line (the process's own by default) and returns the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        # Outside of standalone mode, Typer hands over what went wrong and the code of `Exit`.
        code = app(None if arguments is None else list(arguments), prog_name="mien", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except MienError as error:
        return _report(error)
    except typer.TyperException as error:
        return _report(_usage_error(error))
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has enough; Python must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except Exception as error:  # noqa: BLE001  the last line of defence: a user never meets a traceback
        hint = "this is a defect of mien; run again with MIEN_DEBUG=1 and report what it prints"
        return _report(MienError(f"unexpected {type(error).__name__}: {error}", hint=hint), cause=error)


def _terminate(signum: int, frame: Any) -> None:
    """As after an interrupt: what was committed is kept, locks are given back, nothing else is."""
    raise SystemExit(_TERMINATED)


def _report(error: MienError, cause: BaseException | None = None) -> int:
    if os.environ.get("MIEN_DEBUG") == "1":
        traceback.print_exception(cause or error)
    typer.echo(f"error: {_one_line(str(error))}", err=True)
    typer.echo(f"hint: {_one_line(error.hint or 'see mien --help')}", err=True)
    return error.exit_code


def _usage_error(error: typer.TyperException) -> UsageError:
    """What Typer says about wrong arguments, with the nearest valid option where it knows one."""
    context = getattr(error, "ctx", None)
    hint = f"see {context.command_path if context is not None else 'mien'} --help"
    near = getattr(error, "possibilities", None)
    if near:
        return UsageError(error.message, hint=f"did you mean {' or '.join(sorted(near))}? {hint}")
    return UsageError(error.format_message(), hint=hint)


def _one_line(text: str) -> str:
    return " ".join(text.split())
