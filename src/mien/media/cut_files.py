"""How much an image file holds whose end is missing.

Decoders fill what is missing with gray or nothing. Here, the rows that a file really holds are counted: of a
JPEG by decoding it with different bytes in place of the missing ones, of a PNG by decompressing it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import BinaryIO, Final

from PIL import Image

from mien.media.essentials import png_chunks, with_end_marker

__all__ = ["held_by_jpeg", "held_by_png", "held_by_riff"]

_ROWS: Final = 8  # the least height of a JPEG's units, in pixels
# No byte is 0xFF, which would start a marker.
_FILLERS: Final = (b"", bytes(range(3, 243, 7)) * 8, bytes(range(240, 10, -9)) * 8)
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by a PNG's color type
_BLOCK: Final = 1 << 20


def held_by_jpeg(file: BinaryIO, decode: Callable[[BinaryIO], Image.Image]) -> float:
    """The share of the rows that a JPEG without an end marker holds; 1 if only the marker is missing.

    Args:
        file: The file.
        decode: Decodes a file, at any scale.
    """
    complete, *others = (_row_checksums(decode(with_end_marker(file, filler))) for filler in _FILLERS)
    return min(_num_equal(complete, other) for other in others) / len(complete)


def held_by_png(file: BinaryIO) -> float | None:
    """The share of the rows that a PNG file holds; None if its header is not complete."""
    unpacked, expected, decompressor = 0, 0, zlib.decompressobj()
    try:
        for kind, start, end in png_chunks(file):
            file.seek(start + 8)
            if kind == b"IHDR":
                header = file.read(13)
                width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
                expected = height * (1 + (width * header[8] * _CHANNELS[header[9]] + 7) // 8)
            elif kind == b"IDAT":
                left = max(0, end - start - 12)
                while left and unpacked < expected:
                    data = file.read(min(left, _BLOCK))
                    left -= len(data) or left
                    while data and unpacked < expected and not decompressor.eof:
                        unpacked += len(decompressor.decompress(data, _BLOCK))
                        data = decompressor.unconsumed_tail
    except (zlib.error, KeyError, IndexError):
        return None
    return None if not expected else min(1.0, unpacked / expected)


def held_by_riff(file: BinaryIO) -> float:
    """The share of the bytes that a RIFF file, such as WebP, says it has."""
    length = file.seek(0, os.SEEK_END)
    file.seek(4)
    return min(1.0, length / (int.from_bytes(file.read(4), "little") + 8))


def _row_checksums(image: Image.Image) -> list[int]:
    width, height = image.size
    return [
        zlib.crc32(image.crop((0, top, width, min(height, top + _ROWS))).tobytes())
        for top in range(0, height, _ROWS)
    ]


def _num_equal(one: list[int], other: list[int]) -> int:
    return next((number for number, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))
