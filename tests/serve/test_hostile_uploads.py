"""Hostile uploads: bombs, truncated files, polyglots, wrong types. Each gets the library's verdict."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx2
import psutil
import pytest
from PIL import Image
from tests.factories.hostile_images import BROKEN, JPEG, ODD, PNG
from tests.factories.odd_media import BAD_EXIF, OTHER_FILES, encode, png_chunk, png_claiming, with_png_chunks
from tests.factories.service import RunningService

from mien.errors import ImageError
from mien.media.images import load_image_file

_GIF = encode(Image.new("P", (8, 8)), "GIF")


def _tiff_in_a_circle() -> bytes:
    """Its directory is followed by itself."""
    return b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 256, 4, 1, 9) + struct.pack("<I", 8)


def _gif_claiming(width: int, height: int) -> bytes:
    return _GIF[:6] + struct.pack("<HH", width, height) + _GIF[10:]


def _bmp_claiming(width: int, height: int) -> bytes:
    bmp = encode(Image.new("RGB", (8, 8)), "BMP")
    return bmp[:18] + struct.pack("<ii", width, height) + bmp[26:]


def _webp_claiming() -> bytes:
    webp = encode(Image.new("RGB", (8, 8)), "WEBP")
    return webp[:26] + b"\xff\x3f\xff\x3f" + webp[30:]


def _jpeg_claiming(width: int, height: int) -> bytes:
    start = JPEG.index(b"\xff\xc0")
    return JPEG[: start + 5] + struct.pack(">HH", height, width) + JPEG[start + 9 :]


MADE: dict[str, bytes] = {
    "gray bomb": png_claiming(60_000, 60_000, depth=8, color=0, row=bytes(60_001), count=2000),
    "bilevel bomb": png_claiming(80_000, 80_000, depth=1, color=0, row=bytes(10_001), count=80_000),
    "alpha bomb": png_claiming(12_000, 12_000, depth=16, color=6, row=bytes(96_001), count=100),
    "text bomb": with_png_chunks(PNG, png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000_000), 9))),
    "profile bomb": with_png_chunks(PNG, png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(100_000_000), 9))),
    "gif bomb": _gif_claiming(65535, 65535),
    "bmp bomb": _bmp_claiming(2**31 - 1, 2**31 - 1),
    "bmp of negative size": _bmp_claiming(-5, -5),
    "webp bomb": _webp_claiming(),
    "jpeg bomb": _jpeg_claiming(65535, 65535),
    "jpeg of no size": _jpeg_claiming(0, 0),
    "tiff in a circle": _tiff_in_a_circle(),
    "bad exif": with_png_chunks(PNG, png_chunk(b"eXIf", BAD_EXIF)),
    "gif and script": b"GIF89a/*" + b"*/=1;alert(1)//" + bytes(20),
    "jpeg and page": JPEG[:2] + b"\xff\xfe\x00\x1e<script>alert(1)</script>" + JPEG[2:],
    "jpeg and archive": JPEG + b"PK\x05\x06" + bytes(18),
    "png and program": PNG + b"\x7fELF" + bytes(200),
    "png and php": with_png_chunks(PNG, png_chunk(b"tEXt", b"k\0<?php system('id');?>")),
    "bmp and script": b"BM" + b"/*" + bytes(50) + b"*/alert(1)",
    "pdf and jpeg": b"%PDF-1.7\n" + JPEG,
    "svg that fetches": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/"/></svg>',
    "xml with an entity": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>',
    "pickle": b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "path": b"/etc/passwd",
    "url": b"http://127.0.0.1/photo.jpg",
    "only a null": b"\0",
    **{f"jpeg cut at {share}": JPEG[: len(JPEG) * share // 8] for share in range(1, 8)},
    **{f"png cut at {share}": PNG[: len(PNG) * share // 8] for share in range(1, 8)},
    **{f"file: {name}": content for name, (content, _, _) in OTHER_FILES.items()},
}
FILES = {
    f"{kind}: {name}": make
    for kind, all_ in (("odd", ODD), ("broken", BROKEN))
    for name, make in all_.items()
}


def verdict(path: Path) -> str:
    """What the library says about a file, at the size of the file."""
    try:
        return "ok" if load_image_file(path).scale == 1 else "too large"
    except ImageError:
        return "failed"


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of each file; links, pipes and folders have none that could be sent."""
    folder = tmp_path_factory.mktemp("hostile")
    found = dict(MADE)
    for number, (name, make) in enumerate(FILES.items()):
        (place := folder / str(number)).mkdir()
        path = make(place)
        if path.is_file() and not path.is_symlink():
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def answers(service: RunningService, contents: dict[str, bytes]) -> dict[str, dict[str, object]]:
    found = {}
    process = psutil.Process()
    before = process.memory_info().rss
    with httpx2.Client(base_url=service.url, timeout=300, trust_env=False) as client:
        for name, content in contents.items():
            answer = client.post("/v1/predict", files={"images": ("x.jpg", content)})
            assert answer.status_code == 200, name
            (found[name],) = answer.json()["results"]
    assert process.memory_info().rss - before < 700e6
    return found


def test_each_gets_the_verdict_of_the_library(
    answers: dict[str, dict[str, object]], contents: dict[str, bytes], tmp_path: Path
) -> None:
    assert len(answers) >= 110
    path = tmp_path / "images[0]"
    wrong = {}
    for name, content in contents.items():
        path.write_bytes(content)
        wanted = verdict(path)
        if answers[name]["status"] != ("ok" if wanted == "ok" else "failed"):
            wrong[name] = (wanted, answers[name]["error"])
    assert wrong == {}
    assert sum(answer["status"] == "failed" for answer in answers.values()) >= 60


def test_errors_say_what_it_is_and_no_more(answers: dict[str, dict[str, object]]) -> None:
    for name, answer in answers.items():
        error = answer["error"]
        if error is not None:
            assert isinstance(error, dict)
            assert error["code"] == "image_error", name
            assert error["message"].startswith("images[0] "), name
            assert error["hint"], name
            assert "Traceback" not in error["message"]


def test_a_good_image_among_them_is_read(
    service: RunningService, contents: dict[str, bytes], noise: Callable[..., bytes]
) -> None:
    names = ["gray bomb", "url", "jpeg cut at 4", "pickle"]
    files = [("images", contents[name]) for name in names]
    files.insert(2, ("images", noise()))
    answer = httpx2.post(f"{service.url}/v1/predict", files=files, trust_env=False, timeout=120).json()
    assert [item["status"] for item in answer["results"]] == ["failed", "failed", "ok", "failed", "failed"]


def test_a_large_image_is_refused_and_not_read_at_a_smaller_size(service: RunningService) -> None:
    """Boxes are in pixels of the image, so a smaller one would be another."""
    buffer = io.BytesIO()
    Image.new("L", (10_000, 8_001)).save(buffer, "JPEG")
    answer = httpx2.post(f"{service.url}/v1/predict", files={"images": buffer.getvalue()}, trust_env=False)
    error = answer.json()["results"][0]["error"]
    assert "10000 x 8001" in error["message"]
