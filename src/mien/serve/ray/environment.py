"""What proxies and replicas read from the environment of their node."""

from __future__ import annotations

import os
from typing import Final

from mien.errors import UsageError

__all__ = ["DEFAULT_MAX_UPLOAD", "max_body_bytes", "max_upload_of_proxies", "token"]

DEFAULT_MAX_UPLOAD: Final = 32.0  # MiB
_TOKEN: Final = "MIEN_SERVE_TOKEN"
_MAX_UPLOAD: Final = "MIEN_SERVE_MAX_UPLOAD"
_MEGABYTE: Final = 2**20
# With these, HAProxy or a balancer stands before replicas, whose address says nothing about the client.
_RELAYED: Final = (
    "RAY_SERVE_ENABLE_HA_PROXY",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED",
)


def token(*, unguarded: bool = False) -> str | None:
    """What clients must send; None if every program on the node may ask.

    Args:
        unguarded: Whether another proxy stands before the replicas, instead of the guard.

    Raises:
        UsageError: It is missing where requests of other machines may come through a proxy on this one.
    """
    found = os.environ.get(_TOKEN) or None
    relayed = [name for name in _RELAYED if os.environ.get(name, "") not in ("", "0")]
    why = "unguarded is true" if unguarded else f"{relayed[0]} is set" if relayed else None
    if found is None and why is not None:
        raise UsageError(
            f"{why}, so requests of other machines may seem to come from this one, and {_TOKEN} is not set",
            hint=f"set {_TOKEN} on each node: openssl rand -hex 32",
        )
    return found


def max_upload_of_proxies() -> int:
    """The most bytes of a request that a proxy passes on.

    Raises:
        UsageError: It is not a number of MiB.
    """
    text = os.environ.get(_MAX_UPLOAD) or str(DEFAULT_MAX_UPLOAD)
    try:
        return max_body_bytes(float(text))
    except (ValueError, OverflowError, UsageError) as error:
        raise UsageError(f"{_MAX_UPLOAD} is {text!r}", hint="give a number of MiB") from error


def max_body_bytes(mebibytes: float) -> int:
    """The bytes of this many MiB; UsageError for less than one byte."""
    count = int(mebibytes * _MEGABYTE)
    if count < 1:
        raise UsageError(f"an upload of {mebibytes} MiB is too small", hint="give a number above 0")
    return count
