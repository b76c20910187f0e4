"""Images as people bring them: read, or refused with what they are and what to do."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tests.factories import odd_media
from tests.factories.odd_media import BAD_EXIF, OTHER_FILES, draw_photo, encode, png_chunk

from mien.errors import ImageError
from mien.features.image_reader import load_pixels
from mien.media import decode
from mien.media.images import Marking, Square, load_image_file, open_image
from mien.media.views import prepare_image
from mien.types import Box, Subject

PHOTO = draw_photo()
JPEG = encode(PHOTO, "JPEG", quality=92)
PROGRESSIVE = encode(PHOTO, "JPEG", quality=92, progressive=True)
PNG = encode(PHOTO, "PNG")
WEBP = encode(PHOTO, "WEBP", lossless=True)
TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.fixture(autouse=True)
def every_warning() -> None:
    """A warning about a path is logged once per process, and tests share paths."""
    decode._warn.cache_clear()


def save(folder: Path, content: bytes, name: str = "photo") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def equal(image: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(image), np.asarray(other))


# --- Metadata that no one needs ----------------------------------------------------------------------


def text_chunk() -> bytes:
    info = PngInfo()
    info.add_text("parameters", "x" * (2 << 20), zip=True)
    return encode(PHOTO, "PNG", pnginfo=info)


def many_segments(marker: int, content: bytes, count: int) -> bytes:
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    return JPEG[:2] + segment * count + JPEG[2:]


PROFILE = b"a\0\0" + zlib.compress(bytes(3 << 20))
METADATA: dict[str, bytes] = {
    "big_metadata": text_chunk(),
    "text of 8 MB": odd_media.with_png_chunks(PNG, png_chunk(b"tEXt", b"a\0" + b"x" * (8 << 20))),
    "text with a wrong checksum": odd_media.with_png_chunks(PNG, png_chunk(b"tEXt", b"a\0b", checksum=1)),
    "text that is not compressed": odd_media.with_png_chunks(PNG, png_chunk(b"zTXt", b"a\0\0no zlib")),
    "a profile that is too large": odd_media.with_png_chunks(PNG, png_chunk(b"iCCP", PROFILE)),
    "a profile that is broken": odd_media.with_png_chunks(PNG, png_chunk(b"iCCP", b"a\0\0no zlib")),
    "a time that is too short": odd_media.with_png_chunks(PNG, png_chunk(b"pHYs", b"\0")),
    "a chunk in front that is unknown": odd_media.with_png_chunks(PNG, png_chunk(b"abCd", b"?")),
    "a profile in JPEG": many_segments(0xE2, b"ICC_PROFILE\0\x07\x01garbage", 3),
    "8 MB of comments": many_segments(0xFE, b"x" * 65_000, 130),
    "8 MB of profiles": many_segments(0xE2, b"ICC_PROFILE\0\x01\x01" + b"x" * 65_000, 130),
    "a broken preview": many_segments(0xE0, b"JFXX\0\x10garbage", 1),
    "broken data of Photoshop": many_segments(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\xff\xff\xff\xff", 1),
    "a broken index of images": many_segments(0xE2, b"MPF\0II*\0\xff\xff\xff\xff", 1),
    "a profile in WebP": odd_media.with_webp_chunk(
        encode(PHOTO, "WEBP", lossless=True, icc_profile=b"garbage"), b"ABCD", b"x" * (5 << 20)
    ),
}


@pytest.mark.parametrize("kind", METADATA)
def test_big_metadata(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    image = open_image(save(tmp_path, METADATA[kind]))
    plain = JPEG if METADATA[kind].startswith(b"\xff") else PNG
    assert equal(image, open_image(save(tmp_path, plain, "plain")))
    assert not caplog.records, "nothing about the pixels is unknown"


EXIF: dict[str, bytes] = {
    "png": encode(PHOTO, "PNG", exif=BAD_EXIF),
    "png with a wrong checksum": odd_media.with_png_chunks(
        PNG, png_chunk(b"eXIf", TURNED.tobytes(), checksum=1)
    ),
    "png in hexadecimal": odd_media.with_png_chunks(
        PNG, png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nnone")
    ),
    "jpeg": encode(PHOTO, "JPEG", quality=92, exif=b"Exif\0\0" + BAD_EXIF),
    "jpeg cut": encode(PHOTO, "JPEG", quality=92, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x0f\0\x02"),
    "jpeg of zeros": encode(PHOTO, "JPEG", quality=92, exif=b"Exif\0\0" + bytes(40)),
    "jpeg with orientation 77": encode(
        PHOTO,
        "JPEG",
        quality=92,
        exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x4d\0\0\0\0\0\0",
    ),
    "webp": encode(PHOTO, "WEBP", lossless=True, exif=b"Exif\0\0" + BAD_EXIF),
}


@pytest.mark.parametrize("kind", EXIF)
def test_bad_exif(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path, EXIF[kind])
    plain = JPEG if kind.startswith("jpeg") else PNG
    for _ in range(2):
        assert equal(open_image(path), open_image(save(tmp_path, plain, "plain")))
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: its metadata are damaged, so its orientation is unknown: it is not turned"
    ]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_orientation_next_to_broken_metadata_counts(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = encode(PHOTO, kind, exif=TURNED.tobytes())
    if kind == "PNG":
        content = odd_media.with_png_chunks(content, png_chunk(b"tEXt", b"a\0b", checksum=1))
    assert open_image(save(tmp_path, content)).size == (240, 320)
    assert not caplog.records


# --- Files without their end -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "whole",
    [JPEG, PROGRESSIVE, encode(PHOTO.convert("L"), "JPEG"), encode(PHOTO, "JPEG", subsampling=0)],
    ids=["color", "progressive", "gray", "full color"],
)
def test_no_end_marker(tmp_path: Path, whole: bytes, caplog: pytest.LogCaptureFixture) -> None:
    complete = open_image(save(tmp_path, whole, "whole"))
    path = save(tmp_path, whole[:-2])
    assert equal(open_image(path), complete)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: its end marker is missing, but its pixels are complete"
    ]


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_cut_in_half(tmp_path: Path, kind: str, kept: float) -> None:
    whole = JPEG if kind == "JPEG" else PNG
    path = save(tmp_path, whole[: int(len(whole) * kept)], "cut.jpg")
    with pytest.raises(ImageError, match=r"cut\.jpg is cut short: \d+% of its rows are missing") as caught:
        open_image(path)
    assert caught.value.hint == "copy or download the image again"
    missing = float(str(caught.value).split("short: ")[1].split("%")[0]) / 100
    assert missing == pytest.approx(1 - kept, abs=0.15)  # the rows have nearly the same number of bytes


def test_a_cut_progressive_or_other_image_is_an_error(tmp_path: Path) -> None:
    for name, whole in {
        "progressive": PROGRESSIVE,
        "webp": WEBP,
        "gif": encode(PHOTO, "GIF"),
        "bmp": encode(PHOTO, "BMP"),
        "tiff": encode(PHOTO, "TIFF"),
    }.items():
        with pytest.raises(ImageError, match=f"{name} is cut short"):
            open_image(save(tmp_path, whole[: len(whole) // 2], name))


# --- More pixels than the limit ----------------------------------------------------------------------


def test_200_megapixels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "large.jpg"
    Image.new("L", (16_320, 12_240), "gray").save(path, quality=30)
    loaded = load_image_file(path)
    assert (loaded.image.size, loaded.scale, loaded.full_size) == ((8160, 6120), 2, (16_320, 12_240))
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: it has 16320 x 12240 pixels and is read at 1/2 of its size"
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_in_pixels_of_the_file(
    tmp_path: Path, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crop of an image that is read at a quarter of its size shows the same place."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    smooth = Image.linear_gradient("L").resize((1000, 752)).convert("RGB")
    smooth.paste("red", (200, 200, 400, 360))
    smooth.save(path, exif=exif.tobytes(), quality=95)
    upright = open_image(path)
    red = np.argwhere(np.asarray(upright)[:, :, 1] < 40)
    red = red[np.asarray(upright)[red[:, 0], red[:, 1], 0] > 200]
    (top, left), (bottom, right) = red.min(axis=0).tolist(), (red.max(axis=0) + 1).tolist()
    subject = Subject.still("a", path, Box(left=left, top=top, right=right, bottom=bottom))
    monkeypatch.setattr("mien.media.images.MAX_PIXELS", 60_000)
    monkeypatch.setattr(
        "mien.media.images.load_image_file.__kwdefaults__",
        {"memory": None, "max_pixels": 60_000, "choose_scale": None},
    )
    small = prepare_image(subject, marking=Marking(style="crop"))
    assert max(small.size) < 80
    assert np.asarray(small)[small.height // 2, small.width // 2].tolist() == pytest.approx(
        [255, 0, 0], abs=12
    )
    share = (np.asarray(small)[:, :, 0] > 200) & (np.asarray(small)[:, :, 1] < 60)
    assert share.mean() == pytest.approx(
        1 / (1.2 * 1.25), abs=0.08
    )  # the margin is a tenth of the longer side
    pixels = load_pixels(subject, [Marking(style="crop")], Square(8, "squash"))
    assert pixels.shape == (1, 8, 8, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_too_many_pixels_of_other_formats(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, encode(PHOTO, kind))
    with pytest.raises(ImageError, match="320 x 240 pixels, more than the 70,000 allowed") as caught:
        open_image(path, max_pixels=70_000)
    assert caught.value.hint == "downscale the image first"


def test_no_size_is_called_an_attack(tmp_path: Path) -> None:
    for size in (15_000, 65_000, 2**31 - 1):
        path = save(tmp_path, odd_media.png_claiming(size, size, depth=8, color=2, count=0))
        with pytest.raises(ImageError, match=f"{size} x {size} pixels, more than the 80,000,000 allowed"):
            open_image(path)


# --- Formats under any name --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_iphone_web_page_and_other_files(tmp_path: Path, kind: str) -> None:
    content, name, hint = OTHER_FILES[kind]
    with pytest.raises(ImageError, match=r"photo\.jpg cannot be read as an image: ") as caught:
        open_image(save(tmp_path, content, "photo.jpg"))
    assert name in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_gif_bmp_and_tiff_are_read(tmp_path: Path, kind: str, mode: str) -> None:
    source = PHOTO.convert(mode)
    image = open_image(save(tmp_path, encode(source, kind), "photo.jpg"))
    if kind != "GIF":
        assert equal(image, source.convert("RGB"))
    assert (image.mode, image.size) == ("RGB", PHOTO.size)


def test_animation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("blue", "red")]
    for kind, options in {"GIF": {}, "TIFF": {}, "WEBP": {"lossless": True}, "PNG": {}}.items():
        content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert open_image(save(tmp_path, content, kind)).getpixel((4, 4)) == (0, 0, 255)
    assert len(caplog.records) == 4
    assert all("of which the first is read" in record.getMessage() for record in caplog.records)


def test_pixels_that_have_no_fixed_range_are_refused(tmp_path: Path) -> None:
    for mode in ("F", "I"):
        content = encode(Image.new(mode, (8, 8)), "TIFF")
        with pytest.raises(ImageError, match=f"TIFF images of mode {mode} are not read"):
            open_image(save(tmp_path, content))


def test_warnings_do_not_reach_the_terminal_with_control_characters(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_image(save(tmp_path, EXIF["png"], "a\x1b[2J.png"))
    assert caplog.records[0].levelno == logging.WARNING
    assert "\x1b" not in caplog.records[0].getMessage()


def test_a_palette_without_colors_is_an_error(tmp_path: Path) -> None:
    content = encode(PHOTO.convert("P"), "PNG")
    start = content.index(b"PLTE") - 4
    end = content.index(b"IDAT") - 4
    with pytest.raises(ImageError, match="its colors are missing"):
        open_image(save(tmp_path, content[:start] + content[end:]))
