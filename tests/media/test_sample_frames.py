"""Frames that are taken of a clip one after another: by rate or count, with errors in their places."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.factories.numbered_clips import COUNT, encode, number_of

from mien.errors import ClipError
from mien.media.clips import SampledFrame, sample_frames


def numbers(frames: list[SampledFrame]) -> list[int | None]:
    return [frame.number for frame in frames]


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("avi", "mpeg4"), ("webm", "libvpx-vp9")])
def test_frames_have_their_numbers_and_times(tmp_path: Path, suffix: str, codec: str) -> None:
    clip = encode(tmp_path / f"clip.{suffix}", codec=codec)
    frames = list(sample_frames(clip, every=3))
    assert numbers(frames) == list(range(0, COUNT, 3))
    for frame in frames:
        assert isinstance(frame.image, Image.Image)
        assert number_of(frame.image) == frame.number
        assert frame.time == pytest.approx((frame.number or 0) / 25, abs=0.002)


@pytest.mark.parametrize(
    ("fps", "expected"), [(5, range(0, 40, 5)), (25, range(40)), (100, range(40)), (0.5, [0])]
)
def test_a_rate_takes_the_first_frame_of_each_interval(tmp_path: Path, fps: float, expected: range) -> None:
    assert numbers(list(sample_frames(encode(tmp_path / "clip.mp4"), fps=fps))) == list(expected)


def test_a_variable_rate_is_sampled_by_time(tmp_path: Path) -> None:
    times = [100, 101, 102, 112, 113, 150, 175, 176]  # in 1/25 s; the first frame is second 0
    frames = list(sample_frames(encode(tmp_path / "clip.mkv", times=times), fps=2.5))
    assert numbers(frames) == [0, 3, 5, 6]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.48, 2, 3], abs=0.002)


def test_frames_do_not_wait_for_the_garbage_collector(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mp4", rotation=90)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        count = sum(1 for _ in sample_frames(clip))
        gc.collect()
        left = sum(type(found).__name__ == "VideoFrame" for found in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert count == COUNT
    assert left <= 1


def test_a_rotated_clip_is_upright(tmp_path: Path) -> None:
    (first, *_) = sample_frames(encode(tmp_path / "clip.mp4", rotation=90), every=9)
    assert isinstance(first.image, Image.Image)
    assert first.image.size == (64, 128)


def test_a_damaged_frame_is_an_error_in_its_place(tmp_path: Path) -> None:
    # Every frame stands alone, so that damage stays where it is.
    clip = encode(tmp_path / "clip.mp4", options={"g": "1"})
    with av.open(str(clip)) as file:
        packet = [packet for packet in file.demux(video=0) if packet.size][5]
        start, size = packet.pos, packet.size
    content = bytearray(clip.read_bytes())
    assert start is not None
    content[start : start + size] = bytes(size)
    clip.write_bytes(content)
    frames = list(sample_frames(clip, every=5))
    assert numbers(frames) == list(range(0, COUNT, 5))
    assert [isinstance(frame.image, ClipError) for frame in frames] == [n == 5 for n in range(0, COUNT, 5)]
    assert frames[1].time == pytest.approx(0.2, abs=0.002)


def test_a_missing_end_is_one_error_at_the_end(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mkv", options={"g": "5"})
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    *frames, last = sample_frames(clip)
    assert len(frames) > 5
    assert numbers(frames) == list(range(len(frames)))
    assert isinstance(last.image, ClipError)
    assert (last.number, last.time) == (None, None)
    assert "its end is missing" in str(last.image)


def test_one_frame_is_in_memory_at_a_time(tmp_path: Path) -> None:
    images: list[weakref.ref[Image.Image]] = []
    most = 0
    for frame in sample_frames(encode(tmp_path / "clip.mp4")):
        assert isinstance(frame.image, Image.Image)
        images.append(weakref.ref(frame.image))
        most = max(most, sum(image() is not None for image in images))
    assert (len(images), most <= 2) == (COUNT, True)


@pytest.mark.parametrize("damaged", [12, 17])  # a key frame, and one that depends on others
def test_damage_that_the_decoder_conceals_is_an_error_in_its_place(tmp_path: Path, damaged: int) -> None:
    clip = tmp_path / "clip.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    with av.open(str(clip), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"g": "12", "bf": "0", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(36):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, 3 * number, axis=1), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with av.open(str(clip)) as file:
        packet = [packet for packet in file.demux(video=0) if packet.size][damaged]
        start, size = packet.pos, packet.size
    assert start is not None
    content = bytearray(clip.read_bytes())
    half = start + size // 2
    content[half : half + size // 4] = np.random.default_rng(1).bytes(size // 4)
    clip.write_bytes(content)
    assert [frame.number for frame in sample_frames(clip) if isinstance(frame.image, ClipError)] == [damaged]
