"""Digests of values: SHA-256 of canonical JSON, in lower-case hex."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path

from mien.errors import DataError

__all__ = ["canonical_json", "digest", "file_digest", "file_version"]


def canonical_json(value: object) -> str:
    """The canonical JSON of a value: sorted keys, no spaces, Unicode unescaped, no NaN or infinity."""
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
    """Inode, size and times of a file, which change when the file does, so that its digest can be cached.

    Empty if the file does not exist or cannot be accessed.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  a third faster, and called for every image of a dataset
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def file_digest(path: Path) -> str:
    """SHA-256 of a file; reads a version of a file once per process, because weights have gigabytes."""
    return _read_digest(path, *file_version(path))


@lru_cache(maxsize=256)
def _read_digest(path: Path, *version: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
