"""Digests: one way to turn a value into a name that changes when the value does.

Goes in: plain JSON values, or bytes in a file. Comes out: SHA-256 in lower-case hex.
Knows nothing about: what is digested, or what the digest is used for.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from mien.errors import DataError

__all__ = ["canonical_json", "digest", "file_version"]


def canonical_json(value: object) -> str:
    """The one JSON text of a value: keys sorted, no spaces, Unicode kept, NaN and infinity refused."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a value has no canonical JSON: {error}", hint="use plain, finite JSON values"
        ) from error


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_version(path: Path) -> tuple[int, ...]:
    """What changes when a file does, as far as its folder can tell, so that its digest may be remembered.

    Empty for a file that is not there or cannot be looked at.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  a third faster, and asked for every picture of a data set
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
