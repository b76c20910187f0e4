"""Decodes image files that can come from anyone, within a limit of memory.

What a file is, is known by its content. Metadata that are damaged or large never cost an image. A JPEG with
too many pixels is decoded at a half, a quarter or an eighth of its size.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from mien.errors import ImageError, first_line
from mien.media.cut_files import held_by_jpeg, held_by_png, held_by_riff
from mien.media.essentials import count_entry_bytes, first_gif_frame, with_end_marker, without_metadata
from mien.media.formats import HEAD_BYTES, RAW_HINT, FileKind, sniff, stated_size
from mien.media.jpeg_layout import count_scans, has_end_marker, is_refined, jpeg_layout
from mien.media.memory import MAX_BYTES, Reservation, image_bytes

__all__ = ["MAX_PIXELS", "StoredImage", "decode_image", "decoded_pixels", "shrinkable_size", "warn_once"]

_log = logging.getLogger(__name__)

# More than the largest cameras in common use; 320 MB in memory.
MAX_PIXELS: Final = 80_000_000
_MAX_DRAFTED_PIXELS: Final = 1_000_000_000  # decoding more takes too long
_DOWNSCALE: Final = "downscale the image first"
_AGAIN: Final = "copy or download the image again"
_LARGE_METADATA: Final = 4 << 20  # bytes; decoders would hold them in memory

_MAX_SCANS: Final = 100  # of a JPEG, as in libtiff; encoders write up to about 20
_RAW_PROFILE: Final = "Raw profile type exif"  # EXIF data as hexadecimal digits, in text


class _BoundedExif(Image.Image):
    """An image whose EXIF data are read only if their entries do not share bytes, which would be copied."""

    def getexif(self) -> Image.Exif:
        exif = self.info.get("exif")
        if exif is None and _RAW_PROFILE in self.info:
            exif = self.info["exif"] = bytes.fromhex("".join(self.info[_RAW_PROFILE].split("\n")[3:]))
        _require_own_bytes(io.BytesIO((exif or b"").removeprefix(b"Exif\0\0")))
        return super().getexif()


class _Jpeg(_BoundedExif, JpegImageFile):
    pass


class _Png(_BoundedExif, PngImageFile):
    pass


class _WebP(_BoundedExif, WebPImageFile):
    pass


# Directly, because `Image.open` has a limit of its own.
_PLUGINS: Final[Mapping[str, Callable[[BinaryIO], Any]]] = {
    "JPEG": _Jpeg,
    "PNG": _Png,
    "WEBP": _WebP,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
}
# Bytes per pixel that a decoder takes besides Pillow's image. WebP: two canvases and a copy of one.
_DECODER_BYTES: Final = {"WEBP": 12.0}
_TIFF_COMPRESSIONS: Final = (
    *("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg"),
    *("group3", "group4", "tiff_ccitt", "tiff_thunderscan"),
)
_NEW_SUBFILE_TYPE: Final = 254
_DNG_VERSION: Final = 0xC612
_TIFF_MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B")
_DRAFTED_MODES: Final = ("RGB", "L")
_DRAFTED_COMPONENTS: Final = (1, 3)  # of files with these modes
_ORIENTATIONS: Final = range(1, 9)
_ORIENTATION_SOURCES: Final = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")

# The scale, such as 4 for a quarter, for a (width, height).
ChooseScale = Callable[[tuple[int, int]], int]

# `warnings.catch_warnings` replaces a global list, so two threads must not enter it at once.
_WARNINGS_LOCK: Final = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """A decoded image as it is stored in its file: in its own mode, and not turned upright.

    Attributes:
        pixels: The image, which may be smaller than in the file.
        size: (width, height) in the file.
        mode: Pillow's color mode of the file; a smaller image that was asked for may have another.
        scale: Pixels of the file per pixel of the image: 1, 2, 4 or 8.
        content: The part of the image that is not padding, in pixels, if a smaller one was asked for.
        is_shrinkable: Whether the file can be decoded at a smaller size.
        orientation: EXIF orientation, 1 to 8.
        notes: What the user should know, such as that the orientation is unknown.
    """

    pixels: Image.Image
    size: tuple[int, int]
    mode: str
    scale: int = 1
    content: tuple[float, float, float, float] | None = None
    is_shrinkable: bool = False
    orientation: int = 1
    notes: tuple[str, ...] = ()


def decode_image(
    path: Path,
    file: BinaryIO,
    *,
    memory: Reservation,
    max_pixels: int = MAX_PIXELS,
    draft: tuple[str, int] | None = None,
    choose_scale: ChooseScale | None = None,
    is_whole: bool = False,
) -> StoredImage:
    """Decodes an open file; of an animation, the first frame.

    Args:
        path: Its name in messages.
        file: The file.
        memory: Gets what decoding takes, and what turning or marking the result takes after that.
        max_pixels: The most pixels of the result.
        draft: Pillow's mode, and a side in pixels that is enough, for JPEG files.
        choose_scale: In place of `draft`: the scale for a (width, height) as stored, for JPEG files.
        is_whole: Refuse a JPEG with too many pixels, instead of decoding it at a smaller size.

    Raises:
        ImageError: It is not an image that can be read, is damaged, or takes too much memory.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    kind = sniff(head)
    if kind.role != "image":
        reason = f"it is {kind.name}" if kind.name else "unknown format"
        raise ImageError(f"{path} cannot be read as an image: {reason}", hint=kind.hint)
    decoder = _Decoder(
        path,
        file,
        kind,
        memory=memory,
        max_pixels=max_pixels,
        draft=draft,
        choose_scale=choose_scale,
        is_whole=is_whole,
    )
    decoder.require_size(stated_size(head, kind))
    return decoder.decode()


def decoded_pixels(path: Path) -> int:
    """About how many pixels a file will have when it is decoded, by its header; 0 if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            kind = sniff(head)
            size = stated_size(head, kind)
            if size is None:
                file.seek(0)
                with _quiet():
                    size = _PLUGINS[kind.pillow](file).size
    except Exception:  # noqa: BLE001  reading it will say what is wrong
        return 0
    return min(MAX_PIXELS, size[0] * size[1])


def shrinkable_size(file: BinaryIO) -> tuple[int, int] | None:
    """(width, height) as stored of a JPEG that can be decoded at a smaller size; None for any other file."""
    file.seek(0)
    if sniff(file.read(HEAD_BYTES)).pillow != "JPEG":
        return None
    layout = jpeg_layout(file)
    return layout.size if layout is not None and len(layout.components) in _DRAFTED_COMPONENTS else None


def warn_once(path: Path, note: str) -> None:
    """Logs a warning about a file, unless it was logged before."""
    _warn(str(path), note)


@lru_cache(maxsize=1 << 14)
def _warn(path: str, note: str) -> None:
    _log.warning("%s: %s", path if path.isprintable() else ascii(path), note)


class _Decoder:
    """Decodes one file."""

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        kind: FileKind,
        *,
        memory: Reservation,
        max_pixels: int,
        draft: tuple[str, int] | None,
        choose_scale: ChooseScale | None,
        is_whole: bool,
    ) -> None:
        self._path, self._file, self._kind = path, file, kind
        self._memory, self._max_pixels, self._is_whole = memory, max_pixels, is_whole
        self._draft, self._choose_scale = draft, choose_scale
        self._layout = jpeg_layout(file) if kind.pillow == "JPEG" else None
        self._tag_bytes = 0  # that a TIFF file takes

    def require_size(self, size: tuple[int, int] | None) -> None:
        """Raises ImageError if a size that is known before the file is opened is too large."""
        if size is not None:
            self._require_memory(size, "RGBA", size)

    def decode(self) -> StoredImage:
        """The image; ImageError if no version of the file can be decoded."""
        reason = ""
        if self._layout is not None and self._layout.coefficient_bytes:
            num_scans = count_scans(self._file, self._layout)
            if num_scans > _MAX_SCANS:  # each takes as long as an image
                raise ImageError(
                    f"{self._path} has {num_scans:,} scans, more than the {_MAX_SCANS} allowed", hint=_AGAIN
                )
        is_cut = self._layout is not None and not has_end_marker(self._file, self._layout)
        for source, has_lost_orientation in self._versions():
            try:
                if is_cut:
                    return self._decode_without_end(source, has_lost_orientation)
                return self._decode(source, has_lost_orientation)
            except ImageError:
                raise
            except MemoryError as error:
                raise ImageError(f"{self._path} takes more memory than there is", hint=_DOWNSCALE) from error
            except Image.DecompressionBombError as error:  # a frame that is larger than the image
                raise ImageError(
                    f"{self._path} has more than the {self._max_pixels:,} pixels allowed", hint=_DOWNSCALE
                ) from error
            except Exception as error:  # noqa: BLE001  hostile bytes make decoders raise nearly anything
                # Not the exception itself, whose traceback keeps the pixels in memory.
                reason = reason or first_line(error)
        raise self._unreadable(reason)

    # --- One version of the file ---

    def _versions(self) -> Iterator[tuple[BinaryIO, bool]]:
        """The file, then the same without metadata, and whether the orientation may be lost."""
        kept = without_metadata(self._file, self._kind.pillow, keep_orientation=True)
        if kept is None or kept.num_removed <= _LARGE_METADATA:
            self._file.seek(0)
            yield self._file, False
        for version in (kept, without_metadata(self._file, self._kind.pillow, keep_orientation=False)):
            if version is not None:
                version.file.seek(0)
                yield version.file, version.has_lost_orientation

    def _decode(self, source: BinaryIO, has_lost_orientation: bool) -> StoredImage:
        header, has_more_frames = self._open(source)
        size, mode = header.size, header.mode
        if self._kind.pillow == "TIFF":
            self._require_plain_tiff(header)
        scale, content = self._shrink(header)
        with _quiet() if self._kind.pillow == "TIFF" else nullcontext():
            header.load()
        if header.mode in ("P", "PA") and header.palette is None:
            raise ValueError("its colors are missing")
        if self._kind.pillow == "WEBP":
            header._decoder = header.fp = None  # they hold three copies of the pixels
        orientation, is_known = _orientation(header)
        notes = []
        if scale > 1 and size[0] * size[1] > self._max_pixels:
            notes.append(f"it has {size[0]} x {size[1]} pixels and is read at 1/{scale} of its size")
        if has_lost_orientation or not is_known:
            notes.append("its metadata are damaged, so its orientation is unknown: it is not turned")
        if has_more_frames:
            notes.append("it has several frames or pages, of which the first is read")
        return StoredImage(
            pixels=header,
            size=size,
            mode=mode,
            scale=scale,
            content=content,
            is_shrinkable=self._kind.pillow == "JPEG" and mode in _DRAFTED_MODES,
            orientation=orientation,
            notes=tuple(notes),
        )

    def _open(self, source: BinaryIO) -> tuple[Any, bool]:
        """The image before it is decoded, and whether it has more frames or pages."""
        plugin = _PLUGINS[self._kind.pillow]
        has_more_frames = False
        if self._kind.pillow == "TIFF":
            self._hold_tags(_require_own_bytes(source))
        elif self._kind.pillow == "GIF":
            source, has_more_frames = first_gif_frame(source)
        source.seek(0)
        with _quiet():
            header = plugin(source)
            if self._kind.pillow == "TIFF":
                has_more_frames = bool(header.tag_v2.next)
            elif self._kind.pillow != "GIF":
                has_more_frames = bool(getattr(header, "is_animated", False))
        return header, has_more_frames

    def _hold_tags(self, num_bytes: int) -> None:
        """Reserves memory for the tags of a TIFF file, which are copied twice."""
        self._tag_bytes = 2 * num_bytes
        if self._tag_bytes > MAX_BYTES:
            raise ImageError(f"{self._path} has {num_bytes:,} bytes of metadata", hint="save it without them")
        self._memory.hold(self._tag_bytes)

    def _shrink(self, header: Any) -> tuple[int, tuple[float, float, float, float] | None]:
        """Chooses the scale of a JPEG, and reserves the memory that decoding will take."""
        width, height = header.size
        if self._kind.pillow != "JPEG" or self._is_whole:
            self._require_memory(header.size, header.mode, header.size)
            return 1, None
        draft, enough = None, 1
        if header.mode in _DRAFTED_MODES:
            draft = self._draft
            if draft is not None:
                enough = min(width // draft[1], height // draft[1])
            elif self._choose_scale is not None:
                enough = self._choose_scale((width, height))
        mode = None if draft is None else draft[0]
        scale = next((scale for scale in (8, 4, 2) if scale <= enough), 1)
        while scale < 8 and self._excess((width, height), header.mode, _scaled(header.size, scale)):
            scale *= 2
        self._require_memory(header.size, header.mode, _scaled(header.size, scale))
        if draft is None and scale == 1:
            return 1, None
        drafted = header.draft(mode, (max(1, width // scale), max(1, height // scale)))
        if drafted is None:
            self._require_memory(header.size, header.mode, header.size)
            return 1, None
        return header.decoderconfig[0], drafted[1]

    def _require_memory(self, size: tuple[int, int], mode: str, decoded: tuple[int, int]) -> None:
        excess = self._excess(size, mode, decoded)
        if excess:
            raise ImageError(f"{self._path} has {size[0]} x {size[1]} pixels, {excess}", hint=_DOWNSCALE)
        self._memory.hold(self._peak(size, mode, decoded))

    def _excess(self, size: tuple[int, int], mode: str, decoded: tuple[int, int]) -> str:
        """How an image exceeds the limits; "" if it does not."""
        if decoded[0] * decoded[1] > self._max_pixels or size[0] * size[1] > _MAX_DRAFTED_PIXELS:
            return f"more than the {self._max_pixels:,} allowed"
        peak = self._peak(size, mode, decoded)
        if peak > MAX_BYTES:
            return f"which take {peak / 1e9:.1f} GB to decode, more than the {MAX_BYTES / 1e9:.1f} GB allowed"
        return ""

    def _peak(self, size: tuple[int, int], mode: str, decoded: tuple[int, int]) -> int:
        """The most memory that decoding takes, in bytes, or that turning or marking takes after that."""
        stored, rgb = image_bytes(mode, *decoded), image_bytes("RGB", *decoded)
        per_pixel = _DECODER_BYTES.get(self._kind.pillow, 0.0)
        if self._layout is not None:
            per_pixel = self._layout.coefficient_bytes
        return self._tag_bytes + max(stored + int(per_pixel * size[0] * size[1]), stored + rgb, 2 * rgb)

    def _require_plain_tiff(self, header: Any) -> None:
        """Refuses raw photos, whose first page is a preview, and rarely used compressions."""
        tags = header.tag_v2
        if tags.get(_DNG_VERSION) is not None or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
            raise ImageError(f"{self._path} cannot be read as an image: it is a raw photo", hint=RAW_HINT)
        compression = header.info.get("compression", "raw")
        if compression not in _TIFF_COMPRESSIONS:
            raise self._unreadable(f"TIFF images compressed with {compression} are not read")
        if header.mode in ("I", "F") or header.mode not in _TIFF_MODES:
            raise self._unreadable(f"TIFF images of mode {header.mode} are not read")
        for tile in header.tile:  # a strip or tile is decoded as a whole
            left, top, right, bottom = tile.extents
            self._require_memory((right - left, bottom - top), header.mode, (right - left, bottom - top))

    # --- A file without its end ---

    def _decode_without_end(self, source: BinaryIO, has_lost_orientation: bool) -> StoredImage:
        """Decodes a JPEG without an end marker; ImageError if anything else is missing, too."""
        assert self._layout is not None
        if self._layout.is_progressive and not is_refined(self._file, self._layout):
            raise ImageError(f"{self._path} is cut short: its last passes are missing", hint=_AGAIN)
        held = held_by_jpeg(source, lambda file: self._decode(file, False).pixels)
        if held < 1:
            raise self._cut_short(held, "rows")
        found = self._decode(with_end_marker(source), has_lost_orientation)
        return replace(found, notes=(*found.notes, "its end marker is missing, but its pixels are complete"))

    def _cut_short(self, held: float, parts: str) -> ImageError:
        percent = max(1, round(100 * (1 - held)))
        return ImageError(f"{self._path} is cut short: {percent}% of its {parts} are missing", hint=_AGAIN)

    def _unreadable(self, reason: str) -> ImageError:
        self._file.seek(0)
        held, parts = None, "rows"
        if self._kind.pillow == "PNG":
            held = held_by_png(self._file)
        elif self._kind.pillow == "WEBP":
            held, parts = held_by_riff(self._file), "bytes"
        if held is not None and held < 1:
            return self._cut_short(held, parts)
        if (self._kind.pillow == "JPEG" and self._layout is None) or "truncated" in reason:
            return ImageError(f"{self._path} is cut short", hint=_AGAIN)
        return ImageError(
            f"{self._path} cannot be read as an image: {reason}",
            hint=f"it is {self._kind.name}, but damaged or unusual; copy it again, or save it as PNG",
        )


def _scaled(size: tuple[int, int], scale: int) -> tuple[int, int]:
    width, height = size
    return -(-width // scale), -(-height // scale)


def _orientation(header: Image.Image) -> tuple[int, bool]:
    """The EXIF orientation, and whether it is known."""
    if not any(name in header.info for name in _ORIENTATION_SOURCES):
        return 1, True
    try:
        with _quiet():
            value = header.getexif().get(Base.Orientation)
    except Exception:  # noqa: BLE001  damaged metadata make parsers raise nearly anything
        return 1, False
    if isinstance(value, int) and value in _ORIENTATIONS:
        return value, True
    return 1, value in (None, 0) and _is_complete(header.info.get("exif"))


def _require_own_bytes(file: BinaryIO) -> int:
    """The bytes that the entries of TIFF or EXIF data refer to; ValueError if many refer to the same ones."""
    count, length = count_entry_bytes(file), file.seek(0, os.SEEK_END)
    file.seek(0)
    if count > 2 * length + (1 << 16):
        raise ValueError(f"its metadata have {count:,} bytes, more than the file")
    return count


def _is_complete(exif: bytes | None) -> bool:
    """Whether all entries of the first directory are there, in which the orientation would be."""
    if not exif:
        return True
    data = exif.removeprefix(b"Exif\0\0")
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return False
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    start = int.from_bytes(data[4:8], order)
    count = int.from_bytes(data[start : start + 2], order)
    return len(data) >= max(8, start + 2 + 12 * count)


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignores warnings: Pillow's are about large images and damaged metadata, which are handled here."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
