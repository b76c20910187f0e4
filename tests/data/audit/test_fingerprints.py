"""Inspecting an image: its state, size and mode, and a fingerprint that survives re-encoding."""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from mien.data.audit import image_info
from mien.data.audit.fingerprints import compute_fingerprint
from mien.data.audit.image_info import ImageInfo, ImageProblem, inspect_image

Paint = Callable[..., Path]


def _scene(size: tuple[int, int] = (320, 240), seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _encode(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    _scene().save(buffer, kind, **options)
    return buffer.getvalue()


def _info(path: Path) -> ImageInfo:
    found = inspect_image(path)
    assert isinstance(found, ImageInfo), found
    return found


def _problem(path: Path) -> ImageProblem:
    found = inspect_image(path)
    assert isinstance(found, ImageProblem), found
    return found


def test_a_valid_image_has_size_mode_and_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    _scene().save(path)
    found = _info(path)
    assert (found.size, found.stored_size, found.mode) == ((320, 240), (320, 240), "RGB")
    assert found.fingerprint.digest == hashlib.sha256(path.read_bytes()).digest()
    assert found.fingerprint.thumbnail is not None
    assert len(found.fingerprint.thumbnail) == 256


def test_the_hash_equals_that_of_imagehash() -> None:
    for seed in range(200):
        square = _scene((32, 32), seed).convert("L")
        found = compute_fingerprint(square, b"")
        assert found.hash == int(str(imagehash.phash(square)), 16)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})],
    ids=["baseline", "progressive", "png", "webp"],
)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.98], ids=str)
def test_a_truncated_file_is_detected_at_a_reduced_scale(
    tmp_path: Path, kind: str, options: dict[str, bool], share: float
) -> None:
    whole = _encode(kind, **options)
    path = tmp_path / "a"
    path.write_bytes(whole)
    assert isinstance(inspect_image(path), ImageInfo)
    path.write_bytes(whole[: int(share * len(whole))])
    assert _problem(path).kind == "truncated"


def test_files_that_are_not_images(tmp_path: Path) -> None:
    kinds = {}
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("text.png", "empty.png", "folder.png", "pipe.png", "absent.png", "nul\0.png"):
        kinds[name] = _problem(tmp_path / name).kind
    assert kinds == {
        "text.png": "unreadable",
        "empty.png": "empty",
        "folder.png": "unreadable",
        "pipe.png": "unreadable",
        "absent.png": "missing",
        "nul\0.png": "missing",
    }


def test_a_damaged_stream_is_unreadable(tmp_path: Path) -> None:
    data = bytearray(_encode("PNG"))
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    (tmp_path / "a.png").write_bytes(data)
    assert _problem(tmp_path / "a.png").kind == "unreadable"


def test_an_image_that_is_too_large_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_encode("PNG"))
    monkeypatch.setattr(image_info, "MAX_PIXELS", 320 * 240 - 1)
    assert _problem(path).kind == "too_large"


@pytest.mark.parametrize(
    ("mode", "suffix", "expected"),
    [
        *(("L", ".jpg", "L"), ("L", ".png", "L"), ("RGB", ".jpg", "RGB"), ("RGB", ".webp", "RGB")),
        *(("CMYK", ".jpg", "CMYK"), ("P", ".png", "P"), ("RGBA", ".png", "RGBA"), ("LA", ".png", "LA")),
        *(("I;16", ".png", "I;16"), ("1", ".png", "1")),
    ],
    ids=lambda value: value,
)
def test_the_mode_is_that_of_the_file(paint: Paint, mode: str, suffix: str, expected: str) -> None:
    color = {"RGB": "white", "RGBA": (9, 9, 9, 9), "LA": (9, 9), "CMYK": (1, 2, 3, 4)}.get(mode, 1)
    assert _info(paint(f"a{suffix}", mode=mode, color=color)).mode == expected


def test_a_transparent_color_is_part_of_the_mode(paint: Paint) -> None:
    assert _info(paint("a.png", transparency=(255, 255, 255))).mode == "RGB with transparency"


@pytest.mark.parametrize("orientation", range(1, 9), ids=str)
def test_a_rotated_image_is_fingerprinted_upright(tmp_path: Path, orientation: int) -> None:
    upright, rotated = tmp_path / "a.png", tmp_path / "b.jpg"
    _scene().save(rotated, exif=_exif(orientation), quality=95)
    with Image.open(rotated) as image:
        expected = ImageOps.exif_transpose(image)
        expected.save(upright, exif=b"")
    first, second = _info(upright), _info(rotated)
    assert second.size == expected.size
    assert second.stored_size == (320, 240)
    assert first.fingerprint.hash is not None
    assert second.fingerprint.hash is not None
    assert (first.fingerprint.hash ^ second.fingerprint.hash).bit_count() <= 4


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_a_plain_surface_has_no_features(paint: Paint) -> None:
    found = _info(paint("a.png", color=(10, 200, 90))).fingerprint
    assert (found.hash, found.thumbnail) == (None, None)


@pytest.mark.parametrize("size", [(250, 187), (203, 149), (401, 97)], ids=str)
def test_a_jpeg_at_a_reduced_scale_keeps_its_edges(tmp_path: Path, size: tuple[int, int]) -> None:
    thumbs = []
    for name in ("a.jpg", "a.png"):
        _scene(size).save(tmp_path / name, quality=95)
        thumb = _info(tmp_path / name).fingerprint.thumbnail
        assert thumb is not None
        thumbs.append(np.frombuffer(thumb, np.uint8).astype(int))
    assert np.abs(thumbs[0] - thumbs[1]).max() <= 6


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (5000, 2), (33, 95)], ids=str)
def test_extreme_aspect_ratios_are_supported(tmp_path: Path, size: tuple[int, int]) -> None:
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"a{suffix}"
        _scene(size).save(path)
        assert _info(path).size == size


_WHOLE = {kind: _encode(kind) for kind in ("JPEG", "PNG", "WEBP")}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(_WHOLE)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    length=st.integers(1, 4000),
)
def test_no_bytes_raise(tmp_path: Path, kind: str, changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(_WHOLE[kind])
    for place, value in changes:
        data[place] = value
    path = tmp_path / "hostile"
    path.write_bytes(data[-length:] if length % 2 else data[:length])
    assert isinstance(inspect_image(path), ImageInfo | ImageProblem)
    path.write_bytes(data)
    assert isinstance(inspect_image(path), ImageInfo | ImageProblem)
