"""The command line as a whole: its commands, and how a process ends.

A failure prints two lines: what happened, and what to do. With MIEN_DEBUG=1 the traceback precedes them.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final

import typer

from mien.cli.ablate import ablate, demo
from mien.cli.data import data, doctor
from mien.cli.describe import describe
from mien.cli.evaluate import calibrate, compare, evaluate, report
from mien.cli.explain import explain
from mien.cli.export import export, push
from mien.cli.predict import predict
from mien.cli.render.text import escape_logs, escape_text, show_downloads
from mien.cli.serve import serve
from mien.cli.train import train
from mien.errors import DataError, EngineError, MienError, UsageError
from mien.runs import command_line
from mien.version import __version__

__all__ = ["app", "run_command_line"]

_MAX_SHOWN: Final = 4000  # characters of a message, which may quote a file
_PIPE_CLOSED: Final = 141  # 128 + SIGPIPE
# Errors of a disk that any write may meet; they are not defects of mien.
_DISK: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_DISK_HINT: Final = "make room on the disk, or name a writable folder; everything written so far is kept"

app = typer.Typer(
    name="mien",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich would take longer than everything else
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data")
app.add_typer(describe, name="describe")
app.add_typer(export, name="export")
for _command in (
    train,
    evaluate,
    calibrate,
    compare,
    ablate,
    report,
    predict,
    explain,
    serve,
    push,
    demo,
    doctor,
):
    app.command()(_command)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Describe and classify how people in photos appear to feel.

    Estimates are about appearance, not about feelings. See RESPONSIBLE_USE.md.
    """
    if version:
        typer.echo(f"mien {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run_command_line(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, the one of this process by default, and returns the exit code.

    A KeyboardInterrupt passes through.
    """
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        if any("\0" in argument for argument in given):
            raise UsageError("an argument contains a NUL character", hint="remove it")
        # Outside of standalone mode, Typer raises its errors and returns the code of `Exit`.
        with escape_logs(), show_downloads(), command_line(["mien", *given]):
            code = app(given, prog_name="mien", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except MienError as error:
        return _report(error)
    except typer.TyperException as error:
        return _report(_usage_error(error))
    except typer.Abort as error:  # what Typer makes of an interrupt
        raise KeyboardInterrupt from error
    except SystemExit as ended:
        cause = ended.__context__
        if isinstance(cause, OSError) and cause.errno == errno.EPIPE:  # the reader, such as `head`, has ended
            return _PIPE_CLOSED
        raise
    except Exception as error:  # noqa: BLE001  the last line of defense: users never see a bare traceback
        return _report_unexpected(error)


def _report(error: MienError, cause: BaseException | None = None) -> int:
    with suppress(OSError):  # what stderr leads to may be full or closed; the exit code still tells
        if os.environ.get("MIEN_DEBUG") == "1":
            typer.echo(escape_text("".join(traceback.format_exception(cause or error))), err=True)
        typer.echo(f"error: {_one_line(str(error))}", err=True)
        typer.echo(f"hint: {_one_line(error.hint or 'see mien --help')}", err=True)
    return error.exit_code


def _report_unexpected(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno is not None:
        hint = _DISK_HINT if error.errno in _DISK else "check the file or folder that is named here"
        return _report(DataError(str(error), hint=hint), cause=error)
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # of Python before 3.13
        return _report(DataError(str(error), hint="name a place without such links"), cause=error)
    if isinstance(error, MemoryError):
        hint = "close other programs, or lower run.batch_size and run.workers"
        return _report(EngineError("out of memory", hint=hint), cause=error)
    hint = "this is a defect of mien; run again with MIEN_DEBUG=1 and report the output"
    return _report(MienError(f"unexpected {type(error).__name__}: {error}", hint=hint), cause=error)


def _usage_error(error: typer.TyperException) -> UsageError:
    """Our error for wrong arguments, with the nearest valid option if Typer knows one."""
    context = getattr(error, "ctx", None)
    hint = f"see {context.command_path if context is not None else 'mien'} --help"
    near = getattr(error, "possibilities", None)
    if near:
        return UsageError(error.message, hint=f"did you mean {' or '.join(sorted(near))}? {hint}")
    return UsageError(error.format_message(), hint=hint)


def _one_line(text: str) -> str:
    line = escape_text(" ".join(text.split()))
    rest = len(line) - _MAX_SHOWN
    return line if rest <= 0 else f"{line[:_MAX_SHOWN]}... ({rest:,} more characters)"
