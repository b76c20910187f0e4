"""What may lie where a file belongs: folders, pipes, devices, sockets, and documents without data."""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

DEPTH: Final = 100_000

Place = Callable[[Path], None]


def _write(content: bytes) -> Place:
    def place(path: Path) -> None:
        path.write_bytes(content)

    return place


def _socket(path: Path) -> None:
    opened = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path has at most 108 bytes
    try:
        opened.bind(path.name)
    finally:
        os.chdir(here)
        opened.close()


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: takes no room on the disk


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


NO_FILES: Final[Mapping[str, Place]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "device": _device,
    "socket": _socket,
}
NO_DOCUMENTS: Final[Mapping[str, Place]] = {
    "hole of a terabyte": _huge,
    "nested arrays": _write(b"[" * DEPTH + b"]" * DEPTH),
    "nested objects": _write(b'{"schema":' * DEPTH + b"1" + b"}" * DEPTH),
    "number of 5,000 digits": _write(b'{"schema": 1' + b"0" * 5000 + b"}"),
    "null": _write(b"null"),
    "not UTF-8": _write(bytes(range(256))),
}


def replace(path: Path, place: Place) -> None:
    """Puts something else at the path of a file."""
    path.unlink()
    place(path)
