"""Small image files whose metadata or scans would take much time or memory."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from mien.errors import ImageError
from mien.media.decode import decode_image
from mien.media.images import load_image_file
from mien.media.memory import Reservation

_ORIENTATION = (0x112, 3, 1, 6)
_SHARED = 20_000  # bytes that all entries refer to


def saved(form: str, size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise(size, 50).save(stream, form, **options)
    return stream.getvalue()


def directory(entries: list[tuple[int, int, int, int]], data: bytes) -> bytes:
    """TIFF or EXIF data: the header, the data at offset 8, and a directory."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(data))
        + data
        + struct.pack("<H", len(entries))
        + packed
        + bytes(4)
    )


def shared_entries(count: int) -> list[tuple[int, int, int, int]]:
    return [(number, 7, _SHARED, 8) for number in range(1000, 1000 + count)]


def costly_exif() -> bytes:
    return directory([_ORIENTATION, *shared_entries(100)], bytes(_SHARED))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def in_jpeg(exif: bytes) -> bytes:
    data, segments = saved("JPEG"), b""
    for start in range(0, len(exif), 60_000):
        part = b"Exif\0\0" + exif[start : start + 60_000]
        segments += b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part
    return data[:2] + segments + data[2:]


def in_png(exif: bytes, *, as_text: bool = False) -> bytes:
    data = saved("PNG")
    profile = f"\nexif\n{len(exif)}\n{exif.hex()}".encode()
    body = chunk(b"tEXt", b"Raw profile type exif\0" + profile) if as_text else chunk(b"eXIf", exif)
    return data[:33] + body + data[33:]


FILES = {
    "JPEG": lambda: in_jpeg(costly_exif()),
    "PNG": lambda: in_png(costly_exif()),
    "PNG with the data as text": lambda: in_png(costly_exif(), as_text=True),
    "WebP": lambda: saved("WEBP", exif=costly_exif()),
}


@pytest.mark.parametrize("kind", FILES)
def test_exif_entries_that_share_bytes_are_not_read(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "photo"
    path.write_bytes(FILES[kind]())
    assert load_image_file(path).image.size == (40, 30)  # not turned
    assert "its orientation is unknown" in caplog.text


@pytest.mark.parametrize("entries", [[_ORIENTATION], [_ORIENTATION, *shared_entries(1)]])
def test_exif_entries_with_bytes_of_their_own_are_read(
    entries: list[tuple[int, int, int, int]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "photo"
    for data in (in_jpeg, in_png):
        path.write_bytes(data(directory(entries, bytes(_SHARED))))
        assert load_image_file(path).image.size == (30, 40)
    assert caplog.text == ""


@pytest.mark.parametrize("is_big", [False, True])
def test_tiff_tags_that_share_bytes_are_refused(is_big: bool, tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    if is_big:
        entries = b"".join(struct.pack("<HHQQ", number, 7, _SHARED, 16) for number in range(1000, 1200))
        end = struct.pack("<Q", 200) + entries + bytes(8)
        path.write_bytes(b"II+\0\x08\0\0\0" + struct.pack("<Q", 16 + _SHARED) + bytes(_SHARED) + end)
    else:
        base = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
        base += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 8), (279, 4, 1, 64)]
        path.write_bytes(directory([*base, *shared_entries(200)], bytes(_SHARED)))
    with pytest.raises(ImageError, match=r"metadata have 4,000,\d+ bytes, more than the file"):
        load_image_file(path)


def test_a_jpeg_with_many_scans_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    data = saved("JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    path.write_bytes(data[:-2] + last * 80 + data[-2:])
    assert load_image_file(path).image.size == (40, 30)
    path.write_bytes(data[:-2] + last * 2000 + data[-2:])
    with pytest.raises(ImageError, match=r"has 2,0\d\d scans, more than the 100 allowed"):
        load_image_file(path)


def test_comments_in_a_gif_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "animation.gif"
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:], comment="made by code")
    stored = path.read_bytes()
    comments = b"\x21\xfe" + b"\xffc" * 1 + b"c" * 254 + b"\0"
    path.write_bytes(stored[:-1].replace(b"\x21\xfe", comments * 50 + b"\x21\xfe") + b";")
    with path.open("rb") as file, Reservation() as memory:
        read = decode_image(path, file, memory=memory)
    assert "comment" not in read.pixels.info
    assert read.pixels.convert("RGB").getpixel((20, 15)) == (255, 0, 0)
    assert any("several frames" in note for note in read.notes)
