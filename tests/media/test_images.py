"""Opening images; marking and fitting are tested in test_marking.py."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.errors import ImageError
from mien.media.images import image_digest, load_image_bytes, load_image_file, open_image

Paint = Callable[..., Path]


def pixels(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(image)


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 200, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def first_pixel(path: Path) -> tuple[int, ...]:
    return tuple(int(value) for value in pixels(open_image(path))[0, 0])


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "misnamed.txt.png"])
def test_the_three_formats_open_as_rgb(paint: Paint, name: str) -> None:
    image = open_image(paint(name, color=(250, 10, 20)))
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert np.abs(pixels(image).astype(int) - (250, 10, 20)).max() <= 6


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("P", 0, (0, 0, 0)),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I;16", 65535, (255, 255, 255)),
        ("LA", (0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
    ],
)
def test_every_pixel_mode_becomes_the_right_rgb(
    paint: Paint, mode: str, color: object, expected: tuple[int, int, int]
) -> None:
    assert first_pixel(paint("a.png", mode=mode, color=color)) == expected


def test_a_transparent_palette_shows_white(paint: Paint) -> None:
    assert first_pixel(paint("a.png", mode="P", color=0, transparency=0)) == (255, 255, 255)


def test_cmyk_is_not_inverted(paint: Paint) -> None:
    red, green, blue = first_pixel(paint("a.jpg", mode="CMYK", color=(0, 255, 255, 0)))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize(
    ("orientation", "size"), [(1, (64, 48)), (3, (64, 48)), (6, (48, 64)), (8, (48, 64))]
)
def test_a_photo_is_turned_upright(tmp_path: Path, orientation: int, size: tuple[int, int]) -> None:
    image = Image.new("RGB", (64, 48))
    image.paste("white", (0, 0, 32, 24))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif)
    upright = open_image(tmp_path / "a.jpg")
    white_corner = {1: (0, 0), 3: (63, 47), 6: (47, 0), 8: (0, 63)}[orientation]
    assert upright.size == size
    assert upright.getpixel(white_corner) == (255, 255, 255)
    assert upright.getexif().get(0x0112, 1) == 1


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("blue", "red")]
    for name in ("a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert first_pixel(tmp_path / name) == (0, 0, 255)


def test_too_many_pixels_are_refused_before_decoding(paint: Paint, tmp_path: Path) -> None:
    path = paint("a.png", size=(64, 48))
    assert open_image(path, max_pixels=64 * 48).size == (64, 48)
    with pytest.raises(ImageError, match="64 x 48 pixels"):
        open_image(path, max_pixels=64 * 48 - 1)
    # Only a header: a decoder would complain about missing pixels instead.
    for side in (9_500, 20_000, 2**31 - 1):
        bomb = tmp_path / f"{side}.png"
        bomb.write_bytes(png(side, side))
        with pytest.raises(ImageError) as caught:
            open_image(bomb)
        assert "pixels" in str(caught.value)
        assert "downscale" in caught.value.hint


def test_special_files_are_refused_without_blocking(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    (tmp_path / "empty.png").touch()
    cases = {
        pipe: "not a regular file",
        tmp_path: "is a folder",
        tmp_path / "empty.png": "0 bytes",
        tmp_path / "absent.png": "no image at",
        Path("nul\0.png"): "cannot be read",
    }
    for path, message in cases.items():
        for read in (open_image, image_digest):
            with pytest.raises(ImageError, match=message) as caught:
                read(path)
            assert caught.value.hint


@pytest.mark.parametrize("save_as", ["BMP", "TIFF", "GIF"])
def test_a_format_is_known_by_content_under_any_name(paint: Paint, save_as: str) -> None:
    assert open_image(paint("a.jpg", color="white", format=save_as)).getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize(("save_as", "name"), [("PPM", "a Netpbm image"), ("ICO", "an icon")])
def test_other_formats_are_named_even_with_a_valid_suffix(paint: Paint, save_as: str, name: str) -> None:
    with pytest.raises(ImageError, match=f"a.png cannot be read as an image: it is {name}") as caught:
        open_image(paint("a.png", format=save_as))
    assert "convert" in caught.value.hint


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_truncated_file_is_an_image_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    noise(40, 30).save(path)
    whole = path.read_bytes()
    for end in (1, 10, 20, 40, len(whole) // 2, int(len(whole) * 0.9)):
        path.write_bytes(whole[:end])
        with pytest.raises(ImageError, match=r"cannot be read as an image|cut short"):
            open_image(path)


@given(st.data())
def test_broken_bytes_give_an_image_or_an_image_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from(["jpg", "png", "webp"]))
    path = tmp_path_factory.getbasetemp() / f"broken.{suffix}"
    noise(24, 16).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert open_image(path).mode == "RGB"
    except ImageError as error:
        assert str(path) in str(error)  # noqa: PT017  either outcome is right


def test_the_digest_depends_on_the_bytes_not_the_name(paint: Paint) -> None:
    one, same, other = paint("a.png"), paint("b.png"), paint("c.png", color="black")
    assert image_digest(one) == image_digest(same) != image_digest(other)


# --- Bytes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_bytes_are_read_as_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(40, 30).save(path, kind, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}))
    found, wanted = load_image_bytes("upload", path.read_bytes()), load_image_file(path)
    assert found.image.tobytes() == wanted.image.tobytes()
    assert (found.full_size, found.scale, found.is_turned) == (wanted.full_size, 1, wanted.is_turned)


def test_errors_of_bytes_have_the_given_name(tmp_path: Path) -> None:
    for content in (b"", b"text", b"\xff\xd8\xff\xe0"):
        with pytest.raises(ImageError, match=r"^upload "):
            load_image_bytes("upload", content)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_bytes_are_never_decoded_at_a_smaller_size(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.jpg"
    Image.new(mode, (300, 200)).save(path)
    assert load_image_file(path, max_pixels=50_000).scale > 1 or mode == "CMYK"
    with pytest.raises(ImageError, match="300 x 200 pixels, more than the 50,000 allowed"):
        load_image_bytes("upload", path.read_bytes(), max_pixels=50_000)


def test_notes_say_what_the_user_should_know(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    noise(40, 30).save(path, save_all=True, append_images=[noise(40, 30).rotate(90)])
    assert load_image_bytes("upload", path.read_bytes()).notes == (
        "it has several frames or pages, of which the first is read",
    )
