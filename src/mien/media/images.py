"""What models get to see: the one module that opens, orients, marks and fits pictures.

Goes in: a file that anyone may have made, a subject's box, the name of a style.
Comes out: an upright RGB picture with the subject marked, or an ImageError or BoxError.
Knows nothing about: models, tensors, normalisation, labels, or where pictures come from.

The same marked picture goes to the describing model and to the classifier: two people in one photo
would otherwise be the same pixels to one of them.
"""

from __future__ import annotations

import hashlib
import math
import stat
import threading
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps, UnidentifiedImageError

from mien.digests import digest
from mien.errors import DataError, ImageError, unknown_name
from mien.recipe.describe import MarkStyle
from mien.recipe.features import FitMode
from mien.types import Box

__all__ = [
    "FIT_MODES",
    "MARK_STYLES",
    "MAX_PIXELS",
    "Marking",
    "fit",
    "image_digest",
    "mark",
    "open_image",
    "pixel_digest",
    "upright_rgb",
]

MARK_STYLES: Final[tuple[MarkStyle, ...]] = get_args(MarkStyle)
FIT_MODES: Final[tuple[FitMode, ...]] = get_args(FitMode)

# The size of the largest cameras in common use, and under Pillow's own limit; 240 MB as RGB.
MAX_PIXELS: Final = 80_000_000

# Other decoders of Pillow's are rarely used and rarely hardened.
_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_REMEDY: Final = "give a JPEG, PNG or WebP file"

# Padding that is close to zero after the normalisation of most encoders (ImageNet's mean).
_NEUTRAL: Final = (124, 116, 104)

# Raise this when the same marking draws other pixels, so that what was stored is not taken for the same.
_MARKING_VERSION: Final = 1
_MIN_LINE: Final = 2  # pixels; a thinner line vanishes when the picture is made smaller
_CROP_MARGIN: Final = 0.1  # of the box's longer side
_BLUR_RADIUS: Final = 0.02  # of the picture's longer side

# `warnings.catch_warnings` swaps a global list; two threads at once would leave it wrong.
_WARNINGS_LOCK: Final = threading.Lock()


# --- Opening -----------------------------------------------------------------------------------------


def open_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in a file, upright and RGB; the first frame if it is animated, white behind alpha.

    The number of pixels is read from the header and refused before anything is decoded.
    """
    _require_file(path)
    try:
        with _open_header(path) as header:
            width, height = header.size
            if width * height <= max_pixels:
                header.load()
                return upright_rgb(header)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} is too large: {error}", hint="make the picture smaller first") from error
    except Exception as error:  # hostile bytes raise nearly anything in a decoder; this is the seam
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise ImageError(f"{path} cannot be read as a picture: {reason}", hint=_REMEDY) from error
    raise ImageError(
        f"{path} has {width} x {height} pixels, more than the {max_pixels:,} allowed",
        hint="make the picture smaller first",
    )


def upright_rgb(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says, as RGB, with white behind transparent pixels."""
    return _to_rgb(ImageOps.exif_transpose(image))


def pixel_digest(image: Image.Image) -> str:
    """SHA-256 of an image's pixels, mode and size, as 64 hex digits: for images that are not files."""
    sha = hashlib.sha256(f"pixels {image.mode} {image.width} {image.height}\n".encode())
    sha.update(image.tobytes())
    return sha.hexdigest()


def image_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, as 64 hex digits: what the picture is, wherever it lies."""
    _require_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}", hint=_REMEDY) from error


def _require_file(path: Path) -> None:
    """Refuses what is no ordinary file before it is opened: opening a pipe would wait for ever."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ImageError(f"no picture at {path}", hint="check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise ImageError(f"{path} cannot be read: {error}", hint=_REMEDY) from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not an ordinary file"
        raise ImageError(f"{path} is {kind}", hint=_REMEDY)
    if status.st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes)", hint="copy or download the picture again")


def _open_header(path: Path) -> Image.Image:
    with _WARNINGS_LOCK, warnings.catch_warnings():
        # Pillow warns of large pictures here; the cap of `open_image` decides about them.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=_FORMATS)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        # 16-bit grey; Pillow's own conversion clips at 255 and leaves a white picture.
        grey = np.asarray(image).astype(np.float64) / 257.0
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


# --- Marking -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """How the subject is shown: a style, and for `red_box` the line's width and its RGB colour.

    The width is relative to the picture's longer side, so that it looks the same at every size.
    """

    style: MarkStyle = "red_box"
    width: float = 0.01
    color: tuple[int, int, int] = (255, 0, 0)

    def __post_init__(self) -> None:
        if self.style not in MARK_STYLES:
            raise unknown_name("marking style", self.style, MARK_STYLES)
        if not 0 < self.width < 1:
            raise DataError(f"marking width {self.width} is not a share", hint="give a share such as 0.01")

    def digest(self) -> str:
        """Changes if and only if the marked pictures may; the line's look counts for `red_box` alone."""
        look = asdict(self) if self.style == "red_box" else {"style": self.style}
        return digest({"version": _MARKING_VERSION, **look})


def mark(image: Image.Image, box: Box | None, marking: Marking) -> Image.Image:
    """A picture in which the box is marked; the same picture if there is no box or the style is "none".

    A box that sticks out is clipped; BoxError if nothing of it is inside.
    """
    if box is None:
        return image
    inside = box.clip(*image.size)
    match marking.style:
        case "red_box":
            return _outlined(image, inside, marking)
        case "crop":
            return _cropped(image, inside)
        case "blur_background":
            return _blurred_around(image, inside)
        case "none":
            return image


def _outlined(image: Image.Image, box: Box, marking: Marking) -> Image.Image:
    line = max(_MIN_LINE, round(marking.width * max(image.size)))
    # Just outside of the box, so that it hides nothing; at an edge the line moves inside, to be seen.
    left, top, right, bottom = _grown(box, line, image.size)
    marked = image.copy()
    ImageDraw.Draw(marked).rectangle((left, top, right - 1, bottom - 1), outline=marking.color, width=line)
    return marked


def _cropped(image: Image.Image, box: Box) -> Image.Image:
    return image.crop(_grown(box, round(_CROP_MARGIN * max(box.width, box.height)), image.size))


def _blurred_around(image: Image.Image, box: Box) -> Image.Image:
    blurred = image.filter(ImageFilter.GaussianBlur(_BLUR_RADIUS * max(image.size)))
    kept = _grown(box, 0, image.size)
    blurred.paste(image.crop(kept), kept[:2])
    return blurred


def _grown(box: Box, margin: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The whole pixels that a box touches, and a margin around them, within the picture."""
    return (
        max(0, math.floor(box.left) - margin),
        max(0, math.floor(box.top) - margin),
        min(size[0], math.ceil(box.right) + margin),
        min(size[1], math.ceil(box.bottom) + margin),
    )


# --- Fitting -----------------------------------------------------------------------------------------


def fit(image: Image.Image, size: int, mode: FitMode = "letterbox") -> Image.Image:
    """A square of `size` pixels: the whole picture padded, its centre, or the whole picture squashed."""
    if size <= 0:
        raise DataError(f"cannot fit a picture into {size} pixels", hint="give a size of at least 1")
    match mode:
        case "letterbox":
            return _letterboxed(image, size)
        case "center_crop":
            return ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
        case "squash":
            return image.resize((size, size), Image.Resampling.BICUBIC)
        case _:
            raise unknown_name("fit", mode, FIT_MODES)


def _letterboxed(image: Image.Image, size: int) -> Image.Image:
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    square = Image.new("RGB", (size, size), _NEUTRAL)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(resized, ((size - width) // 2, (size - height) // 2))
    return square
