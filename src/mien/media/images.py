"""Images as models see them: opened safely, upright, with the subject marked, fitted to a square.

Files can come from anyone: everything that is wrong with one raises ImageError. The same marked image goes
to the describing model and to the classifier; otherwise two people in one photo would be the same pixels to
one of them.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from mien.digests import digest
from mien.errors import DataError, ImageError, unknown_name
from mien.media.boxes import are_shares, parse_box
from mien.media.decode import (
    MAX_PIXELS,
    ChooseScale,
    StoredImage,
    decode_image,
    shrinkable_size,
    warn_once,
)
from mien.media.files import require_file
from mien.media.formats import IMAGE_HINT
from mien.media.memory import Reservation
from mien.recipe.describe import MarkStyle
from mien.recipe.features import FitMode
from mien.types import Box

__all__ = [
    "FIT_MODES",
    "MARK_STYLES",
    "MAX_PIXELS",
    "ImageIdentity",
    "LoadedImage",
    "Marking",
    "Square",
    "check_box",
    "crop_edges",
    "crop_pixels",
    "draw_mark",
    "fit_to_square",
    "identify_image",
    "image_digest",
    "load_image_bytes",
    "load_image_file",
    "mark_subject",
    "open_image",
    "pixel_digest",
    "place_in_mark",
    "to_rgb",
    "turn_upright",
    "upright_rgb",
]

MARK_STYLES: Final[tuple[MarkStyle, ...]] = get_args(MarkStyle)
FIT_MODES: Final[tuple[FitMode, ...]] = get_args(FitMode)

# Padding: ImageNet's mean color, which is close to zero after the normalization of most encoders.
_NEUTRAL: Final = (124, 116, 104)

# Raise this when a marking draws other pixels, so that stored results are not reused.
_MARKING_VERSION: Final = 1
_MIN_LINE: Final = 2  # pixels; a thinner line vanishes when the image is downscaled
_CROP_MARGIN: Final = 0.1  # of the box's longer side
_BLUR_RADIUS: Final = 0.02  # of the image's longer side

_BAND: Final = 1 << 22  # pixels that are converted at once, because the steps between take memory
_FIRST_SIDEWAYS: Final = 5  # EXIF orientations from here on swap width and height
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


# --- Opening -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An upright RGB image, and what it is in its file.

    Attributes:
        image: The image.
        full_size: (width, height) of the upright image in the file.
        scale: Pixels of the file per pixel of the image; more than 1 if it was decoded at a smaller size.
        is_turned: Whether its width is the height in the file, before the EXIF orientation is applied.
        is_shrinkable: Whether its file can be decoded at a smaller size.
        notes: What the user should know about the file.
    """

    image: Image.Image
    full_size: tuple[int, int]
    scale: int = 1
    is_turned: bool = False
    is_shrinkable: bool = False
    notes: tuple[str, ...] = ()

    def place(self, box: Box | None) -> Box | None:
        """The box, which is in pixels of the file, in pixels of the image."""
        if box is None or self.scale == 1:
            return box
        left, top, right, bottom = (edge / self.scale for edge in box.as_tuple())
        return Box(left=left, top=top, right=right, bottom=bottom)


def load_image_file(
    path: Path,
    *,
    memory: Reservation | None = None,
    max_pixels: int = MAX_PIXELS,
    choose_scale: ChooseScale | None = None,
) -> LoadedImage:
    """Reads a JPEG, PNG, WebP, GIF, BMP or TIFF file.

    Of an animation only the first frame is read; transparent pixels become white. The number of pixels and
    the memory they will take are checked in the header, before anything is decoded. A JPEG with too many is
    decoded at 1/2, 1/4 or 1/8 of its size. What the user should know about the file is logged as a warning.

    Args:
        path: The file.
        memory: Gets what the image takes, with a copy of it; by default only while it is decoded.
        max_pixels: The most pixels of the image.
        choose_scale: The scale at which a JPEG of a (width, height) is decoded, 1 by default.

    Raises:
        ImageError: The file is missing, too large, or cannot be decoded.
    """
    if memory is None:
        with Reservation() as own:
            return load_image_file(path, memory=own, max_pixels=max_pixels, choose_scale=choose_scale)
    require_file(path, noun="image", error=ImageError, hint=IMAGE_HINT)
    try:
        with path.open("rb") as file:
            loaded = _upright(
                decode_image(path, file, memory=memory, max_pixels=max_pixels, choose_scale=choose_scale)
            )
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}", hint=IMAGE_HINT) from error
    for note in loaded.notes:
        warn_once(path, note)
    return loaded


def load_image_bytes(name: str, content: bytes, *, max_pixels: int = MAX_PIXELS) -> LoadedImage:
    """`load_image_file` for the content of a file; no image is decoded at a smaller size.

    Args:
        name: What messages call it.
        content: All bytes of the file.
        max_pixels: The most pixels of the image.

    Raises:
        ImageError: The content is not an image, has too many pixels, or cannot be decoded.
    """
    if not content:
        raise ImageError(f"{name} is empty (0 bytes)", hint=IMAGE_HINT)
    file = io.BytesIO(content)
    with Reservation() as memory:
        return _upright(decode_image(Path(name), file, memory=memory, max_pixels=max_pixels, is_whole=True))


def _upright(stored: StoredImage) -> LoadedImage:
    pixels, orientation, scale, size = stored.pixels, stored.orientation, stored.scale, stored.size
    notes = stored.notes
    profile = pixels.info.get("icc_profile")
    is_shrinkable = stored.is_shrinkable
    del stored  # it would keep the pixels
    image = to_rgb(pixels)
    image = image.copy() if image is pixels else image
    del pixels
    image.info = {} if profile is None else {"icc_profile": profile}
    is_turned = orientation >= _FIRST_SIDEWAYS
    return LoadedImage(
        turn_upright(image, orientation),
        full_size=size[::-1] if is_turned else size,
        scale=scale,
        is_turned=is_turned,
        is_shrinkable=is_shrinkable,
        notes=notes,
    )


def open_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image of `load_image_file`; boxes fit it only if the file does not have too many pixels."""
    return load_image_file(path, max_pixels=max_pixels).image


def upright_rgb(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says, as RGB, with white behind transparent pixels."""
    return to_rgb(ImageOps.exif_transpose(image))


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned and mirrored as an EXIF orientation from 1 to 8 says; itself if that is 1."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def pixel_digest(image: Image.Image) -> str:
    """SHA-256 of an image's pixels, mode and size, as 64 hex digits: for images that are not files."""
    sha = hashlib.sha256(f"pixels {image.mode} {image.width} {image.height}\n".encode())
    sha.update(image.tobytes())
    return sha.hexdigest()


def image_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, as 64 hex digits: identifies an image regardless of its path."""
    require_file(path, noun="image", error=ImageError, hint=IMAGE_HINT)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}", hint=IMAGE_HINT) from error


@dataclass(frozen=True, slots=True)
class ImageIdentity:
    """What the content of an image file says before it is decoded.

    Attributes:
        digest: That of `image_digest`.
        shrinkable_size: (width, height) as stored of a JPEG that can be decoded at a smaller size; None for
            other files, and for images that are not files.
    """

    digest: str
    shrinkable_size: tuple[int, int] | None = None


def identify_image(path: Path) -> ImageIdentity:
    """The identity of a file, which is read once; ImageError if it cannot be read."""
    require_file(path, noun="image", error=ImageError, hint=IMAGE_HINT)
    try:
        with path.open("rb") as file:
            size = shrinkable_size(file)
            file.seek(0)
            return ImageIdentity(hashlib.file_digest(file, "sha256").hexdigest(), size)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}", hint=IMAGE_HINT) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """The image as RGB, with white behind transparent pixels; itself if it is RGB without transparency."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    width, height = image.size
    rows = max(1, _BAND // max(1, width))
    if rows >= height:
        return _convert(image)
    rgb = Image.new("RGB", image.size)
    for top in range(0, height, rows):
        rgb.paste(_convert(image.crop((0, top, width, min(height, top + rows)))), (0, top))
    return rgb


def _convert(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit gray; Pillow's own conversion clips at 255, which makes the image white.
        gray = np.asarray(image).astype(np.float64) / 257.0
        return Image.fromarray(gray.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


# --- Marking -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """How the subject is marked: a style, and the line of `red_box`.

    Attributes:
        style: `red_box`, `crop`, `blur_background` or `none`.
        width: Width of the line, as a share of the image's longer side.
        color: RGB color of the line.
    """

    style: MarkStyle = "red_box"
    width: float = 0.01
    color: tuple[int, int, int] = (255, 0, 0)

    def __post_init__(self) -> None:
        if self.style not in MARK_STYLES:
            raise unknown_name("marking style", self.style, MARK_STYLES)
        if not 0 < self.width < 1:
            raise DataError(
                f"marking width {self.width} is not between 0 and 1", hint="give a share such as 0.01"
            )

    def digest(self) -> str:
        """Changes if and only if marked images may change; the line counts only for `red_box`."""
        fields = asdict(self) if self.style == "red_box" else {"style": self.style}
        return digest({"version": _MARKING_VERSION, **fields})


def mark_subject(image: Image.Image, box: Box | None, marking: Marking) -> Image.Image:
    """Marks the box in the image. Without a box, or with the style "none", returns the image itself.

    Raises:
        BoxError: The box lies outside the image, or looks like shares of it. A box that is partly outside is
            clipped.
    """
    if box is not None:
        check_box(box, image.size)
    return draw_mark(image, box, marking)


def check_box(box: Box, size: tuple[int, int]) -> None:
    """BoxError if no part of a box is inside an image of this (width, height), or it looks like shares."""
    if min(size) > 2 and are_shares(box.as_tuple()):
        parse_box(box)  # raises the error that says so
    box.clip(*size)


def draw_mark(image: Image.Image, box: Box | None, marking: Marking, scale: int = 1) -> Image.Image:
    """`mark_subject` for a box that was checked, and for an image that was decoded at a smaller size.

    Args:
        image: The image.
        box: The box, in pixels of this image.
        marking: How to mark it.
        scale: Pixels of the file per pixel of the image.
    """
    if box is None:
        return image
    inside = box.clip(*image.size)
    match marking.style:
        case "red_box" if scale > 1:
            return _draw_shrunk_outline(image, inside, marking, scale)
        case "red_box":
            return _draw_outline(image, inside, marking)
        case "crop":
            return _crop(image, inside)
        case "blur_background":
            return _blur_background(image, inside)
        case "none":
            return image


def place_in_mark(image: Image.Image, box: Box | None, marking: Marking) -> tuple[Image.Image, Box | None]:
    """The image of `draw_mark`, but without the red line, and the box in it; None where none is shown."""
    if box is None or marking.style == "none":
        return image, None
    inside = box.clip(*image.size)
    if marking.style == "red_box":
        return image, inside
    left, top = crop_edges(inside, image.size)[:2] if marking.style == "crop" else (0, 0)
    placed = Box(
        left=inside.left - left, top=inside.top - top, right=inside.right - left, bottom=inside.bottom - top
    )
    return draw_mark(image, box, marking), placed


def _draw_outline(image: Image.Image, box: Box, marking: Marking) -> Image.Image:
    (left, top, right, bottom), line = _outline(box, marking, image.size)
    marked = image.copy()
    ImageDraw.Draw(marked).rectangle((left, top, right - 1, bottom - 1), outline=marking.color, width=line)
    return marked


def _outline(box: Box, marking: Marking, size: tuple[int, int]) -> tuple[tuple[int, int, int, int], int]:
    """The outer edges of the line, and its width."""
    line = max(_MIN_LINE, round(marking.width * max(size)))
    # Just outside the box, so that it hides nothing; at an edge of the image the line moves inside.
    return _expand(box, line, size), line


def _draw_shrunk_outline(image: Image.Image, box: Box, marking: Marking, scale: int) -> Image.Image:
    """The line as it would be drawn on the whole image and shrunk with it: whole pixels would be too wide."""
    left, top, right, bottom = (scale * edge for edge in box.as_tuple())
    whole = Box(left=left, top=top, right=right, bottom=bottom)
    outer, line = _outline(whole, marking, (scale * image.width, scale * image.height))
    columns, rows = (np.arange(outer[axis] // scale, -(-outer[axis + 2] // scale)) for axis in (0, 1))

    def covered(margin: int) -> np.ndarray:
        """How many pixels of the whole image, inside the edges without a margin, each pixel stands for."""
        return np.outer(
            _overlap(rows * scale, scale, outer[1] + margin, outer[3] - margin),
            _overlap(columns * scale, scale, outer[0] + margin, outer[2] - margin),
        )

    opacity = [min(255, round(255 * count / scale**2)) for count in range(256)]
    mask = Image.fromarray(covered(0) - covered(line)).point(opacity)
    marked = image.copy()
    marked.paste(marking.color, (int(columns[0]), int(rows[0])), mask)
    return marked


def _overlap(starts: np.ndarray, length: int, first: int, last: int) -> np.ndarray:
    """How much of each stretch, from its start, is between two positions."""
    overlap: np.ndarray = np.minimum(last, starts + length) - np.maximum(first, starts)
    return overlap.clip(0, length).astype(np.uint8)


def _crop(image: Image.Image, box: Box) -> Image.Image:
    return image.crop(crop_edges(box, image.size))


def crop_edges(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of an image of this size that the style `crop` shows."""
    return _expand(box, _crop_margin(box), size)


def _crop_margin(box: Box) -> int:
    return round(_CROP_MARGIN * max(box.width, box.height))


def crop_pixels(box: Box) -> int:
    """The most pixels that a crop to this box has."""
    margin = _crop_margin(box)
    return math.ceil(box.width + 1 + 2 * margin) * math.ceil(box.height + 1 + 2 * margin)


def _blur_background(image: Image.Image, box: Box) -> Image.Image:
    blurred = image.filter(ImageFilter.GaussianBlur(_BLUR_RADIUS * max(image.size)))
    kept = _expand(box, 0, image.size)
    blurred.paste(image.crop(kept), kept[:2])
    return blurred


def _expand(box: Box, margin: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels that a box touches and a margin around them, clipped to the image."""
    return (
        max(0, math.floor(box.left) - margin),
        max(0, math.floor(box.top) - margin),
        min(size[0], math.ceil(box.right) + margin),
        min(size[1], math.ceil(box.bottom) + margin),
    )


# --- Fitting -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Square:
    """The square that a model takes, and how images are fitted to it; call it with an image."""

    side: int
    mode: FitMode = "letterbox"

    def __call__(self, image: Image.Image) -> Image.Image:
        return fit_to_square(image, self.side, self.mode)


def fit_to_square(image: Image.Image, size: int, mode: FitMode = "letterbox") -> Image.Image:
    """Fits the image to a square of `size` pixels: padded, cropped to its center, or squashed."""
    if size <= 0:
        raise DataError(f"cannot fit an image into {size} pixels", hint="give a size of at least 1")
    match mode:
        case "letterbox":
            return _letterbox(image, size)
        case "center_crop":
            return ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
        case "squash":
            return image.resize((size, size), Image.Resampling.BICUBIC)
        case _:
            raise unknown_name("fit_to_square", mode, FIT_MODES)


def _letterbox(image: Image.Image, size: int) -> Image.Image:
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    square = Image.new("RGB", (size, size), _NEUTRAL)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(resized, ((size - width) // 2, (size - height) // 2))
    return square
