"""Reads small files whole, within bounds: no waiting for a pipe, no endless device, no stack overflow.

What is at a path may be anything: a folder, a pipe that no one writes to, a device, a document nested a
million deep. Every such case is an OSError or a ValueError here, the two that every reader handles anyway.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

__all__ = [
    "MAX_BYTES",
    "MAX_TABLE_BYTES",
    "file_kind",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_text",
    "require_file",
    "require_files",
]

MAX_BYTES: Final = 256 * 2**20  # of a document that is read into memory
MAX_TABLE_BYTES: Final = 4 * 2**30  # of one with an entry per sample
# What a shell passes for `<(command)` and for `-`: pipes with a writer.
_DESCRIPTORS: Final = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def file_kind(mode: int) -> str | None:
    """What is at a path, such as "a pipe", by the mode that `Path.stat` gives; None for a regular file."""
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "something else")


def require_file(path: Path) -> None:
    """Raises OSError unless there is a regular file at the path; for libraries that open paths themselves.

    Raises:
        FileNotFoundError: There is nothing at the path.
        OSError: There is a folder, a pipe, a device or a socket, or the path is not valid.
    """
    try:
        _require_regular(path.stat().st_mode, path)
    except ValueError as error:  # a NUL
        raise _invalid(path) from error


def require_files(folder: Path, patterns: Iterable[str]) -> None:
    """`require_file` of everything in a folder whose name matches a pattern; only weights may be huge."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            require_file(path)
            if path.suffix != ".safetensors":
                _require_length(path.stat().st_size, MAX_BYTES, path)


def read_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a regular file, or of a pipe of the shell, as in `<(command)`.

    Raises:
        FileNotFoundError: There is nothing at the path.
        OSError: The path is not a regular file, it cannot be read, or it is longer than `max_bytes`.
    """
    is_passed = str(path).startswith(_DESCRIPTORS)
    if not is_passed:
        require_file(path)
    # What is at the path may change in between; without O_NONBLOCK, opening a pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if is_passed else os.O_NONBLOCK))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not (is_passed and stat.S_ISFIFO(status.st_mode)):
            _require_regular(status.st_mode, path)
        _require_length(status.st_size, max_bytes, path)
        content = file.read(max_bytes + 1 if is_passed else -1)
    _require_length(len(content), max_bytes, path)
    return content


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """As `read_bytes`, decoded from UTF-8; UnicodeDecodeError if it is something else."""
    return read_bytes(path, max_bytes=max_bytes).decode()


def read_json(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """The JSON document in a file; OSError as `read_bytes`, ValueError as `parse_json`."""
    return parse_json(read_bytes(path, max_bytes=max_bytes))


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON document; ValueError if it is not JSON, not UTF-8, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _require_regular(mode: int, path: Path) -> None:
    kind = file_kind(mode)
    if kind is not None:
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, f"is {kind}, not a file", str(path))


def _require_length(length: int, max_bytes: int, path: Path) -> None:
    if length > max_bytes:
        raise OSError(errno.EFBIG, f"is longer than {max_bytes:,} bytes", str(path))


def _invalid(path: Path) -> OSError:
    return OSError(errno.EINVAL, "the path contains a NUL character", str(path))
