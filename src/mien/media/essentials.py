"""Reads an image file as if it had no metadata, or as if its end marker were there.

Text, color profiles and camera data are not needed for the pixels, but decoders refuse a file for them, or
take much time and memory to read them.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from mien.media.jpeg_layout import START_OF_SCAN, jpeg_segments

__all__ = [
    "Essentials",
    "count_entry_bytes",
    "first_gif_frame",
    "png_chunks",
    "with_end_marker",
    "without_metadata",
]

# A part of a file, from one offset to another, or bytes in its place.
Part = tuple[int, int] | bytes
# Or None, where something is left out that may have held the orientation.
_Parts = Iterator[Part | None]

_MAX_PARTS: Final = 1 << 16
_MAX_KEPT: Final = 1 << 20  # bytes of metadata with the orientation
_PNG_PIXELS: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# Chunks, and the starts of text, that may hold the orientation.
_PNG_ORIENTATION: Final = {
    b"eXIf": b"",
    b"iTXt": b"XML:com.adobe.xmp\0",
    b"tEXt": b"Raw profile type ",
    b"zTXt": b"Raw profile type ",
}
_WEBP_PIXELS: Final = (b"VP8 ", b"VP8L", b"ALPH")
_WEBP_ORIENTATION: Final = (b"EXIF", b"XMP ")
_WEBP_ALPHA: Final = 0x10  # the flag in VP8X; those of profile, EXIF, XMP and animation are cleared
_JPEG_ORIENTATION: Final = 0xE1
_JPEG_ADOBE: Final = 0xEE
_JPEG_COMMENT: Final = 0xFE
_GIF_CONTROL: Final = b"\xf9"  # transparency of the frame that follows
_MAX_GIF_FILLER: Final = 1 << 16  # bytes between blocks, which some encoders write
# Bytes per value of the types of TIFF and EXIF entries; a decoder passes over entries of other types.
_ENTRY_BYTES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Essentials:
    """An image file without metadata.

    Attributes:
        file: The file.
        num_removed: Bytes that were left out.
        has_lost_orientation: Whether something that may have held the orientation is not in it.
    """

    file: BinaryIO
    num_removed: int
    has_lost_orientation: bool


def without_metadata(file: BinaryIO, pillow: str, *, keep_orientation: bool) -> Essentials | None:
    """The same image without metadata; None for a format without such parts, or if its structure is broken.

    Args:
        file: The image file.
        pillow: Pillow's name of its format.
        keep_orientation: Keep the intact parts that may hold the orientation.
    """
    parts_of = {"PNG": _png_parts, "JPEG": _jpeg_parts, "WEBP": _webp_parts}.get(pillow)
    if parts_of is None:
        return None
    parts: list[Part] = []
    has_lost_orientation = False
    for part in parts_of(file, keep_orientation):
        if part is None:
            has_lost_orientation = True
        elif parts and isinstance(part, tuple) and isinstance(parts[-1], tuple) and parts[-1][1] == part[0]:
            parts[-1] = (parts[-1][0], part[1])
        else:
            parts.append(part)
        if len(parts) > _MAX_PARTS:
            return None
    return Essentials(
        file=_splice(file, parts),
        num_removed=_length(file) - sum(map(_part_length, parts)),
        has_lost_orientation=has_lost_orientation,
    )


def with_end_marker(file: BinaryIO, filler: bytes = b"") -> BinaryIO:
    """The JPEG file with an end marker, and before that other bytes where its data end."""
    end = _length(file)
    file.seek(max(0, end - 1))
    if file.read(1) == b"\xff":  # the first half of a marker
        end -= 1
    return _splice(file, [(0, end), filler + b"\xff\xd9"])


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the chunks of a PNG file, lengths and checksums included."""
    end, offset = _length(file), 8
    while offset + 8 <= end:
        file.seek(offset)
        head = file.read(8)
        after = min(end, offset + int.from_bytes(head[:4]) + 12)
        yield head[4:], offset, after
        offset = after


def first_gif_frame(file: BinaryIO) -> tuple[BinaryIO, bool]:
    """A GIF file with its first frame alone and without comments, and whether there are more frames."""
    file.seek(0)
    head = file.read(13)
    file.seek(13 + _gif_palette_bytes(head[10:11]))
    parts: list[Part] = [(0, file.tell())]
    control: list[Part] = []
    for kind, start in _gif_blocks(file):
        if kind == b",":
            descriptor = file.read(9)
            file.seek(_gif_palette_bytes(descriptor[8:]) + 1, os.SEEK_CUR)
            _skip_gif_data(file)
            frame = (start, min(file.tell(), _length(file)))
            file.seek(frame[1])
            has_more = any(kind == b"," for kind, _ in _gif_blocks(file))
            return _splice(file, [*parts, *control, frame]), has_more
        if kind == _GIF_CONTROL:
            control = [(start, file.tell())]
    return _splice(file, parts), False


def count_entry_bytes(file: BinaryIO) -> int:
    """How many bytes the entries of the first directory of a TIFF file refer to, or of EXIF data.

    A decoder copies them for each entry, also if many refer to the same bytes.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    is_big = 43 in head[2:4]
    try:
        (start,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", head, 8 if is_big else 4)
        file.seek(start)
        (count,) = struct.unpack(f"{order}Q" if is_big else f"{order}H", file.read(8 if is_big else 2))
    except (struct.error, OSError, OverflowError, ValueError):
        return 0
    entry = struct.Struct(f"{order}HHQ8x" if is_big else f"{order}HHI4x")
    total = 0
    for _ in range(count):
        data = file.read(entry.size)
        if len(data) < entry.size:
            break
        _, kind, length = entry.unpack(data)
        total += length * _ENTRY_BYTES.get(kind, 0)
    return total


# --- Formats -----------------------------------------------------------------------------------------


def _png_parts(file: BinaryIO, keep_orientation: bool) -> _Parts:
    yield (0, 8)
    for kind, start, end in png_chunks(file):
        if kind in _PNG_PIXELS:
            yield (start, end)
        elif kind in _PNG_ORIENTATION:
            file.seek(start + 4)
            content = file.read(min(end - start, _MAX_KEPT) - 4)
            if content[4:].startswith(_PNG_ORIENTATION[kind]):
                # A damaged checksum, or one of a part of the chunk, is not that of the content.
                is_intact = zlib.crc32(content[:-4]) == int.from_bytes(content[-4:])
                yield (start, end) if keep_orientation and is_intact else None
        if kind == b"IEND":
            return


def _jpeg_parts(file: BinaryIO, keep_orientation: bool) -> _Parts:
    yield (0, 2)
    num_kept = 0
    for marker, start, end in jpeg_segments(file):
        if marker == START_OF_SCAN:
            yield (start, _length(file))
            return
        if marker == _JPEG_ORIENTATION:
            num_kept += end - start
            yield (start, end) if keep_orientation and num_kept <= _MAX_KEPT else None
        elif marker == _JPEG_ADOBE or not (0xE0 <= marker <= 0xEF or marker == _JPEG_COMMENT):
            yield (start, end)


def _webp_parts(file: BinaryIO, _: bool) -> _Parts:
    end, offset = _length(file), 12
    chunks: list[Part | None] = []
    while offset + 8 <= end:
        file.seek(offset)
        head = file.read(8)
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        after = min(end, offset + 8 + length + length % 2)
        if kind == b"VP8X":
            flags = file.read(min(length, 16))
            chunks.append(head + bytes([flags[0] & _WEBP_ALPHA]) + flags[1:] if flags else head)
        elif kind in _WEBP_PIXELS:
            chunks.append((offset, after))
        elif kind in _WEBP_ORIENTATION:
            chunks.append(None)
        offset = after
    total = sum(_part_length(part) for part in chunks if part is not None)
    yield b"RIFF" + (total + 4).to_bytes(4, "little") + b"WEBP"
    yield from chunks


def _gif_blocks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(kind, start) of the blocks from here on; the caller goes over a frame, which has the kind ","."""
    num_filler = 0
    while (kind := file.read(1)) not in (b"", b";") and num_filler < _MAX_GIF_FILLER:
        start = file.tell() - 1
        if kind == b"!":
            kind = file.read(1)
            _skip_gif_data(file)
            yield kind, start
        elif kind == b",":
            yield kind, start
        else:
            num_filler += 1


def _skip_gif_data(file: BinaryIO) -> None:
    while (length := file.read(1)) not in (b"", b"\0"):
        file.read(length[0])


def _gif_palette_bytes(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


# --- A file of parts ---------------------------------------------------------------------------------


class _SplicedFile(io.RawIOBase):
    """A file that consists of parts of another one, and of other bytes, without copying it."""

    def __init__(self, file: BinaryIO, parts: Sequence[Part]) -> None:
        super().__init__()
        self._file, self._parts = file, parts
        self._starts = [0]
        for part in parts:
            self._starts.append(self._starts[-1] + _part_length(part))
        self._position, self._index = 0, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        self._index = 0
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while self._index < len(self._parts) and self._starts[self._index + 1] <= self._position:
            self._index += 1
        if self._index == len(self._parts):
            return 0
        part = self._parts[self._index]
        skipped = self._position - self._starts[self._index]
        length = min(len(buffer), self._starts[self._index + 1] - self._position)
        if isinstance(part, bytes):
            data = part[skipped : skipped + length]
        else:
            self._file.seek(part[0] + skipped)
            data = self._file.read(length)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _splice(file: BinaryIO, parts: Sequence[Part]) -> BinaryIO:
    return io.BufferedReader(_SplicedFile(file, parts), 1 << 16)


def _part_length(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else part[1] - part[0]


def _length(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)
