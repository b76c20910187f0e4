"""Damaged and hostile clips: an error that names the file, and never a wrong frame."""

import os
import random
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.factories.numbered_clips import COUNT, HEIGHT, WIDTH, encode, number_of

from mien.errors import ClipError, ImageError
from mien.media.clips import probe_clip, read_frames, verify_clip


def test_a_clip_without_its_table_is_an_error(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (probe_clip, verify_clip, lambda path: read_frames(path, [0])):
        with pytest.raises(ClipError, match="cannot be read as a clip"):
            read(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_cut_clip_yields_its_frames_and_is_reported(tmp_path: Path, name: str) -> None:
    front = {"movflags": "faststart"} if name == "a.mp4" else {}
    path = encode(tmp_path / name, options={"bf": "3", "g": "12"}, container=front)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(ClipError, match="cut short"):
        verify_clip(path)
    left = probe_clip(path).num_frames
    assert 0 < left < COUNT
    assert [number_of(image) for image in read_frames(path, range(left))] == list(range(left))
    with pytest.raises(ClipError, match=f"has {left} frames that can be read .its end is missing."):
        read_frames(path, [COUNT - 1])


def test_a_damaged_clip_is_reported(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", options={"bf": "3", "g": "12"}, container={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[start : start + 400] = bytes(random.Random(1).randrange(256) for _ in range(400))
    path.write_bytes(data)
    with pytest.raises(ClipError):
        verify_clip(path)


def _audio(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())


HOSTILE: dict[str, Any] = {
    "text": lambda path: path.write_text("not a clip\n" * 200),
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(random.Random(0).randbytes(4096)),
    "playlist": lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n"),
    "list of files": lambda path: path.write_text("ffconcat version 1.0\nfile /etc/hostname\n"),
    "image": lambda path: Image.new("RGB", (8, 8)).save(path, format="PNG"),
    "sound only": _audio,
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "nothing": lambda path: None,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_is_not_a_clip_is_an_error_with_its_path(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.mp4"
    HOSTILE[kind](path)
    for read in (probe_clip, verify_clip, lambda path: read_frames(path, [0])):
        with pytest.raises(ClipError, match=r"a\.mp4") as caught:
            read(path)
        assert caught.value.hint


def test_a_frame_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mp4")
    monkeypatch.setattr("mien.media.clips.MAX_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(ClipError, match=f"{WIDTH} x {HEIGHT} pixels"):
        probe_clip(path)


def test_a_clip_of_endless_packets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mp4")
    monkeypatch.setattr("mien.media.clips.MAX_PACKETS", 10)
    with pytest.raises(ClipError, match="more than 10 packets"):
        probe_clip(path)


def test_a_name_is_only_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("concat:a|b.mp4", "ünï çode 100%.mp4", "-i.mp4"):
        encode(tmp_path / "plain.mp4").rename(tmp_path / name)
        monkeypatch.chdir(tmp_path)
        assert probe_clip(Path(name)).num_frames == COUNT


@given(data=st.binary(max_size=400))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.mp4"
    path.write_bytes(data)
    with pytest.raises(ImageError):
        verify_clip(path)


def test_a_partial_frame_is_not_returned(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", options={"bf": "0", "g": "12"})
    data = path.read_bytes()
    begin, end = data.index(b"movi"), data.rindex(b"idx1")
    path.write_bytes(data[: begin + (end - begin) * 6 // 10])
    with pytest.raises(ClipError, match="cut short"):
        verify_clip(path)
    assert number_of(read_frames(path, [19])[0]) == 19
    with pytest.raises(ClipError, match="a frame is damaged"):
        read_frames(path, range(COUNT))
