"""What the guard of the proxies and the replicas refuse by themselves, and where they log it."""

from __future__ import annotations

import logging
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Scope

from mien.serve.errors import RequestError, error_answer
from mien.serve.security import SECURITY_HEADERS, check_access
from mien.serve.settings import ServiceOptions, is_loopback

__all__ = ["GUARDED", "REPLICA_HEADER", "check_request", "error_response", "log_to_serve"]

GUARDED: Final = "mien.guarded"  # in the scope of a request, which no client can write
REPLICA_HEADER: Final = "x-mien-replica"


def check_request(scope: Scope, options: ServiceOptions) -> None:
    """Refuses who may not use the service, as `check_access` does, and without a token other machines.

    A process that listens where others can reach it refuses to start without a token. Replicas do not know
    where Serve's proxies listen, so each connection is looked at instead.

    Raises:
        RequestError: 401 without the token, 403 for another machine, another site, or another name of the
            host.
    """
    if options.token is None and not (_is_local(scope, "client") and _is_local(scope, "server")):
        raise RequestError(
            403,
            "forbidden",
            "the service is only for this machine, and the request comes from another one",
            hint="the operator can let others in by setting MIEN_SERVE_TOKEN on each node",
        )
    check_access(scope["path"], Headers(scope=scope), options)


def _is_local(scope: Scope, end: str) -> bool:
    address = scope.get(end)
    return address is not None and is_loopback(str(address[0]))


def error_response(error: RequestError, request_id: str) -> JSONResponse:
    """The answer to a request that no application gets to see; equal to that of `mien.serve.app`."""
    content, headers = error_answer(error, request_id)
    headers |= {name.decode(): value.decode() for name, value in SECURITY_HEADERS}
    headers["x-request-id"] = request_id
    return JSONResponse(content, status_code=error.status, headers=headers)


class _ToServe(logging.Handler):
    """Hands records to Serve's own log, which is one file per replica or proxy."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger("ray.serve").handle(record)


def log_to_serve() -> None:
    """From now on, what `mien.serve` logs in this process goes where Serve logs."""
    logger = logging.getLogger("mien.serve")
    if not any(isinstance(handler, _ToServe) for handler in logger.handlers):
        logger.addHandler(_ToServe())
        logger.setLevel(logging.INFO)
        logger.propagate = False
