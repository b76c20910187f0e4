"""Video clips: the number of frames, and single frames by number.

Frames are counted from 0 in the order in which they are shown. Numbers are exact even if the frame rate
varies: the times of all packets are listed without decoding, and a frame is identified by its time. Pixels
are assumed to be square. Files can come from anyone: everything that is wrong with one raises ClipError.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from mien.errors import ClipError, MienError
from mien.media.files import require_file
from mien.media.formats import sniff_file
from mien.media.frame_index import FrameIndex, Packet, index_packets
from mien.media.memory import MAX_BYTES, Reservation, image_bytes

__all__ = [
    "MAX_PACKETS",
    "MAX_PIXELS",
    "ClipInfo",
    "SampledFrame",
    "frame_pixels",
    "probe_clip",
    "read_frames",
    "sample_frames",
    "spread_frames",
    "verify_clip",
]

MAX_PIXELS: Final = 80_000_000  # of a frame; as for images
MAX_PACKETS: Final = 2_000_000  # nine hours at 60 frames per second

# PyAV's VideoFrame, whose annotations lack what is used here.
Frame = Any

_HINT: Final = "give an MP4, MOV, MKV, WebM, AVI or MPEG-TS file with a video stream"
_CONVERT: Final = "copy the clip again, or convert it, for example: ffmpeg -i clip -c:v libx264 clip.mp4"
_BROKEN: Final = "copy or download the clip again"
# Playlists name other files, and rarely used decoders are rarely hardened.
_LIMITS: Final = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts",
}
_CODECS: Final = ("av1", "h264", "hevc", "libdav1d", "mjpeg", "mpeg2video", "mpeg4", "vp8", "vp9")
# In AVI, packets have no times; in VP8, some packets show nothing. There, frames are counted by decoding.
_UNTIMED: Final = ("avi", "vp8")
_EARLY: Final = 1e-3  # of an interval, by which rounded times may come early
_SLACK_SECONDS: Final = 0.25  # by which a complete file may overstate its length

# The turn that makes a frame upright, by the signs of (a, b, c, d) in x' = a x + c y, y' = b x + d y.
_TURNS: Final[dict[tuple[int, ...], Image.Transpose]] = {
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
_SIDEWAYS: Final = {turn for signs, turn in _TURNS.items() if signs[1]}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipInfo:
    """Facts about a clip.

    Attributes:
        num_frames: Number of frames.
        width: Width of the upright frame, in pixels.
        height: Height of the upright frame, in pixels.
        rate: Average number of frames per second.
    """

    num_frames: int
    width: int
    height: int
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledFrame:
    """One of the frames that are taken from a clip.

    Attributes:
        number: Its number, from 0; None for an error that belongs to no certain frame.
        time: Seconds since the first frame; None as above.
        image: The frame, upright and RGB, or why it cannot be read.
    """

    number: int | None
    time: float | None
    image: Image.Image | ClipError


def spread_frames(first: int, last: int, count: int) -> tuple[int, ...]:
    """Frame numbers that are spread evenly over `first` to `last`, both included.

    They are the centers of `count` equal parts. If the range has fewer frames than `count`, some repeat.
    """
    if last < first or count < 1:
        raise ClipError(f"cannot spread {count} frames over {first} to {last}", hint="give first <= last")
    length = last - first + 1
    return tuple(first + (2 * part + 1) * length // (2 * count) for part in range(count))


def probe_clip(path: Path) -> ClipInfo:
    """Reads the length and size of a clip.

    Decodes one frame, for its orientation; all of them if the packets have no times.
    """
    with _opened(path) as clip:
        frames = clip.decode()
        first = next(frames, None)
        if first is None:
            raise ClipError(f"{path} has no frame that can be decoded", hint=_BROKEN)
        return clip.info(first, len(clip.index.times) if clip.index else 1 + sum(1 for _ in frames))


@lru_cache(maxsize=256)
def frame_pixels(path: Path) -> int:
    """How many pixels the frames of a clip have, by its header; 0 if it cannot be read."""
    import av

    try:
        with av.open(f"file:{path}", options=_LIMITS, metadata_errors="replace") as container:
            codec = _video_stream(path, container).codec_context
            return int(codec.width * codec.height)
    except Exception:  # noqa: BLE001  reading it will say what is wrong
        return 0


def read_frames(path: Path, frames: Sequence[int], memory: Reservation | None = None) -> list[Image.Image]:
    """Reads these frames, in this order, upright and RGB; a repeated number is decoded once.

    Args:
        path: The clip.
        frames: Numbers of frames, from 0.
        memory: Gets what all of these frames take; by default only while they are decoded.

    Raises:
        ClipError: The clip cannot be read, lacks a frame, or the frames take too much memory.
    """
    if memory is None:
        with Reservation() as own:
            return read_frames(path, frames, own)
    numbers = sorted(set(frames))
    with _opened(path) as clip:
        memory.hold(clip.require_memory(len(numbers)))
        images = _read_timed(clip, clip.index, numbers) if clip.index else _read_counted(clip, numbers)
    return [images[number] for number in frames]


def sample_frames(path: Path, *, fps: float | None = None, every: int = 1) -> Iterator[SampledFrame]:
    """Frames of a clip in order, one at a time: every n-th, or at most so many per second.

    A damaged frame is returned as an error in its place, and so is a missing end.

    Args:
        path: The clip.
        fps: Frames per second, by the frames' own times: of each interval of 1 / fps seconds the first frame.
        every: Take each n-th frame instead.

    Raises:
        ClipError: The clip cannot be read at all, or a frame takes too much memory.
    """
    with _opened(path) as clip:
        clip.require_memory(1)
        found = clip.sample_timed(clip.index, fps, every) if clip.index else clip.sample_counted(fps, every)
        any_frame = False
        for frame in found:
            any_frame = True
            yield frame
        if clip.is_cut:
            error = ClipError(f"{path} is cut short: its end is missing", hint=_BROKEN)
            yield SampledFrame(number=None, time=None, image=error)
        elif not any_frame:
            raise ClipError(f"{path} has no frame that can be decoded", hint=_BROKEN)


def _takes(number: int, seconds: float, last: int, fps: float | None, every: int) -> int | None:
    """The interval of which this is the first frame, if it is to be taken; `last` is the previous one's."""
    if fps is None:
        return number if number % every == 0 else None
    interval = math.floor(seconds * fps + _EARLY)
    return interval if interval > last else None


def verify_clip(path: Path) -> ClipInfo:
    """Decodes the whole clip; ClipError if anything is damaged or missing at the end."""
    with _opened(path, strict=True) as clip:
        if clip.is_cut:
            raise ClipError(f"{path} is cut short: its end is missing", hint=_BROKEN)
        info, count = None, 0
        for frame in clip.decode():
            info, count = info or clip.info(frame, 0), count + 1
        if info is None or (clip.index and count != len(clip.index.times)):
            stated = f" of {len(clip.index.times)}" if clip.index else ""
            raise ClipError(f"{path} is damaged: {count}{stated} frames can be decoded", hint=_BROKEN)
        return replace(info, num_frames=count)


def _read_timed(clip: _Clip, index: FrameIndex, numbers: Sequence[int]) -> dict[int, Image.Image]:
    clip.require_frames(numbers, len(index.times))
    images: dict[int, Image.Image] = {}
    for run in index.decode_runs([index.times[number] for number in numbers]):
        images |= clip.decode_run(index, run)
    return {number: images[index.times[number]] for number in numbers}


def _read_counted(clip: _Clip, numbers: Sequence[int]) -> dict[int, Image.Image]:
    images, count = {}, 0
    for count, frame in enumerate(clip.decode(), start=1):
        if count - 1 in numbers:
            images[count - 1] = clip.to_image(frame)
        if len(images) == len(numbers):
            break
    clip.require_frames(numbers, count)
    return images


# --- An open clip ------------------------------------------------------------------------------------


class _Clip:
    """An open file with its video stream, and the index of its packets, for which nothing is decoded."""

    def __init__(self, path: Path, container: Any, *, strict: bool) -> None:
        self.path, self._container = path, container
        self._stream = _video_stream(path, container)
        self._codec = self._stream.codec_context
        # A second thread makes one clip faster, a third does not; verification reads clips in parallel.
        # Threads per frame: with threads per slice, FFmpeg does not mark frames in which it conceals damage.
        self._codec.thread_count = 1 if strict else 2
        self._codec.thread_type = "FRAME"
        self._codec.options = {"max_pixels": str(MAX_PIXELS)} | ({"err_detect": "explode"} if strict else {})
        self._end_seconds, self._is_damaged = 0.0, False
        self._rotation: int | None = None
        self._turn: Image.Transpose | None = None
        packets = list(self._list_packets())
        self._start = min((packet.dts for packet in packets if packet.dts is not None), default=0)
        self.is_cut = self._is_damaged or self._is_short(len(packets))
        untimed = {container.format.name, self._codec.name} & {*_UNTIMED}
        self.index = None if untimed else index_packets(packets, is_cut=self.is_cut)

    def _list_packets(self) -> Iterator[Packet]:
        for number, packet in enumerate(self._container.demux()):
            if number > MAX_PACKETS:
                raise ClipError(
                    f"{self.path} has more than {MAX_PACKETS:,} packets", hint="cut the clip first"
                )
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._end_seconds = max(self._end_seconds, float(end))
            if packet.stream_index != self._stream.index or not packet.size:
                continue
            if packet.is_corrupt:  # the file ends inside this packet
                self._is_damaged = True
                return
            key, hidden = packet.is_keyframe, packet.is_discard
            yield Packet(pts=packet.pts, dts=packet.dts, is_key=key, is_hidden=hidden)

    def _is_short(self, num_packets: int) -> bool:
        """Whether the file claims to be longer than it is."""
        if "matroska" in self._container.format.name:
            return (self._container.duration or 0) / 1e6 - self._end_seconds > _SLACK_SECONDS
        return "mp4" in self._container.format.name and len(self._stream.index_entries) > num_packets

    def info(self, frame: Frame, num_frames: int) -> ClipInfo:
        width, height = frame.width, frame.height
        if _turn(frame) in _SIDEWAYS:
            width, height = height, width
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        return ClipInfo(num_frames=num_frames, width=width, height=height, rate=rate)

    def require_frames(self, numbers: Sequence[int], count: int) -> None:
        """Raises ClipError if a number is not a frame of the clip."""
        outside = [number for number in numbers if not 0 <= number < count]
        if outside:
            cut = " that can be read (its end is missing)" if self.is_cut else ""
            raise ClipError(
                f"{self.path} has {count} frames{cut}, counted from 0; there is no frame {outside[0]}",
                hint=_BROKEN if self.is_cut else f"give numbers from 0 to {count - 1}",
            )

    def require_memory(self, num_frames: int) -> int:
        """The memory that so many frames take, in bytes; ClipError if that is too much."""
        width, height = self._codec.width, self._codec.height
        # One more, because each is turned and marked.
        taken = (num_frames + 1) * image_bytes("RGB", width, height)
        if taken > MAX_BYTES:
            raise ClipError(
                f"{num_frames} frames of {width} x {height} pixels of {self.path} take {taken / 1e9:.1f} GB, "
                f"more than the {MAX_BYTES / 1e9:.1f} GB allowed",
                hint="use fewer frames, or downscale the clip first",
            )
        return taken

    def decode(self) -> Iterator[Frame]:
        """All frames from the start, in display order."""
        self._container.seek(self._start, stream=self._stream)
        self._codec.skip_frame = "DEFAULT"
        yield from self._container.decode(self._stream)

    def decode_run(self, index: FrameIndex, times: Sequence[int]) -> dict[int, Image.Image]:
        """The frames at these ascending times, decoded from the key frame of the first."""
        images = self._images_at(self._decode_from_key(index, times), times)
        if len(images) < len(times):
            # With intra refresh, a key frame is only part of an image; later frames add the rest.
            images = self._images_at(self.decode(), times)
        missing = [index.times.index(time) for time in times if time not in images]
        if missing:
            raise ClipError(f"frame {missing[0]} of {self.path} cannot be decoded", hint=_BROKEN)
        return images

    def _images_at(self, frames: Iterator[Frame], times: Sequence[int]) -> dict[int, Image.Image]:
        images = {}
        for frame in frames:
            if frame.pts in times:
                images[frame.pts] = self.to_image(frame)
            if frame.pts is not None and frame.pts >= times[-1]:
                break
        return images

    def _decode_from_key(self, index: FrameIndex, times: Sequence[int]) -> Iterator[Frame]:
        self._container.seek(key := index.key_for(times[0]), stream=self._stream)
        for number, packet in enumerate(self._container.demux(self._stream)):
            rank = index.decode_rank.get(packet.pts)
            if number == 0 and (rank is None or rank > index.decode_rank[key]):
                return  # the file's own table is wrong
            if rank is None:  # the end, or where the file is cut
                yield from self._codec.decode(None)
                return
            if rank >= index.decode_rank[key]:
                # No frame depends on a non-reference frame, so unrequested ones are skipped.
                self._codec.skip_frame = "DEFAULT" if packet.pts in times else "NONREF"
                yield from packet.decode()

    def sample_timed(self, index: FrameIndex, fps: float | None, every: int) -> Iterator[SampledFrame]:
        """The wanted frames; what the decoder leaves out is an error in its place."""
        unit, first, last = float(self._stream.time_base), index.times[0], -1
        wanted: dict[int, int] = {}  # numbers by time
        for number, time in enumerate(index.times):
            taken = _takes(number, (time - first) * unit, last, fps, every)
            if taken is not None:
                wanted[time], last = number, taken
        pending = deque(wanted)

        def missing() -> SampledFrame:
            time = pending.popleft()
            error = ClipError(f"frame {wanted[time]} of {self.path} cannot be decoded", hint=_BROKEN)
            return SampledFrame(number=wanted[time], time=(time - first) * unit, image=error)

        for frame in self._decode_what_can_be(wanted):
            while pending and frame.pts is not None and pending[0] < frame.pts:
                yield missing()
            if pending and frame.pts == pending[0]:
                yield self._sampled(frame, wanted[pending[0]], (pending.popleft() - first) * unit)
        while pending:
            yield missing()

    def sample_counted(self, fps: float | None, every: int) -> Iterator[SampledFrame]:
        """As `sample_timed`, with frames counted as they are decoded."""
        rate, last = float(self._stream.average_rate or self._stream.guessed_rate or 25), -1
        for number, frame in enumerate(self._decode_what_can_be(None)):
            taken = _takes(number, number / rate, last, fps, every)
            if taken is not None:
                last = taken
                yield self._sampled(frame, number, number / rate)

    def _sampled(self, frame: Frame, number: int, time: float) -> SampledFrame:
        try:
            return SampledFrame(number=number, time=time, image=self.to_image(frame))
        except ClipError:
            error = ClipError(f"frame {number} of {self.path} is damaged", hint=_BROKEN)
            return SampledFrame(number=number, time=time, image=error)

    def _decode_what_can_be(self, wanted: Collection[int] | None) -> Iterator[Frame]:
        """All wanted frames from the start, except damaged ones, and some that are not wanted."""
        import av

        self._container.seek(self._start, stream=self._stream)
        for packet in self._container.demux(self._stream):
            # No frame depends on a non-reference frame, so unrequested ones are skipped.
            is_wanted = wanted is None or packet.pts is None or packet.pts in wanted
            self._codec.skip_frame = "DEFAULT" if is_wanted else "NONREF"
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                continue

    def to_image(self, frame: Frame) -> Image.Image:
        """The frame, upright and RGB."""
        if frame.is_corrupt:
            raise ClipError(f"{self.path}: a frame is damaged", hint=_BROKEN)
        _require_size(self.path, frame.width, frame.height)  # can exceed the size in the header
        image: Image.Image = frame.to_image()
        turn = self._turn_of(frame)
        return image if turn is None else image.transpose(turn)

    def _turn_of(self, frame: Frame) -> Image.Transpose | None:
        """`_turn` of a frame, read anew only if its rotation changes.

        In PyAV, a frame whose side data were read is in a reference cycle with them: its pixels stay in
        memory until the garbage collector runs.
        """
        if frame.rotation != self._rotation:
            self._rotation, self._turn = frame.rotation, _turn(frame)
        return self._turn


# --- Files and frames --------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, *, strict: bool = False) -> Iterator[_Clip]:
    import av

    require_file(path, noun="clip", error=ClipError, hint=_HINT)
    try:
        # As a URL: FFmpeg would interpret a plain name such as "concat:a".
        with av.open(f"file:{path}", options=_LIMITS, metadata_errors="replace") as container:
            yield _Clip(path, container, strict=strict)
    except MienError:
        raise
    except Exception as error:  # hostile bytes make decoders raise nearly anything
        kind = sniff_file(path)
        reason = getattr(error, "strerror", None) or error
        reason = f"it is {kind.name}" if kind.name and kind.role != "clip" else reason
        hint = _CONVERT if kind.role == "clip" else _HINT
        raise ClipError(f"{path} cannot be read as a clip: {reason}", hint=hint) from error


def _video_stream(path: Path, container: Any) -> Any:
    stream = container.streams.best("video")
    if stream is None or "attached_pic" in (stream.disposition.name or ""):
        raise ClipError(f"{path} has no video stream", hint=_HINT)
    codec = stream.codec_context
    if codec.name not in _CODECS:
        raise ClipError(f"{path} uses the codec {codec.name}, which is not supported", hint=_CONVERT)
    _require_size(path, codec.width, codec.height)
    return stream


def _require_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ClipError(
            f"{path} has frames of {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed",
            hint="downscale the clip first",
        )


def _turn(frame: Frame) -> Image.Transpose | None:
    """The turn that makes a frame upright, to the nearest quarter; None if it is upright."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return None
    a, b, _, c, d = (int(part) for part in np.frombuffer(bytes(matrix), dtype="=i4", count=5))
    parts = (a, 0, 0, d) if abs(a) + abs(d) >= abs(b) + abs(c) else (0, b, c, 0)
    return _TURNS.get(tuple((part > 0) - (part < 0) for part in parts))
