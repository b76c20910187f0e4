"""What a picture file is, in one look: whole or not, how large, of which mode, and a fingerprint of it.

In: the path of a picture or a clip. Out: a `Look` (size, mode, `Fingerprint`), or a `Flaw` that says in one
word what keeps it from being shown. Knows nothing about data sets, splits or which pictures are alike (see
`duplicates`).

A JPEG is decoded at a reduced scale: its whole stream is read and checked, but few pixels are computed, so
that this costs less than showing it.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from mien.errors import MienError
from mien.media.images import MAX_PIXELS, open_image

__all__ = [
    "THUMB_SIDE",
    "Fingerprint",
    "ImageInfo",
    "ImageProblem",
    "fingerprint",
    "gray_square",
    "inspect_clip",
    "inspect_image",
]

THUMB_SIDE: Final = 16  # pixels

SQUARE_SIDE: Final = 32  # pixels: of which the perceptual hash is made
# The lowest 8 rows of a discrete cosine transform (type II) of that many values.
_COSINES: Final = np.cos(np.pi / SQUARE_SIDE * np.outer(np.arange(8), np.arange(SQUARE_SIDE) + 0.5))

# A JPEG is decoded to no less than this.
_SMALL: Final = 3 * SQUARE_SIDE // 2

# Grey levels. Under this spread a picture is a plain surface, and all plain surfaces are alike.
_FEATURELESS: Final = 3.0

# As in `images`: other decoders are rarely used and rarely hardened.
_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_AT_ONCE: Final = 1 << 26  # bytes; a larger file is read in parts
_EXIF_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS: Final = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`digest`: SHA-256 of the bytes. `hash`: 64 perceptual bits, and `thumb`: 16 x 16 grey levels, row by
    row; both are None for a picture without features, which is like every other one."""

    digest: bytes
    hash: int | None
    thumb: bytes | None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A picture or clip that can be shown. `size`: (width, height) upright; `stored`: as in the file."""

    size: tuple[int, int]
    stored: tuple[int, int]
    mode: str
    fingerprint: Fingerprint
    num_frames: int | None = None


@dataclass(frozen=True, slots=True)
class ImageProblem:
    """Why a file cannot be shown: `kind` is one of the kinds of `mien.types.Problem`."""

    kind: str
    message: str


def inspect_image(path: Path) -> ImageInfo | ImageProblem:
    """Opens and decodes a picture, once."""
    length = _length(path)
    if isinstance(length, ImageProblem):
        return length
    try:
        with path.open("rb") as opened:
            # Read at once, threads wait less for each other than over many small parts.
            file = BytesIO(opened.read()) if length <= _AT_ONCE else opened
            digest = hashlib.file_digest(file, "sha256").digest()
            if _shorter_than_told(file):
                return ImageProblem("truncated", "it is shorter than its header says")
            file.seek(0)
            return _look(path, file, digest)
    except Image.DecompressionBombError as error:
        return ImageProblem("too_large", str(error))
    except UnidentifiedImageError:
        return ImageProblem("unreadable", "it is no JPEG, PNG or WebP picture")
    except Exception as error:  # noqa: BLE001 - hostile bytes raise nearly anything in a decoder
        kind = "truncated" if "truncated" in str(error).lower() else "unreadable"
        return ImageProblem(kind, f"it cannot be decoded: {error}")


def inspect_clip(path: Path) -> ImageInfo | ImageProblem:
    """Decodes a whole clip; its fingerprint is that of its middle frame."""
    from mien.media import clips

    length = _length(path)
    if isinstance(length, ImageProblem):
        return length
    try:
        info = clips.check(path)
        (frame,) = clips.read_frames(path, (info.num_frames // 2,))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except (MienError, OSError) as error:
        is_cut = "cut short" in str(error) or _is_cut_mp4(path)
        return ImageProblem("clip_truncated" if is_cut else "clip_unreadable", str(error))
    print_ = fingerprint(gray_square(frame), digest)
    return ImageInfo(frame.size, frame.size, "RGB", print_, num_frames=info.num_frames)


def gray_square(image: Image.Image, box: tuple[float, float, float, float] | None = None) -> Image.Image:
    """A grey square of 32 x 32 pixels of the picture, or of the part of it in the box."""
    # Hamming: as cheap as a box, without its aliasing. First reduced by a whole factor, which is cheaper.
    side = (SQUARE_SIDE, SQUARE_SIDE)
    return image.convert("L").resize(side, Image.Resampling.HAMMING, box=box, reducing_gap=2.0)


def fingerprint(square: Image.Image, digest: bytes) -> Fingerprint:
    """Of an upright picture, `gray_square`, whose file has this digest."""
    thumb = square.reduce(SQUARE_SIDE // THUMB_SIDE).tobytes()
    if np.frombuffer(thumb, np.uint8).std() < _FEATURELESS:
        return Fingerprint(digest, None, None)
    return Fingerprint(digest, _perceptual_hash(square), thumb)


def _perceptual_hash(square: Image.Image) -> int:
    """Which of the 64 lowest frequencies are stronger than their median: pHash, bit by bit as `imagehash`
    has it, at a quarter of the time, in which other threads have to wait."""
    levels = np.frombuffer(square.tobytes(), np.uint8).reshape(SQUARE_SIDE, SQUARE_SIDE)
    strength = (_COSINES @ levels @ _COSINES.T).reshape(-1)
    ordered = np.sort(strength)
    median = (ordered[31] + ordered[32]) / 2
    return int.from_bytes(np.packbits(strength > median).tobytes())


def _length(path: Path) -> int | ImageProblem:
    """In bytes. What is no ordinary file is told before it is opened: opening a pipe would wait for ever."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ImageProblem("missing", "there is no such file")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        return ImageProblem("missing", f"it cannot be reached: {error}")
    if not stat.S_ISREG(status.st_mode):
        return ImageProblem("unreadable", "it is not an ordinary file")
    return status.st_size or ImageProblem("empty", "it has 0 bytes")


def _look(path: Path, file: BinaryIO, digest: bytes) -> ImageInfo | ImageProblem:
    with Image.open(file, formats=_FORMATS) as header:
        stored, mode = header.size, _mode(header)
        if stored[0] * stored[1] > MAX_PIXELS:
            pixels = f"{stored[0]} x {stored[1]} pixels"
            return ImageProblem("too_large", f"it has {pixels}, more than the {MAX_PIXELS:,} allowed")
        turn = header.getexif().get(_EXIF_ORIENTATION, 1)
        size = (stored[1], stored[0]) if turn in _SIDEWAYS else stored
        return ImageInfo(size, stored, mode, fingerprint(_square(path, header, mode, turn), digest))


def _mode(header: Image.Image) -> str:
    """Pillow's mode; RGB or grey with one transparent colour is named as what it is."""
    return f"{header.mode} with transparency" if "transparency" in header.info else header.mode


def _square(path: Path, header: Image.Image, mode: str, turn: int) -> Image.Image:
    if mode not in ("RGB", "L"):
        # Rare, and reported; seen here as the models see it, white behind what is transparent.
        header.load()
        return gray_square(open_image(path))
    box = None
    if isinstance(header, JpegImageFile):
        # Its box is the picture's without the padding, which is seen at such scales.
        drafted = header.draft("L", (_SMALL, _SMALL))
        box = None if drafted is None else drafted[1]
    square = gray_square(header, box)
    return square.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else square


def _shorter_than_told(file: BinaryIO) -> bool:
    """Of a WebP only, whose decoder does not say so: bytes 4 to 8 tell the length of what follows them."""
    length = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    is_webp = head[:4] == b"RIFF" and head[8:] == b"WEBP"
    return is_webp and length < int.from_bytes(head[4:8], "little") + 8


def _is_cut_mp4(path: Path) -> bool:
    """Of a file that cannot be read: it begins as MP4, but ends within a box, or has no table of frames.

    That table mostly stands at the end, and without it no decoder gets as far as to miss anything.
    """
    try:
        with path.open("rb") as file:
            names, is_whole = _mp4_boxes(file)
    except OSError:
        return False
    return names[:1] == [b"ftyp"] and not (is_whole and b"moov" in names)


def _mp4_boxes(file: BinaryIO) -> tuple[list[bytes], bool]:
    """The names of the outermost boxes, and whether the last one ends where the file does."""
    end = file.seek(0, 2)
    at, names = 0, []
    while at + 8 <= end:
        file.seek(at)
        length, name = int.from_bytes(file.read(4)), file.read(4)
        if length == 1:  # the length itself is longer
            length = int.from_bytes(file.read(8))
        names.append(name)
        at += length if length >= 8 else end - at  # 0: up to the end
    return names, at == end
