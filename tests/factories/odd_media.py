"""Images and clips as people bring them: damaged, oversized, misnamed."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw

__all__ = [
    "BAD_EXIF",
    "OTHER_FILES",
    "draw_photo",
    "encode",
    "png_chunk",
    "png_claiming",
    "with_png_chunks",
    "with_webp_chunk",
    "write_clip",
    "write_sound",
]

# A directory without the header that must precede it.
BAD_EXIF = b"\x00\x08\x00\x02\x01\x12\x00\x03abcd"


def draw_photo(width: int = 320, height: int = 240) -> Image.Image:
    """A figure on noise, so that every row differs from every other."""
    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    ImageDraw.Draw(image).rectangle(
        (width * 0.4, height * 0.2, width * 0.6, height * 0.9), fill=(60, 80, 160)
    )
    return image


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image in one of Pillow's formats."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# --- PNG and WebP, chunk by chunk --------------------------------------------------------------------


def png_chunk(kind: bytes, content: bytes, *, checksum: int | None = None) -> bytes:
    """One chunk, with the right checksum unless another is given."""
    found = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", found)


def with_png_chunks(png: bytes, *chunks: bytes) -> bytes:
    """The PNG file with these chunks after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def png_claiming(
    width: int, height: int, *, depth: int, color: int, row: bytes = b"", count: int | None = None
) -> bytes:
    """A PNG file with a header of any size; all rows are the same, filter byte included."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows, data = height if count is None else count, []
    while rows > 0:
        data.append(packer.compress(row * min(rows, 1 << 12)))
        rows -= 1 << 12
    data.append(packer.flush())
    parts = (
        png_chunk(b"IHDR", header),
        *((png_chunk(b"PLTE", bytes(range(48))),) if color == 3 else ()),
        png_chunk(b"IDAT", b"".join(data)),
        png_chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_webp_chunk(webp: bytes, kind: bytes, content: bytes) -> bytes:
    """The extended WebP file with one more chunk at its end."""
    chunk = kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    body = webp[8:] + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


# --- Clips -------------------------------------------------------------------------------------------


def write_clip(
    path: Path, container: str, *, codec: str = "mpeg4", count: int = 6, size: tuple[int, int] = (64, 48)
) -> Path:
    """A clip whose frames get lighter, in any container, regardless of the ending of the path."""
    with av.open(str(path), "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(count):
            pixels = np.full((size[1], size[0], 3), 40 + 30 * number, dtype=np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path


def write_sound(path: Path, container: str = "mp4") -> Path:
    """A clip that is only heard."""
    with av.open(str(path), "w", format=container) as file:
        stream: Any = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


# --- Other files -------------------------------------------------------------------------------------


def _box(brand: bytes, *more: bytes) -> bytes:
    brands = b"".join(more)
    return struct.pack(">I4s4sI", 16 + len(brands), b"ftyp", brand, 0) + brands + bytes(400)


def _raw_photo() -> bytes:
    """A TIFF file whose first page is a preview, as in the raw photos of many cameras."""
    page = Image.new("RGB", (16, 12), "gray")
    return encode(page, "TIFF", tiffinfo={254: 1})


# What it is: its first bytes, and words of the message and of the hint.
OTHER_FILES: dict[str, tuple[bytes, str, str]] = {
    "heic": (_box(b"heic", b"mif1", b"heic"), "a HEIC photo", "heif-convert"),
    "heif": (_box(b"mif1", b"heic"), "a HEIC photo", "heif-convert"),
    "avif": (_box(b"avif", b"avif", b"mif1"), "an AVIF image", "convert"),
    "canon": (_box(b"crx ", b"isom"), "a raw photo", "convert"),
    "raw": (_raw_photo(), "a raw photo", "convert"),
    "jpeg_xl": (b"\xff\x0a" + bytes(40), "a JPEG XL image", "djxl"),
    "jpeg_2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "a JPEG 2000 image", "convert"),
    "photoshop": (b"8BPS\0\x01" + bytes(40), "a Photoshop document", "convert"),
    "web_page": (b"<!DOCTYPE html><html>404 Not Found</html>", "a web page", "download"),
    "web_page_marked": ("\ufeff\n <HTML><body>no".encode(), "a web page", "download"),
    "web_page_wide": ("\ufeff<html><body>no".encode("utf-16-le"), "a web page", "download"),
    "server_error": (b"<?xml version='1.0'?><Error><Code>No", "an error message of a server", "download"),
    "json": (b'{"error": "not found"}', "a JSON document", "download"),
    "drawing": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org"/>', "an SVG drawing", "convert"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document", "pdftoppm"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript document", "convert"),
    "icon": (b"\0\0\1\0\1\0\x10\x10" + bytes(40), "an icon", "convert"),
    "netpbm": (b"P6\n2 2\n255\n" + bytes(12), "a Netpbm image", "convert"),
    "text": (b"this is not an image\n" * 9, "a text file", "download"),
    "text_latin": ("Keine Datei für dich da".encode("latin-1"), "a text file", "download"),
    "base64": (b"/9j/4AAQSkZJRgABAQ" + b"A" * 90, "an image as Base64 text", "decode"),
    "data_uri": (b"data:image/png;base64,iVBORw0KGgo", "a data URI", "decode"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha", "a Git LFS pointer", "git lfs pull"),
    "zip": (b"PK\x03\x04" + bytes(40), "a ZIP archive", "unpack"),
    "gzip": (b"\x1f\x8b\x08" + bytes(40), "a compressed archive", "unpack"),
    "sound": (b"ID3\x04" + bytes(40), "a sound file", "image"),
    "numpy": (b"\x93NUMPY\x01\0v\0{}", "a NumPy array", "array"),
    "companion": (b"\0\x05\x16\x07\0\x02\0\0" + bytes(40), "a macOS companion file", "without ._"),
    "zeros": (bytes(5000), "nothing but zeros", "again"),
    "unknown": (b"\x01\x02\x03\x04\xfe\x99" * 40, "unknown format", "JPEG, PNG"),
}  # fmt: skip
