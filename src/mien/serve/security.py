"""Who may use a service: a token off loopback, and on loopback no page of another site.

Programs on the same machine may use a service on loopback. A browser on it runs pages of anyone, so requests
that a page of another origin makes are refused, and so are names that another site has pointed here (DNS
rebinding). No response allows another origin to read it.
"""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from mien.serve.errors import RequestError
from mien.serve.page.files import PAGE_PATHS
from mien.serve.settings import ServiceOptions, is_loopback

__all__ = ["PUBLIC_PATHS", "SECURITY_HEADERS", "check_access", "is_public", "request_id_of"]

PUBLIC_PATHS: Final = ("/healthz", "/readyz")  # an orchestrator has no token

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

SECURITY_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def check_access(path: str, headers: Mapping[str, str], options: ServiceOptions) -> None:
    """Refuses who may not use the service.

    Args:
        path: The path of the request.
        headers: Its headers, with names in small letters.
        options: The host and the token.

    Raises:
        RequestError: 401 without the token, 403 for a page of another origin or another name of the host.
    """
    host = headers.get("host", "")
    if options.token is None and not _is_local(host):
        raise RequestError(
            403,
            "forbidden",
            "the service is only for this machine, and the request names another host",
            hint="use 127.0.0.1 or localhost, or give the service a token",
        )
    if path in PAGE_PATHS:  # a link of another site may lead here
        return
    origin = headers.get("origin")
    if headers.get("sec-fetch-site") == "cross-site" or (origin is not None and _is_foreign(origin, host)):
        raise RequestError(
            403,
            "forbidden",
            "the request comes from a page of another site",
            hint="call the service from a program, or serve the page from the same address",
        )
    if options.token is None or is_public(path):
        return
    scheme, _, given = headers.get("authorization", "").partition(" ")
    # Digests have the same length, so that the time says nothing about the token, nor about its length.
    if not hmac.compare_digest(_digest(given.strip()), _digest(options.token)) or scheme.lower() != "bearer":
        raise RequestError(
            401, "unauthorized", "the token is missing or wrong", hint="send Authorization: Bearer TOKEN"
        )


def is_public(path: str) -> bool:
    """Whether a path needs no token."""
    return path in PUBLIC_PATHS or path in PAGE_PATHS


def request_id_of(headers: Mapping[str, str]) -> str:
    """The id that the client has chosen for a request, if it may stand in a log, or a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogateescape")).digest()


def _is_foreign(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() != host.lower()
    except ValueError:
        return True


def _is_local(host: str) -> bool:
    """Whether a Host header names this machine alone."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)
