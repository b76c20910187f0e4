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

from PIL import Image

from mien.data.audit.fingerprints import SQUARE_SIDE, Fingerprint, compute_fingerprint, gray_square
from mien.errors import ImageError, MienError
from mien.media.decode import MAX_PIXELS, StoredImage, decode_image
from mien.media.images import to_rgb, turn_upright
from mien.media.memory import Reservation

__all__ = ["ImageInfo", "ImageProblem", "inspect_clip", "inspect_image"]

_MIN_DECODED_SIDE: Final = 3 * SQUARE_SIDE // 2  # pixels, of a JPEG
_MAX_BYTES_IN_MEMORY: Final = 1 << 26  # a larger file is read in parts
# Words of an error, and the kind of problem that it is.
_KINDS: Final = (("cut short", "truncated"), ("allowed", "too_large"), ("more memory", "too_large"))
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
        notes: What the user should know about the file, such as that its orientation is unknown.
    """

    size: tuple[int, int]
    stored_size: tuple[int, int]
    mode: str
    fingerprint: Fingerprint
    num_frames: int | None = None
    notes: tuple[str, ...] = ()


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
        with path.open("rb") as opened, Reservation() as memory:
            # One large read makes threads wait less for each other than many small ones.
            file = BytesIO(opened.read()) if length <= _MAX_BYTES_IN_MEMORY else opened
            digest = hashlib.file_digest(file, "sha256").digest()
            if _is_truncated_webp(file):
                return ImageProblem("truncated", "it is shorter than its header says")
            return _decode_image(path, file, digest, memory)
    except ImageError as error:
        message = f"it {str(error).removeprefix(f'{path} ')}"
        kind = next((kind for words, kind in _KINDS if words in message), "unreadable")
        return ImageProblem(kind, message)
    except OSError as error:
        return ImageProblem("unreadable", f"it cannot be read: {error.strerror}")


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


def _decode_image(path: Path, file: BinaryIO, digest: bytes, memory: Reservation) -> ImageInfo:
    stored = decode_image(path, file, memory=memory, draft=("L", _MIN_DECODED_SIDE), max_pixels=MAX_PIXELS)
    is_sideways = stored.orientation in _SIDEWAYS
    # RGB and grayscale do not mention a transparent color.
    transparency = " with transparency" if "transparency" in stored.pixels.info else ""
    return ImageInfo(
        size=stored.size[::-1] if is_sideways else stored.size,
        stored_size=stored.size,
        mode=stored.mode + transparency,
        fingerprint=compute_fingerprint(_upright_gray_square(stored), digest),
        notes=stored.notes,
    )


def _upright_gray_square(stored: StoredImage) -> Image.Image:
    if stored.mode not in ("RGB", "L"):
        # Rare and reported as a problem. Converted as it is for models, with white behind transparency.
        return gray_square(turn_upright(to_rgb(stored.pixels), stored.orientation))
    # The part without padding, which is visible at reduced scales.
    return turn_upright(gray_square(stored.pixels, stored.content), stored.orientation)


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
