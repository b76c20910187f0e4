"""At least sixty odd and broken image files, each written on demand."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Make = Callable[[Path], Path]


def _noise(width: int = 64, height: int = 48) -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


JPEG, PNG = _encoded(_noise(), "JPEG"), _encoded(_noise(), "PNG")


def _file(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return make


def _saved(name: str, image: Image.Image, kind: str, **options: Any) -> Make:
    return _file(name, _encoded(image, kind, **options))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png_claiming(width: int, height: int, rows: bytes = b"", mode: int = 2) -> bytes:
    """A PNG whose header claims a size, regardless of its content."""
    header = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    parts = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _link(name: str, target: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    return make


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.jpg")
    return folder / "pipe.jpg"


def _folder(folder: Path) -> Path:
    (folder / "folder.png").mkdir()
    return folder / "folder.png"


def _unreadable(folder: Path) -> Path:
    path = _file("no_rights.jpg", JPEG)(folder)
    path.chmod(0)
    return path


def _rotated(orientation: int) -> Make:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _saved(f"exif_{orientation}.jpg", _noise(), "JPEG", exif=exif)


def _gray16() -> Image.Image:
    return Image.fromarray((np.arange(48 * 64, dtype=np.uint16) * 20).reshape(48, 64))


ODD: dict[str, Make] = {
    "cmyk": _saved("cmyk.jpg", _noise().convert("CMYK"), "JPEG"),
    "cmyk_adobe": _saved("cmyk_adobe.jpg", _noise().convert("CMYK"), "JPEG", quality=100, subsampling=0),
    "gray": _saved("gray.jpg", _noise().convert("L"), "JPEG"),
    "gray16": _saved("gray16.png", _gray16(), "PNG"),
    "bilevel": _saved("bilevel.png", _noise().convert("1"), "PNG"),
    "palette": _saved("palette.png", _noise().convert("P"), "PNG"),
    "palette_alpha": _saved("palette_alpha.png", _noise().convert("P"), "PNG", transparency=0),
    "gray_alpha": _saved("gray_alpha.png", _noise().convert("LA"), "PNG"),
    "alpha": _saved("alpha.png", _noise().convert("RGBA"), "PNG"),
    "progressive": _saved("progressive.jpg", _noise(), "JPEG", progressive=True),
    "webp": _saved("image.webp", _noise(), "WEBP"),
    "webp_lossless": _saved("lossless.webp", _noise(), "WEBP", lossless=True),
    "webp_animated": _saved("moving.webp", _noise(), "WEBP", save_all=True, append_images=[_noise()] * 3),
    "png_animated": _saved("moving.png", _noise(), "PNG", save_all=True, append_images=[_noise()] * 3),
    "gif": _saved("image.gif", _noise(), "GIF"),
    "tiff": _saved("image.tiff", _noise(), "TIFF"),
    "bmp": _saved("image.bmp", _noise(), "BMP"),
    "one_pixel": _saved("one.png", _noise(1, 1), "PNG"),
    "one_pixel_jpeg": _saved("one.jpg", _noise(1, 1), "JPEG"),
    "thin": _saved("thin.png", _noise(1, 65535), "PNG"),
    "flat": _saved("flat.png", _noise(65535, 1), "PNG"),
    "thin_jpeg": _saved("thin.jpg", _noise(1, 60000), "JPEG"),
    "wrong_ending": _saved("png_called.jpg", _noise(), "PNG"),
    "no_ending": _saved("noending", _noise(), "JPEG"),
    "long_name": _saved("n" * 240 + ".jpg", _noise(), "JPEG"),
    "spaces": _saved(" a photo of us  .jpg", _noise(), "JPEG"),
    "cyrillic": _saved("фото.jpg", _noise(), "JPEG"),
    "emoji": _saved("\U0001f600.jpg", _noise(), "JPEG"),
    "combining": _saved("e\u0301.jpg", _noise(), "JPEG"),
    "right_to_left": _saved("\u202egpj.jpg", _noise(), "JPEG"),
    "newline": _saved("two\nlines.jpg", _noise(), "JPEG"),
    "quotes": _saved("a\"b'c;$(x).jpg", _noise(), "JPEG"),
    "half_characters": _file(os.fsdecode(b"half_\xff\xfe.jpg"), JPEG),
    "formula": _saved("=1+1.jpg", _noise(), "JPEG"),
    "trailing_bytes": _file("trailing.jpg", JPEG + b"MZ" + bytes(1000)),
    "zip_behind": _file("zip.png", PNG + b"PK\x03\x04" + bytes(200)),
    "big_comment": _saved("comment.jpg", _noise(), "JPEG", comment=b"x" * 60000),
    "icc_garbage": _saved("icc.jpg", _noise(), "JPEG", icc_profile=b"\x00garbage" * 40),
    "exif_garbage": _saved("exif_garbage.jpg", _noise(), "JPEG", exif=b"Exif\x00\x00MM\x00*" + b"\xff" * 60),
    "linked": lambda folder: (_file("real.jpg", JPEG)(folder), _link("linked.jpg", "real.jpg")(folder))[1],
    **{f"exif_{n}": _rotated(n) for n in (2, 3, 5, 6, 8, 9)},
}

BROKEN: dict[str, Make] = {
    "empty": _file("empty.jpg", b""),
    "one_byte": _file("byte.jpg", b"\xff"),
    "text": _file("text.jpg", b"this is not an image\n" * 20),
    "html": _file("html.jpg", b"<html><body>404 Not Found</body></html>"),
    "zeros": _file("zeros.jpg", bytes(5000)),
    "random": _file("random.png", np.random.default_rng(0).bytes(5000)),
    "jpeg_head": _file("head.jpg", JPEG[:2]),
    "jpeg_cut": _file("cut.jpg", JPEG[: len(JPEG) // 2]),
    "jpeg_cut_late": _file("cut_late.jpg", JPEG[: len(JPEG) - 400]),
    "jpeg_no_tables": _file("tables.jpg", JPEG[:2] + JPEG[-800:]),
    "png_cut": _file("cut.png", PNG[: len(PNG) // 2]),
    "png_head": _file("head.png", PNG[:8]),
    "png_bad_sum": _file("sum.png", PNG[:29] + b"\x00\x00\x00\x00" + PNG[33:]),
    "png_no_rows": _file("rows.png", _png_claiming(50, 50)),
    "png_no_width": _file("width.png", _png_claiming(0, 50)),
    "png_huge_claim": _file("claim.png", _png_claiming(2**31 - 1, 2**31 - 1)),
    "bomb": _file("bomb.png", _png_claiming(30000, 30000, bytes(30001 * 300), mode=0)),
    "bomb_wide": _file("bomb_wide.png", _png_claiming(100_000_000, 1, bytes(1000), mode=0)),
    "webp_cut": _file("cut.webp", _encoded(_noise(), "WEBP")[:60]),
    "riff_lies": _file("riff.webp", b"RIFF\xff\xff\xff\xffWEBPVP8 "),
    "svg": _file("image.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'),
    "postscript": _file("eps.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nquit\n"),
    "pdf": _file("pdf.png", b"%PDF-1.7\n1 0 obj <<>> endobj\ntrailer <<>>\n"),
    "loop": _link("loop.jpg", "loop.jpg"),
    "dangling": _link("dangling.jpg", "nowhere.jpg"),
    "device": _link("device.jpg", "/dev/zero"),
    "pipe": _fifo,
    "folder": _folder,
    "missing": lambda folder: folder / "missing.jpg",
}

if os.geteuid():  # the superuser can read everything
    BROKEN["no_rights"] = _unreadable
