"""What a service may be told: where it listens, who may use it, and how much it takes on."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, field, fields

from mien.errors import UsageError
from mien.media.decode import MAX_PIXELS

__all__ = ["ServiceOptions", "is_loopback"]

_MIN_TOKEN = 16  # characters
_MEGABYTE = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """Where a service listens, who may use it, and its limits.

    Attributes:
        host: The address to listen on. Anything but a loopback address needs a token.
        port: The port; 0 for a free one.
        token: What clients must send as `Authorization: Bearer TOKEN`; None to let every local program in.
        max_batch: The most images of requests that share a batch.
        max_wait: Seconds that a request waits for others to fill its batch, unless it is the only one.
        max_pending: Requests that are being read, wait, or are answered; more are refused.
        max_explaining: Of these, requests for explanations, which take long.
        deadline: Seconds from the start of a request to its answer.
        max_images: Images per request.
        max_boxes: Boxes per image.
        max_body_bytes: Bytes of a request's body.
        max_pending_bytes: Bytes of all bodies that are held at once.
        max_pixels: Pixels per image.
        head_seconds: For the header of a request.
        idle_seconds: Between two pieces of a body.
        read_seconds: For a whole body, but no longer than `deadline`.
        max_connections: Open connections.
        drain_seconds: After a signal, to answer what was accepted.

    Raises:
        UsageError: A number is too small, or a token is missing or too short.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    max_batch: int = 32
    max_wait: float = 0.005
    max_pending: int = 64
    max_explaining: int = 4
    deadline: float = 60.0
    max_images: int = 16
    max_boxes: int = 64
    max_body_bytes: int = 32 * _MEGABYTE
    max_pending_bytes: int = 512 * _MEGABYTE
    max_pixels: int = MAX_PIXELS
    head_seconds: float = 10.0
    idle_seconds: float = 10.0
    read_seconds: float = 60.0
    max_connections: int = 500
    drain_seconds: float = 30.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            least = 0 if item.name in ("port", "max_wait") else 1e-3
            if isinstance(value, int | float) and not least <= value < math.inf:
                raise UsageError(f"{item.name} is {value}", hint="give a number above 0")
        if self.port > 65535:
            raise UsageError(f"port {self.port} is not a port", hint="give a number up to 65535")
        if self.token is not None and (len(self.token) < _MIN_TOKEN or not self.token.isascii()):
            raise UsageError(
                f"the token has fewer than {_MIN_TOKEN} ASCII characters",
                hint="make one with: openssl rand -hex 32",
            )
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                f"{self.host} can be reached from other machines, so a token is needed",
                hint="set MIEN_SERVE_TOKEN, or listen on 127.0.0.1",
            )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
