"""Tells what a file is from its first bytes, regardless of its name.

Readers ask before they decode, so that a photo in a format that is not read, a web page or a clip is named
for what it is, with what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

__all__ = [
    "CLIP_SUFFIXES",
    "FOLDER_SUFFIXES",
    "HEAD_BYTES",
    "IMAGE_HINT",
    "RAW_HINT",
    "FileKind",
    "is_clip",
    "sniff",
    "sniff_file",
    "stated_size",
]

# Endings of images that are read.
_READ: Final = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".apng",
    ".webp",
    ".gif",
    ".bmp",
    ".dib",
    ".tif",
    ".tiff",
)
# Endings of images that are not read: a folder names them as failures, rather than skip them silently.
_NOT_READ: Final = (
    *(
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".jxl",
        ".jp2",
        ".j2k",
        ".psd",
        ".svg",
        ".ico",
        ".tga",
        ".ppm",
        ".pgm",
    ),
    *(".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw"),
)
FOLDER_SUFFIXES: Final = _READ + _NOT_READ
CLIP_SUFFIXES: Final = (
    *(
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".ts",
        ".mts",
        ".m2ts",
        ".3gp",
        ".3g2",
        ".mpg",
        ".mpeg",
    ),
    *(".vob", ".wmv", ".asf", ".flv", ".f4v", ".ogv"),
)

HEAD_BYTES: Final = 1 << 11  # bytes: two and more packets of MPEG-TS

Role = Literal["image", "clip", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """What a file is.

    Attributes:
        name: With its article, as in "a web page (HTML)"; "" if unknown.
        role: "image" if it can be read as an image, "clip", or "other".
        pillow: Pillow's name of an image format.
        hint: What to do if this is not what was asked for.
    """

    name: str
    role: Role = "other"
    pillow: str = ""
    hint: str = ""


def _convert(command: str) -> str:
    return f"convert it to JPEG or PNG first, for example: {command}"


_MAGICK: Final = _convert("magick photo photo.jpg")
RAW_HINT: Final = _convert("darktable-cli photo photo.jpg")
_NO_SOUND: Final = "give an image or a clip"
_NOT_IT: Final = "give the image itself; if this was downloaded as an image, the server sent something else"
_FRAME: Final = "take a frame out of it, for example: ffmpeg -ss 1 -i clip -frames:v 1 frame.png"
IMAGE_HINT: Final = "give a JPEG, PNG, WebP, GIF, BMP or TIFF file"
_UNKNOWN: Final = FileKind(name="", hint=IMAGE_HINT)


def _clip(name: str) -> FileKind:
    return FileKind(name=name, role="clip", hint=_FRAME)


def _image(name: str, pillow: str) -> FileKind:
    return FileKind(name=name, role="image", pillow=pillow)


# The first bytes; a dot stands for any byte.
_SIGNATURES: Final[Sequence[tuple[bytes, FileKind]]] = (
    (rb"\xff\xd8\xff", _image("a JPEG image", "JPEG")),
    (rb"\x89PNG\r\n\x1a\n", _image("a PNG image", "PNG")),
    (rb"RIFF....WEBP", _image("a WebP image", "WEBP")),
    (rb"GIF8[79]a", _image("a GIF image", "GIF")),
    (rb"BM....\0\0\0\0....[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", _image("a BMP image", "BMP")),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", _image("a BMP image", "BMP")),
    (rb"II\x2a\0\x10\0\0\0CR", FileKind(name="a raw photo (Canon CR2)", hint=RAW_HINT)),
    (rb"II\x1a\0\0\0HEAPCCDR", FileKind(name="a raw photo (Canon CRW)", hint=RAW_HINT)),
    (rb"IIU\0", FileKind(name="a raw photo (Panasonic RW2)", hint=RAW_HINT)),
    (rb"(IIRO|IIRS|MMOR)", FileKind(name="a raw photo (Olympus ORF)", hint=RAW_HINT)),
    (rb"FUJIFILMCCD-RAW", FileKind(name="a raw photo (Fujifilm RAF)", hint=RAW_HINT)),
    (rb"FOVb", FileKind(name="a raw photo (Sigma X3F)", hint=RAW_HINT)),
    (rb"(II[\x2a\x2b]\0|MM\0[\x2a\x2b])", _image("a TIFF image", "TIFF")),
    (rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1|miaf)", FileKind(
        name="a HEIC photo, as iPhones write", hint=_convert("heif-convert photo.heic photo.jpg"))),
    (rb"....ftyp(avif|avis|avio)", FileKind(name="an AVIF image", hint=_MAGICK)),
    (rb"....ftypcrx ", FileKind(name="a raw photo (Canon CR3)", hint=RAW_HINT)),
    (rb"....ftypM4A ", FileKind(name="a sound file (M4A)", hint=_NO_SOUND)),
    (rb"....ftyp(3g[2-9p-s])", _clip("a 3GP clip")),
    (rb"....ftypqt  ", _clip("a QuickTime clip")),
    (rb"....ftyp", _clip("an MP4 clip")),
    (rb"....(moov|mdat|wide|free|skip|pnot)", _clip("a QuickTime clip")),
    (rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", FileKind(
        name="a JPEG XL image", hint=_convert("djxl photo.jxl photo.png"))),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", FileKind(name="a JPEG 2000 image", hint=_MAGICK)),
    (rb"\x1aE\xdf\xa3.{0,64}webm", _clip("a WebM clip")),
    (rb"\x1aE\xdf\xa3", _clip("a Matroska clip")),
    (rb"RIFF....AVI ", _clip("an AVI clip")),
    (rb"RIFF....WAVE|ID3|\xff[\xfb\xf3\xf2]|fLaC", FileKind(name="a sound file", hint=_NO_SOUND)),
    (rb"G.{187}G.{187}G|.{4}G.{191}G.{191}G", _clip("an MPEG-TS clip")),
    (rb"\0\0\x01[\xba\xb3]", _clip("an MPEG clip")),
    (rb"FLV\x01", _clip("a Flash clip")),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _clip("a Windows Media clip")),
    (rb"OggS", _clip("an Ogg clip")),
    (rb"\.RMF|\x06\x0e\x2b\x34\x02\x05\x01|YUV4MPEG2|DKIF", _clip("a clip in a rare format")),
    (rb"8BPS", FileKind(name="a Photoshop document (PSD)", hint=_convert("magick 'photo.psd[0]' photo.png"))),
    (rb"\0{0,1024}%PDF-", FileKind(name="a PDF document", hint=_convert("pdftoppm -png document.pdf page"))),
    (rb"%!PS|\xc5\xd0\xd3\xc6", FileKind(name="a PostScript document", hint=_MAGICK)),
    (rb"\0\0[\x01\x02]\0[^\0]\0", FileKind(name="an icon (ICO or CUR)", hint=_MAGICK)),
    (rb"P[1-7][\s#]", FileKind(name="a Netpbm image", hint=_MAGICK)),
    (rb"qoif", FileKind(name="a QOI image", hint=_MAGICK)),
    (rb"\x76\x2f\x31\x01", FileKind(name="an OpenEXR image", hint=_MAGICK)),
    (rb"#\?RADIANCE", FileKind(name="a Radiance HDR image", hint=_MAGICK)),
    (rb"DDS ", FileKind(name="a DDS image", hint=_MAGICK)),
    (rb"PK\x03\x04|PK\x05\x06", FileKind(name="a ZIP archive", hint="unpack it and give the images in it")),
    (rb"\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", FileKind(
        name="a compressed archive", hint="unpack it and give the images in it")),
    (rb"\x93NUMPY", FileKind(name="a NumPy array", hint="pass the array itself, or save it as a PNG file")),
    (rb"\x89HDF", FileKind(name="an HDF5 file", hint="save its images as PNG files")),
    (rb"SQLite format 3", FileKind(name="an SQLite database", hint=_UNKNOWN.hint)),
    (rb"\0\x05\x16\x07", FileKind(
        name="a macOS companion file (AppleDouble)", hint="give the file without ._")),
    (rb"\x7fELF|MZ", FileKind(name="a program", hint=_UNKNOWN.hint)),
    (rb"version https://git-lfs", FileKind(
        name="a Git LFS pointer, not the image", hint="run git lfs pull to get the images")),
)  # fmt: skip
_PATTERNS: Final = [(re.compile(signature, re.DOTALL), kind) for signature, kind in _SIGNATURES]

# Of text, after spaces and a byte order mark, in lower case.
_TEXTS: Final[Sequence[tuple[bytes, FileKind]]] = (
    (rb"(<\?xml.{0,512}?)?(<!--.{0,512}?-->\s*)?(<!doctype svg|<svg)", FileKind(
        name="an SVG drawing", hint=_convert("rsvg-convert drawing.svg -o drawing.png"))),
    (rb"(<\?xml.{0,512}?)?(<!--.{0,512}?-->\s*)?(<!doctype html|<html|<head|<body|<script)", FileKind(
        name="a web page (HTML)", hint=_NOT_IT)),
    (rb"<\?xml.{0,512}?<error", FileKind(name="an error message of a server (XML)", hint=_NOT_IT)),
    (rb"(<\?xml|<error)", FileKind(name="an XML document", hint=_NOT_IT)),
    (rb"[{\[]\s*[\"{\[}\]0-9]", FileKind(name="a JSON document", hint=_NOT_IT)),
    (rb"data:image/", FileKind(name="a data URI as text", hint="decode its Base64 and save the bytes")),
    (rb"(/9j/4|ivborw0kgg|uklgr)[a-z0-9+/=\s]+$", FileKind(
        name="an image as Base64 text", hint="decode it first, for example: base64 -d")),
    (rb"[\t\n\f\r\x20-\x7e\x80-\xff]+$", FileKind(name="a text file", hint=_NOT_IT)),
)  # fmt: skip
_TEXT_PATTERNS: Final = [(re.compile(start, re.DOTALL), kind) for start, kind in _TEXTS]


def sniff(head: bytes) -> FileKind:
    """What a file is, from its first 2,048 bytes."""
    head = head[:HEAD_BYTES]
    for pattern, kind in _PATTERNS:
        if pattern.match(head):
            return kind
    if head and not any(head):
        return FileKind(name="nothing but zeros so far", hint="copy or download the image again")
    text = _as_text(head)
    if text is None:
        return _UNKNOWN
    return next((kind for pattern, kind in _TEXT_PATTERNS if pattern.match(text.lstrip().lower())), _UNKNOWN)


def stated_size(head: bytes, kind: FileKind) -> tuple[int, int] | None:
    """(width, height) of a PNG, GIF or WebP image, by its first bytes; None for other formats."""
    if kind.pillow == "GIF":
        return _little(head[6:8]), _little(head[8:10])
    if kind.pillow == "PNG":
        return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    if kind.pillow != "WEBP":
        return None
    if head[12:16] == b"VP8X":
        return _little(head[24:27]) + 1, _little(head[27:30]) + 1
    if head[12:16] == b"VP8L":
        bits = _little(head[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def sniff_file(path: Path) -> FileKind:
    """What the file at a path is; an unknown kind if it cannot be read. The path must be a regular file."""
    try:
        with path.open("rb") as file:
            return sniff(file.read(HEAD_BYTES))
    except OSError:
        return _UNKNOWN


def is_clip(path: Path) -> bool:
    """Whether a path names a clip: by its content, unless it ends as an image does.

    So a list of images is not opened file by file. A file that cannot be read is known by its ending.
    """
    suffix = path.suffix.lower()
    if suffix in FOLDER_SUFFIXES:
        return False
    try:
        kind = sniff_file(path) if path.is_file() else _UNKNOWN
    except (OSError, ValueError):  # a name that no file can have
        kind = _UNKNOWN
    return kind.role == "clip" if kind.name else suffix in CLIP_SUFFIXES


def _as_text(head: bytes) -> bytes | None:
    """The head as UTF-8, without a byte order mark; None if most of it is not text."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(mark):
            return head[2:].decode(encoding, "replace").encode()
    text = head.removeprefix(b"\xef\xbb\xbf")
    # Characters of other encodings are rare in a text, except in UTF-8.
    others = text.decode("utf-8", "replace").count("\ufffd")
    return text if 8 * others < len(text) else None
