"""The application of one replica: the service of a single process, which knows that it is one of several."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import torch
from prometheus_client.samples import Sample
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from mien.errors import EngineError
from mien.serve.app import create_app
from mien.serve.batching import call_in_thread
from mien.serve.errors import RequestError
from mien.serve.ray.arguments import Arguments
from mien.serve.ray.model import open_model
from mien.serve.ray.refusals import GUARDED, REPLICA_HEADER, check_request
from mien.serve.service import Service
from mien.serve.settings import ServiceOptions

__all__ = ["ReplicaApp"]


class ReplicaApp:
    """Answers the requests that Serve gives to a replica, with a model that is loaded and warm.

    Args:
        arguments: The model and the limits.
        replica: Its id, which each answer names.

    Raises:
        MienError: The model cannot be loaded on this node.
    """

    def __init__(self, arguments: Arguments, replica: str) -> None:
        torch.set_num_threads(max(1, int(arguments.cpus)))
        options = arguments.service_options()
        model = call_in_thread(lambda: open_model(arguments, max_pixels=options.max_pixels))
        self._service = Service(model, options)
        self._app = create_app(self._service, check=self._check)
        self._replica, self._needs_guard = replica, not arguments.unguarded
        # In a thread, because constructors of replicas run in an event loop.
        call_in_thread(lambda: asyncio.run(self._service.start()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REPLICA_HEADER] = self._replica
            await send(message)

        await self._app(scope, receive, send_named)

    def _check(self, scope: Scope, options: ServiceOptions) -> None:
        if self._needs_guard and GUARDED not in scope:
            raise RequestError(
                503,
                "not_ready",
                "Serve's proxies run without the guard of mien, which bounds what they hold",
                hint="start Ray on each node with "
                "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=mien.serve.ray.proxy:guard, or deploy with "
                "unguarded=true behind a proxy that bounds bodies",
            )
        check_request(scope, options)
        if scope["path"] == "/metrics":
            raise RequestError(
                404,
                "not_found",
                "one replica would answer for all",
                hint="read the metrics of all replicas, ray_mien_..., from Ray",
            )

    def check_health(self) -> None:
        """EngineError if Serve must replace the replica."""
        self._service.require_alive()
        if not self._service.is_ready:
            raise EngineError("the service is closed", hint="Serve replaces the replica")

    def samples(self) -> Iterator[Sample]:
        """What the service has counted."""
        return self._service.metrics.samples()

    def close(self) -> None:
        """Ends the thread of the model; Serve has drained the replica before."""
        self._service.close()
