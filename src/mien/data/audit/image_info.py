"""Opens an image or clip once and reports its size, mode and fingerprint, or why it cannot be used.

A JPEG is decoded at a reduced scale: its whole stream is read and checked, but few pixels are computed, so
this is faster than decoding it in full.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from mien.data.audit.fingerprints import SQUARE_SIDE, Fingerprint, compute_fingerprint, gray_square
from mien.errors import MienError
from mien.media.images import MAX_PIXELS, open_image

__all__ = ["ImageInfo", "ImageProblem", "inspect_clip", "inspect_image"]

_MIN_DECODED_SIDE: Final = 3 * SQUARE_SIDE // 2  # pixels, of a JPEG
# The same as in `mien.media.images`: other decoders are rarely used and rarely hardened.
_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_MAX_BYTES_IN_MEMORY: Final = 1 << 26  # a larger file is read in parts
_EXIF_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A valid image or clip.

    Attributes:
        size: (width, height) of the upright image.
        stored_size: (width, height) in the file, before the EXIF orientation is applied.
        mode: Pillow's color mode.
        fingerprint: Of a clip, that of its middle frame.
        num_frames: None for an image.
    """

    size: tuple[int, int]
    stored_size: tuple[int, int]
    mode: str
    fingerprint: Fingerprint
    num_frames: int | None = None


@dataclass(frozen=True, slots=True)
class ImageProblem:
    """Why a file cannot be used. `kind` is a kind of `mien.types.Problem`."""

    kind: str
    message: str


def inspect_image(path: Path) -> ImageInfo | ImageProblem:
    """Opens and decodes an image, once."""
    length = _file_length(path)
    if isinstance(length, ImageProblem):
        return length
    try:
        with path.open("rb") as opened:
            # One large read makes threads wait less for each other than many small ones.
            file = BytesIO(opened.read()) if length <= _MAX_BYTES_IN_MEMORY else opened
            digest = hashlib.file_digest(file, "sha256").digest()
            if _is_truncated_webp(file):
                return ImageProblem("truncated", "it is shorter than its header says")
            file.seek(0)
            return _decode_image(path, file, digest)
    except Image.DecompressionBombError as error:
        return ImageProblem("too_large", str(error))
    except UnidentifiedImageError:
        return ImageProblem("unreadable", "it is not a JPEG, PNG or WebP image")
    except Exception as error:  # noqa: BLE001 - hostile bytes raise nearly anything in a decoder
        kind = "truncated" if "truncated" in str(error).lower() else "unreadable"
        return ImageProblem(kind, f"it cannot be decoded: {error}")


def inspect_clip(path: Path) -> ImageInfo | ImageProblem:
    """Decodes a whole clip."""
    from mien.media import clips

    length = _file_length(path)
    if isinstance(length, ImageProblem):
        return length
    try:
        info = clips.verify_clip(path)
        (frame,) = clips.read_frames(path, (info.num_frames // 2,))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except (MienError, OSError) as error:
        is_truncated = "cut short" in str(error) or _is_truncated_mp4(path)
        return ImageProblem("clip_truncated" if is_truncated else "clip_unreadable", str(error))
    fingerprint = compute_fingerprint(gray_square(frame), digest)
    return ImageInfo(frame.size, frame.size, "RGB", fingerprint, num_frames=info.num_frames)


def _file_length(path: Path) -> int | ImageProblem:
    """In bytes. Rejects special files before they are opened, because opening a pipe would block."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ImageProblem("missing", "the file does not exist")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        return ImageProblem("missing", f"it cannot be reached: {error}")
    if not stat.S_ISREG(status.st_mode):
        return ImageProblem("unreadable", "it is not a regular file")
    return status.st_size or ImageProblem("empty", "it has 0 bytes")


# --- Images ------------------------------------------------------------------------------------------


def _decode_image(path: Path, file: BinaryIO, digest: bytes) -> ImageInfo | ImageProblem:
    with Image.open(file, formats=_FORMATS) as header:
        stored_size, mode = header.size, _mode(header)
        if stored_size[0] * stored_size[1] > MAX_PIXELS:
            pixels = f"{stored_size[0]} x {stored_size[1]} pixels"
            return ImageProblem("too_large", f"it has {pixels}, more than the {MAX_PIXELS:,} allowed")
        is_sideways = header.getexif().get(_EXIF_ORIENTATION, 1) in _SIDEWAYS
        size = (stored_size[1], stored_size[0]) if is_sideways else stored_size
        fingerprint = compute_fingerprint(_upright_gray_square(path, header, mode), digest)
        return ImageInfo(size, stored_size, mode, fingerprint)


def _mode(header: Image.Image) -> str:
    """Pillow's mode, which for RGB and grayscale does not mention a transparent color."""
    return f"{header.mode} with transparency" if "transparency" in header.info else header.mode


def _upright_gray_square(path: Path, header: Image.Image, mode: str) -> Image.Image:
    if mode not in ("RGB", "L"):
        # Rare and reported as a problem. Converted as it is for models, with white behind transparency.
        header.load()
        return gray_square(open_image(path))
    box = None
    if isinstance(header, JpegImageFile):
        # The returned box excludes padding, which is visible at reduced scales.
        drafted = header.draft("L", (_MIN_DECODED_SIDE, _MIN_DECODED_SIDE))
        box = None if drafted is None else drafted[1]
    return ImageOps.exif_transpose(gray_square(header, box))


def _is_truncated_webp(file: BinaryIO) -> bool:
    """WebP's decoder does not report this: bytes 4 to 8 give the length of what follows them."""
    length = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    is_webp = head[:4] == b"RIFF" and head[8:] == b"WEBP"
    return is_webp and length < int.from_bytes(head[4:8], "little") + 8


# --- Clips -------------------------------------------------------------------------------------------


def _is_truncated_mp4(path: Path) -> bool:
    """Whether an unreadable file starts as MP4 but ends inside a box, or has no frame index (`moov`).

    The index is usually at the end of the file. Without it, a decoder fails before it misses any frame.
    """
    try:
        with path.open("rb") as file:
            names, is_complete = _mp4_boxes(file)
    except OSError:
        return False
    return names[:1] == [b"ftyp"] and not (is_complete and b"moov" in names)


def _mp4_boxes(file: BinaryIO) -> tuple[list[bytes], bool]:
    """The names of the outermost boxes, and whether the last one ends at the end of the file."""
    end = file.seek(0, 2)
    offset, names = 0, []
    while offset + 8 <= end:
        file.seek(offset)
        length, name = int.from_bytes(file.read(4)), file.read(4)
        if length == 1:  # a 64-bit length follows
            length = int.from_bytes(file.read(8))
        names.append(name)
        offset += length if length >= 8 else end - offset  # 0 means up to the end
    return names, offset == end
