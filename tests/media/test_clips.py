"""Clips: exact frames by number, for all ways in which files order, time and store them."""

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.factories.numbered_clips import COUNT, HEIGHT, WIDTH, encode, number_of, numbered_frame

from mien.errors import ClipError
from mien.media.clips import probe_clip, read_frames, spread_frames, verify_clip

VARYING = [0, 1, 2, 7, 8, 20, 21, 22, 23, 60, *range(61, 61 + COUNT - 10)]
# Ways in which a file may order, time and store its frames.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "no B-frames": ("a.mp4", {"options": {"bf": "0", "g": "8"}}),
    "B-frames": ("a.mp4", {"options": {"bf": "4", "g": "12"}}),
    "open GOPs": ("a.mp4", {"options": {"bf": "4", "g": "10", "x264-params": "open-gop=1:b-pyramid=strict"}}),
    "open GOPs, MKV": ("a.mkv", {"options": {"bf": "4", "g": "10", "x264-params": "open-gop=1"}}),
    "open GOPs, TS": ("a.ts", {"options": {"bf": "4", "g": "10", "x264-params": "open-gop=1"}}),
    "one key frame": ("a.mp4", {"options": {"bf": "3", "g": "250"}}),
    "key frames only": ("a.mp4", {"options": {"g": "1"}}),
    "intra refresh": ("a.mp4", {"options": {"bf": "0", "g": "12", "x264-params": "intra-refresh=1"}}),
    "varying rate": ("a.mp4", {"times": VARYING, "options": {"bf": "3", "g": "12"}}),
    "varying rate, MKV": ("a.mkv", {"times": VARYING, "options": {"bf": "3", "g": "12"}}),
    "late start": ("a.mp4", {"times": range(50, 50 + COUNT), "options": {"g": "12"}}),
    "negative times": (
        "a.mov",
        {"container": {"movflags": "+negative_cts_offsets"}, "options": {"bf": "3", "g": "12"}},
    ),
    "fragments": (
        "a.mp4",
        {"container": {"movflags": "frag_keyframe+empty_moov"}, "options": {"bf": "3", "g": "9"}},
    ),
    "no times": ("a.avi", {"options": {"bf": "3", "g": "12"}}),
    "MPEG-4": ("a.mp4", {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}}),
    "MPEG-4, AVI": ("a.avi", {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}}),
    "VP8": (
        "a.webm",
        {"codec": "libvpx", "options": {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "10"}},
    ),
}


@pytest.fixture(params=KINDS, scope="module")
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, how = KINDS[request.param]
    return encode(tmp_path_factory.mktemp("clip") / name, **how)


# --- Exactness ---------------------------------------------------------------------------------------


def test_every_single_frame_is_the_right_one(clip: Path) -> None:
    assert [number_of(read_frames(clip, [number])[0]) for number in range(COUNT)] == list(range(COUNT))


def test_frames_are_returned_in_the_requested_order(clip: Path) -> None:
    rng = random.Random(0)
    for _ in range(12):
        numbers = [rng.randrange(COUNT) for _ in range(rng.randint(1, 10))]
        assert [number_of(image) for image in read_frames(clip, numbers)] == numbers


def test_length_and_size_are_right(clip: Path) -> None:
    info = probe_clip(clip)
    assert (info.num_frames, info.width, info.height) == (COUNT, WIDTH, HEIGHT)
    assert info.rate > 0
    assert verify_clip(clip) == info


def test_a_number_outside_the_clip_is_an_error_with_its_length(clip: Path) -> None:
    for number in (-1, COUNT, COUNT + 100):
        with pytest.raises(ClipError, match=rf"has {COUNT} frames, .* no frame {number}$"):
            read_frames(clip, [0, number])


def test_images_are_rgb_and_equal_those_of_a_plain_decoder(clip: Path) -> None:
    with av.open(str(clip)) as file:
        frames: Any = file.decode(video=0)
        plain = [frame.to_image() for frame in frames]
    numbers = [3, 17, 18, 31]
    for image, number in zip(read_frames(clip, numbers), numbers, strict=True):
        assert image.mode == "RGB"
        assert image.tobytes() == plain[number].tobytes()


@pytest.mark.parametrize("kind", ["B-frames", "open GOPs", "open GOPs, MKV", "varying rate", "fragments"])
def test_decoding_begins_at_a_key_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    name, how = KINDS[kind]
    path = encode(tmp_path / name, **how)

    def fail(_: object) -> None:
        raise AssertionError("decodes from the start")

    monkeypatch.setattr("mien.media.clips._Clip.decode", fail)
    assert [number_of(image) for image in read_frames(path, [0, 11, 12, 13, 30, COUNT - 1])][1:4] == [
        11,
        12,
        13,
    ]


def test_no_numbers_give_no_images(tmp_path: Path) -> None:
    assert read_frames(encode(tmp_path / "a.mp4"), []) == []


def test_frames_that_an_edit_list_hides_are_not_counted(tmp_path: Path) -> None:
    # Cut without coding again: the packets from the key frame at 10 on, shown from frame 13 on.
    whole, cut = encode(tmp_path / "whole.mp4", options={"bf": "0", "g": "10"}), tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream: Any = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        step = stream.duration // COUNT
        packets: Any = source.demux(stream)
        for packet in packets:
            if packet.pts is not None and packet.pts >= 10 * step:
                packet.pts, packet.dts = packet.pts - 13 * step, packet.dts - 13 * step
                packet.stream = copy
                target.mux(packet)
    shown = range(13, COUNT)
    assert probe_clip(cut).num_frames == len(shown)
    assert [number_of(image) for image in read_frames(cut, [0, 1, len(shown) - 1])] == [13, 14, COUNT - 1]
    verify_clip(cut)


# --- Upright -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_rotated_clip_is_upright(tmp_path: Path, degrees: int) -> None:
    path = encode(tmp_path / "a.mp4", rotation=degrees)
    plain = encode(tmp_path / "b.mp4")
    # FFmpeg's angle is counter-clockwise, as is Pillow's.
    expected = read_frames(plain, [5])[0].rotate(degrees, expand=True)
    (image,) = read_frames(path, [5])
    assert image.size == expected.size
    assert image.tobytes() == expected.tobytes()
    assert (probe_clip(path).width, probe_clip(path).height) == expected.size


def test_a_mirrored_clip_is_mirrored(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.set_display_rotation(90, hflip=True)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_frame(9), format="rgb24")))
        file.mux(stream.encode())
    (image,) = read_frames(path, [0])
    assert image.size == (HEIGHT, WIDTH)
    turns = (Image.Transpose.TRANSPOSE, Image.Transpose.TRANSVERSE)
    assert 9 in [number_of(image.transpose(turn)) for turn in turns]


# --- Which frames ------------------------------------------------------------------------------------


@given(
    first=st.integers(-1000, 1000), length=st.integers(min_value=1, max_value=1000), count=st.integers(1, 40)
)
def test_frames_are_spread_evenly(first: int, length: int, count: int) -> None:
    frames = spread_frames(first, first + length - 1, count)
    assert len(frames) == count
    assert list(frames) == sorted(frames)
    assert first <= frames[0] <= frames[-1] < first + length
    steps = {after - before for before, after in pairwise(frames)}
    assert not steps or max(steps) - min(steps) <= 1
    margins = (frames[0] - first, first + length - 1 - frames[-1])
    assert abs(margins[0] - margins[1]) <= 1


def test_spread_frames_are_centers() -> None:
    assert spread_frames(0, 99, 1) == (50,)
    assert spread_frames(0, 7, 8) == tuple(range(8))
    assert spread_frames(100, 199, 2) == (125, 175)
    assert spread_frames(4, 5, 4) == (4, 4, 5, 5)


@pytest.mark.parametrize(("first", "last", "count"), [(5, 4, 1), (0, 9, 0)])
def test_an_inverted_range_is_an_error(first: int, last: int, count: int) -> None:
    with pytest.raises(ClipError, match="cannot spread"):
        spread_frames(first, last, count)
