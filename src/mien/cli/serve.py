"""`mien serve`."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.cli.opening import (
    DetectorName,
    ZeroShotArguments,
    ZeroShotLabelNames,
    open_predictor,
)
from mien.cli.shared import (
    AsJson,
    CalibrationPlace,
    Method,
    NewPlaces,
    ZeroShotModel,
    make_console,
    zero_shot_method,
)
from mien.errors import UsageError

if TYPE_CHECKING:
    import socket

    from mien.cli.documents.models import ServedAddress
    from mien.cli.render.console import Console
    from mien.predict.opening import OpenedPredictor
    from mien.serve.settings import ServiceOptions

__all__ = ["require_service", "serve", "serve_predictor"]

_TOKEN: Final = "MIEN_SERVE_TOKEN"
_MEGABYTE: Final = 2**20
_LAST_SECONDS: Final = 10.0  # for clients to read the last answers


def serve(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN|FOLDER|NAME]",
            help="Run directory of a trained model, a saved folder, or a name on the Hugging Face Hub.",
            show_default=False,
        ),
    ] = None,
    zero_shot: ZeroShotModel = None,
    method: Method = None,
    calibration: CalibrationPlace = None,
    labels: ZeroShotLabelNames = None,
    detector: DetectorName = None,
    places: NewPlaces = None,
    host: Annotated[
        str,
        typer.Option("--host", help=f"Address to listen on; others than loopback need {_TOKEN}."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on; 0 for a free one.")] = 8000,
    max_batch: Annotated[
        int, typer.Option("--max-batch", metavar="N", help="Most images of requests that share a batch.")
    ] = 32,
    max_wait: Annotated[
        float,
        typer.Option("--max-wait", metavar="MS", help="Milliseconds to wait for others to fill a batch."),
    ] = 5.0,
    max_pending: Annotated[
        int, typer.Option("--max-pending", metavar="N", help="Most requests at once; more get status 429.")
    ] = 64,
    deadline: Annotated[
        float, typer.Option("--deadline", metavar="S", help="Most seconds from a request to its answer.")
    ] = 60.0,
    max_upload: Annotated[
        float, typer.Option("--max-upload", metavar="MIB", help="Largest request, in MiB.")
    ] = 32.0,
    max_pixels: Annotated[
        float, typer.Option("--max-pixels", metavar="MP", help="Largest image, in megapixels.")
    ] = 80.0,
    drain: Annotated[
        float,
        typer.Option("--drain", metavar="S", help="Seconds to answer what was accepted, after a signal."),
    ] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Serve a model over HTTP: predict, describe and explain people in uploaded photos.

    Without a run and --zero-shot, labels are scored without training, by a small model that is downloaded
    once (1 GB).

    It listens on this machine only, unless --host says more. A token in the environment variable
    MIEN_SERVE_TOKEN is then required from every client.
    """
    require_service()
    from mien.serve.batching import call_in_thread
    from mien.serve.server import bind
    from mien.serve.settings import ServiceOptions

    options = ServiceOptions(
        host=host,
        port=port,
        token=os.environ.get(_TOKEN) or None,
        max_batch=max_batch,
        max_wait=max_wait / 1000,
        max_pending=max_pending,
        deadline=deadline,
        max_body_bytes=_whole(max_upload * _MEGABYTE, "--max-upload"),
        max_pixels=_whole(max_pixels * 1e6, "--max-pixels"),
        drain_seconds=drain,
    )
    console = make_console(as_json)
    listener = bind(options)
    try:
        opened = call_in_thread(
            lambda: open_predictor(
                console,
                run=run,
                zero_shot=ZeroShotArguments(
                    model=zero_shot, method=zero_shot_method(method), labels=labels, calibration=calibration
                ),
                places=places or (),
                detector=detector,
            )
        )
        code = serve_predictor(console, opened, opened.name, options, listener, is_result=True)
    finally:
        listener.close()
    if code is not None:
        raise typer.Exit(code)


def _whole(value: float, option: str) -> int:
    if not 1 <= value < math.inf:
        raise UsageError(f"{option} is too small or not a number", hint="give a number above 0")
    return int(value)


def require_service() -> None:
    """UsageError unless what `mien[serve]` brings is installed."""
    try:
        import mien.serve.server  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("mien"):
            raise
        raise UsageError(f"serving needs {error.name}", hint='pip install "mien[serve]"') from error


def serve_predictor(
    console: Console,
    opened: OpenedPredictor,
    name: str,
    options: ServiceOptions,
    listener: socket.socket,
    *,
    is_result: bool,
) -> int | None:
    """Serves until a signal, whose exit code it returns.

    Args:
        console: Gets the address as soon as the service is ready.
        opened: Predicts.
        name: What clients call the model.
        options: The limits.
        listener: A socket from `bind`.
        is_result: Whether the address is the result of the command, and not a note.
    """
    from mien.cli.render.text import show_requests
    from mien.cli.signals import graceful_shutdown
    from mien.serve.inference import ServedModel
    from mien.serve.server import run_service, url_of

    model = ServedModel(
        opened.predictor, name=name, max_pixels=options.max_pixels, is_embedded=opened.is_embedded
    )
    url = url_of(listener)

    def announce() -> None:
        if is_result:
            document: ServedAddress = {
                "url": url,
                "model": model.name,
                "endpoints": list(model.endpoints),
            }
            console.print_result(document, f"serving {model.name} at {url}")
        else:
            console.note(f"open {url} in a browser; stop with Ctrl+C")

    with show_requests(), graceful_shutdown(options.drain_seconds + _LAST_SECONDS) as shutdown:
        run_service(model, options, listener, should_stop=shutdown, on_ready=announce)
    return shutdown.exit_code
