"""Small files that decode to as much as the limit of pixels allows, and more."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["LARGE", "write_png"]

_BYTES: Final = {(1, 0): 1 / 8, (8, 0): 1, (16, 0): 2, (8, 2): 3, (16, 2): 6, (8, 3): 1, (8, 4): 2, (8, 6): 4}


def write_png(path: Path, width: int, height: int, *, depth: int, color: int, level: int = 77) -> Path:
    """A complete PNG of one level of gray, written without holding its pixels."""
    row = b"\0" + bytes([level]) * max(1, int(width * _BYTES[depth, color]))
    packer = zlib.compressobj(1)
    per_block = max(1, (1 << 20) // len(row))
    data = []
    for first in range(0, height, per_block):
        data.append(packer.compress(row * min(per_block, height - first)))
    data.append(packer.flush())
    palette = bytes(range(256)) * 3 if color == 3 else b""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)),
        *(((b"PLTE", palette),) if palette else ()),
        (b"IDAT", b"".join(data)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


# Whether it is read, and how it is written.
LARGE: Final[dict[str, tuple[bool, Callable[[Path], Path]]]] = {
    "16-bit gray": (True, lambda path: write_png(path, 10_000, 8_000, depth=16, color=0)),
    "transparent": (True, lambda path: write_png(path, 8_900, 8_900, depth=8, color=6)),
    "with a palette": (True, lambda path: write_png(path, 8_900, 8_980, depth=8, color=3)),
    "one row": (True, lambda path: write_png(path, 40_000_000, 1, depth=8, color=4)),
    "one column": (False, lambda path: write_png(path, 1, 60_000_000, depth=16, color=0)),
    "one column of bits": (False, lambda path: write_png(path, 1, 80_000_000, depth=1, color=0)),
}
