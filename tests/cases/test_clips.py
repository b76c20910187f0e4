"""Clips as people bring them: known by their content, of any length, or refused with what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.factories.odd_media import OTHER_FILES, draw_photo, encode, write_clip, write_sound

from mien.data import open_dataset
from mien.errors import ClipError, ImageError
from mien.media.clips import probe_clip, read_frames, verify_clip
from mien.media.formats import is_clip
from mien.media.images import open_image
from mien.media.views import load_frames
from mien.recipe import DataOptions
from mien.types import Subject

# Names as cameras and phones give them, with the container inside.
NAMES = {
    "camera.MTS": "mpegts",
    "camera.mts": "mpegts",
    "disc.m2ts": "mpegts",
    "stream.ts": "mpegts",
    "phone.m4v": "mp4",
    "phone.MP4": "mp4",
    "phone.3gp": "3gp",
    "phone.MOV": "mov",
    "desktop.mkv": "matroska",
    "old.AVI": "avi",
    "no ending": "mp4",
    "clip.dat": "mpegts",
    "wrong.mkv": "mp4",
}


def subject(folder: Path, **row: object) -> Subject:
    """The subject of a manifest with this row."""
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({"id": "a", "labels": ["Peace"], "split": "test"} | row) + "\n")
    dataset = open_dataset(DataOptions(name="manifest", root=path), cache=folder / "cache")
    assert not list(dataset.problems())
    (sample,) = dataset.samples("test")
    return sample.subject


@pytest.mark.parametrize("name", NAMES)
def test_camera_clip(tmp_path: Path, name: str) -> None:
    write_clip(tmp_path / name, NAMES[name])
    clip = subject(tmp_path, image=name)
    assert all(image.frame is not None for image in clip.images)
    assert {loaded.image.size for loaded in load_frames(clip)} == {(64, 48)}
    assert probe_clip(tmp_path / name).num_frames == verify_clip(tmp_path / name).num_frames == 6


def test_a_clip_named_as_an_image(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.jpg", "mp4")
    assert len(list(load_frames(subject(tmp_path, clip="clip.jpg")))) > 1
    # Images are not opened while a manifest is read, so the content is seen later.
    with pytest.raises(
        ImageError, match=r"clip\.jpg cannot be read as an image: it is an MP4 clip"
    ) as caught:
        list(load_frames(subject(tmp_path, image="clip.jpg")))
    assert "ffmpeg" in caught.value.hint


def test_an_image_named_as_a_clip(tmp_path: Path) -> None:
    (tmp_path / "photo.mp4").write_bytes(encode(draw_photo(), "JPEG"))
    (image,) = subject(tmp_path, image="photo.mp4").images
    assert image.frame is None
    assert open_image(tmp_path / "photo.mp4").size == (320, 240)
    with pytest.raises(ClipError, match=r"photo\.mp4 cannot be read as a clip: it is a JPEG image"):
        probe_clip(tmp_path / "photo.mp4")


@pytest.mark.parametrize("kind", ["web_page", "pdf", "text", "sound", "zip"])
def test_another_file_named_as_a_clip(tmp_path: Path, kind: str) -> None:
    content, name, _ = OTHER_FILES[kind]
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(ClipError, match=f"clip.mp4 cannot be read as a clip: it is {name}") as caught:
        read_frames(tmp_path / "clip.mp4", [0])
    assert caught.value.hint


@pytest.mark.parametrize("container", ["mp4", "mpegts", "matroska", "avi", "mov"])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_one_frame(tmp_path: Path, container: str, codec: str) -> None:
    path = write_clip(tmp_path / "clip", container, codec=codec, count=1)
    assert probe_clip(path).num_frames == verify_clip(path).num_frames == 1
    (frame,) = read_frames(path, [0])
    assert frame.size == (64, 48)
    assert abs(frame.getpixel((9, 9))[0] - 40) < 8  # type: ignore[index]
    with pytest.raises(ClipError, match="has 1 frame"):
        read_frames(path, [1])
    shown = subject(tmp_path, image="clip")
    assert {image.frame for image in shown.images} == {0}
    assert {loaded.image.tobytes() for loaded in load_frames(shown)} == {frame.tobytes()}


def test_no_video_stream(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "clip.mp4")
    for read in (probe_clip, verify_clip, lambda path: read_frames(path, [0])):
        with pytest.raises(ClipError, match=r"clip\.mp4 has no video stream") as caught:
            read(path)
        assert caught.value.hint


def test_frames_that_take_too_much_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "clip.mp4", "mp4")
    monkeypatch.setattr("mien.media.clips.MAX_BYTES", 5 * 64 * 48 * 4)
    assert len(read_frames(path, [0, 1, 1, 1, 1, 1])) == 6
    with pytest.raises(ClipError, match=r"6 frames of 64 x 48 pixels of .* more than the"):
        read_frames(path, range(6))


def test_what_is_a_clip(tmp_path: Path) -> None:
    assert is_clip(tmp_path / "missing.MTS")
    assert not is_clip(tmp_path / "missing.jpg")
    assert not is_clip(tmp_path / "missing")
    assert not is_clip(Path("a\0b"))
    assert not is_clip(tmp_path)
