"""`mien serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from mien.cli.opening import DetectorName, ZeroShotArguments, ZeroShotLabelNames, open_predictor
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

__all__ = ["serve"]

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
        int, typer.Option("--max-batch", metavar="N", help="Most images that the model reads at once.")
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

    It listens on this machine only, unless --host says more. A token in the environment variable
    MIEN_SERVE_TOKEN is then required from every client.
    """
    from mien.cli.render.text import show_requests
    from mien.cli.signals import graceful_shutdown

    try:
        from mien.serve.inference import ServedModel
        from mien.serve.server import bind, run_service, url_of
        from mien.serve.settings import ServiceOptions
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("mien"):
            raise
        raise UsageError(f"serving needs {error.name}", hint='pip install "mien[serve]"') from error

    options = ServiceOptions(
        host=host,
        port=port,
        token=os.environ.get(_TOKEN) or None,
        max_batch=max_batch,
        max_wait=max_wait / 1000,
        max_pending=max_pending,
        deadline=deadline,
        max_body_bytes=int(max_upload * _MEGABYTE),
        max_pixels=int(max_pixels * 1e6),
        drain_seconds=drain,
    )
    console = make_console(as_json)
    listener = bind(options)
    try:
        opened = open_predictor(
            console,
            run=run,
            zero_shot=ZeroShotArguments(
                model=zero_shot, method=zero_shot_method(method), labels=labels, calibration=calibration
            ),
            places=places or (),
            detector=detector,
        )
        name = Path(getattr(opened.predictor, "model", "") if run is None else run).name
        model = ServedModel(
            opened.predictor, name=name, max_pixels=options.max_pixels, is_embedded=opened.is_embedded
        )
        url = url_of(listener)

        def announce() -> None:
            console.print_result(
                {"url": url, "model": model.name, "endpoints": list(model.endpoints)},
                f"serving {model.name} at {url}",
            )

        with show_requests(), graceful_shutdown(drain + _LAST_SECONDS) as shutdown:
            run_service(model, options, listener, should_stop=shutdown, on_ready=announce)
    finally:
        listener.close()
    if shutdown.exit_code is not None:
        raise typer.Exit(shutdown.exit_code)
