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


def token() -> str | None:
    """What clients must send; None if every program on the node may ask."""
    return os.environ.get(_TOKEN) or None


def max_upload_of_proxies() -> int:
    """The most bytes of a request that a proxy passes on.

    Raises:
        UsageError: It is not a number of MiB.
    """
    text = os.environ.get(_MAX_UPLOAD) or str(DEFAULT_MAX_UPLOAD)
    try:
        return max_body_bytes(float(text))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{_MAX_UPLOAD} is {text!r}", hint="give a number of MiB") from error


def max_body_bytes(mebibytes: float) -> int:
    """The bytes of this many MiB; UsageError if there are none."""
    count = int(mebibytes * _MEGABYTE)
    if count < 1:
        raise UsageError(f"an upload of {mebibytes} MiB is too small", hint="give a number above 0")
    return count
