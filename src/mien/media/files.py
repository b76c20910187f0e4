"""Checks a file before a decoder opens it."""

from __future__ import annotations

from pathlib import Path

from mien.documents import file_kind
from mien.errors import ImageError

__all__ = ["require_file"]


def require_file(path: Path, *, noun: str, error: type[ImageError], hint: str) -> None:
    """Raises `error` unless there is a regular file with content at the path.

    Opening anything else can hang: a pipe blocks until someone writes to it.
    """
    try:
        status = path.stat()
    except FileNotFoundError as cause:
        raise error(f"no {noun} at {path}", hint="check the path") from cause
    except (OSError, ValueError) as cause:  # ValueError: a null byte in the name
        raise error(f"{path} cannot be read: {cause}", hint=hint) from cause
    kind = file_kind(status.st_mode)
    if kind is not None:
        raise error(f"{path} is {kind}, not a regular file", hint=hint)
    if status.st_size == 0:
        raise error(f"{path} is empty (0 bytes)", hint=f"copy or download the {noun} again")
