"""A service that really listens, on a free port of this machine, in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mien.predict.base import SubjectPredictor
from mien.serve.inference import ServedModel
from mien.serve.server import bind, run_service, url_of
from mien.serve.settings import ServiceOptions

__all__ = ["RunningService", "running_service"]


@dataclass
class RunningService:
    """A service; `stop` asks it to end, as a signal would."""

    url: str
    model: ServedModel
    options: ServiceOptions
    thread: threading.Thread
    stop: threading.Event

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port


@contextmanager
def running_service(
    model: SubjectPredictor | ServedModel, *, wait: bool = True, **settings: Any
) -> Iterator[RunningService]:
    """Serves until the block ends; `wait` for it to be ready."""
    options = ServiceOptions(port=0, **settings)
    if isinstance(model, SubjectPredictor):
        model = ServedModel(model, name="tiny", max_pixels=options.max_pixels, is_embedded=True)
    listener = bind(options)
    stop, ready, failed = threading.Event(), threading.Event(), []
    url = url_of(listener)

    def serve() -> None:
        try:
            run_service(model, options, listener, should_stop=stop.is_set, on_ready=ready.set)
        except Exception as error:  # noqa: BLE001  the test gets it
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=serve, name="service")
    thread.start()
    try:
        if wait:
            ready.wait()
        if failed:
            raise failed[0]
        yield RunningService(url, model, options, thread, stop)
    finally:
        stop.set()
        thread.join()
