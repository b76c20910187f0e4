"""How a JPEG file is built: its segments, its frame and its scans, without decoding."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

__all__ = ["JpegLayout", "count_scans", "has_end_marker", "is_refined", "jpeg_layout", "jpeg_segments"]

START_OF_SCAN: Final = 0xDA
_END: Final = 0xD9
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = (0xC2, 0xC6, 0xCA, 0xCE)
_COEFFICIENTS: Final = 64
_BLOCK: Final = 1 << 20
# Within the data of a scan: neither a stuffed 0xFF, a restart, nor padding.
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegLayout:
    """How a JPEG file is built.

    Attributes:
        size: (width, height) as stored.
        components: Numbers of the components, such as one for gray.
        is_progressive: Whether each scan refines what came before.
        coefficient_bytes: What a decoder holds per pixel until the last scan; 0 if there is only one scan.
        scan: Offset of the first scan.
    """

    size: tuple[int, int]
    components: tuple[int, ...]
    is_progressive: bool
    coefficient_bytes: float
    scan: int


def jpeg_layout(file: BinaryIO) -> JpegLayout | None:
    """The layout of a JPEG file; None if it has no frame or no scan."""
    frame = b""
    is_progressive = False
    for marker, start, end in jpeg_segments(file):
        file.seek(start + 4)
        content = file.read(min(end - start, 1024))
        if marker in _FRAMES:
            frame, is_progressive = content, marker in _PROGRESSIVE
        if marker == START_OF_SCAN and len(frame) > 5 and content:
            fields = [frame[6 + 3 * number :][:2] for number in range(frame[5])]
            sampling = [(field[1] >> 4) * (field[1] & 15) for field in fields if len(field) == 2]
            samples = sum(sampling) / max(1, max(sampling, default=1))
            has_several_scans = is_progressive or content[0] < frame[5]
            return JpegLayout(
                size=(int.from_bytes(frame[3:5]), int.from_bytes(frame[1:3])),
                components=tuple(field[0] for field in fields if field),
                is_progressive=is_progressive,
                coefficient_bytes=2 * samples if has_several_scans else 0,
                scan=start,
            )
    return None


def jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of the segments up to the first scan; other bytes between them are skipped."""
    file_end, offset = file.seek(0, os.SEEK_END), 2
    while offset + 4 <= file_end:
        file.seek(offset)
        head = file.read(4)
        if head[0] != 0xFF:
            offset = _find(file, b"\xff", offset, file_end)
            continue
        if head[1] in (0xFF, 0x00, 0x01) or 0xD0 <= head[1] <= 0xD8:  # padding, or without a length
            offset += 1 if head[1] == 0xFF else 2
            continue
        if head[1] == _END:
            return
        end = min(file_end, offset + 2 + max(2, int.from_bytes(head[2:])))
        yield head[1], offset, end
        if head[1] == START_OF_SCAN:
            return
        offset = end


def has_end_marker(file: BinaryIO, layout: JpegLayout) -> bool:
    """Whether there is an end marker behind the start of the first scan."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(layout.scan, length - 2))
    if file.read() == b"\xff\xd9":
        return True
    file.seek(layout.scan)
    tail = b""
    while block := file.read(_BLOCK):
        if b"\xff\xd9" in tail + block:
            return True
        tail = block[-1:]
    return False


def count_scans(file: BinaryIO, layout: JpegLayout) -> int:
    """The number of scans, each of which makes a decoder go over all pixels."""
    file.seek(layout.scan)
    count, tail = 0, b""
    while block := file.read(_BLOCK):
        data = tail + block
        for found in _MARKER.finditer(data):
            if found.group()[1] == _END:
                return count
            count += found.group()[1] == START_OF_SCAN
        tail = data[-1:] if data.endswith(b"\xff") else b""
    return count


def is_refined(file: BinaryIO, layout: JpegLayout) -> bool:
    """Whether the scans of a progressive JPEG reach the last bit of every coefficient."""
    missing = {(component, number) for component in layout.components for number in range(_COEFFICIENTS)}
    file.seek(layout.scan)
    data = file.read()
    for found in _MARKER.finditer(data):
        if found.group()[1] == START_OF_SCAN:
            header = data[found.start() + 4 : found.start() + 64]
            components = header[1 : 1 + 2 * header[0] : 2] if header else b""
            parameters = header[1 + 2 * len(components) :][:3]
            if len(parameters) == 3 and not parameters[2] & 15:
                numbers = range(parameters[0], parameters[1] + 1)
                missing -= {(component, number) for component in components for number in numbers}
    return not missing


def _find(file: BinaryIO, byte: bytes, offset: int, end: int) -> int:
    while offset < end:
        file.seek(offset)
        found = file.read(_BLOCK).find(byte)
        if found >= 0:
            return offset + found
        offset += _BLOCK
    return end
