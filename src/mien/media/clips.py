"""Video clips: how many frames, and the pictures of some of them by number.

Goes in: a file that anyone may have made, and frame numbers counted from 0 in the order in which frames are
shown. Comes out: upright RGB pictures, or a ClipError. Knows nothing about: people, boxes, labels, data sets.

Numbers are exact, also where the frame rate varies: the times of all packets are listed without decoding,
and a frame is known by its own time. Pixels are taken as square.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from mien.errors import ClipError, MienError
from mien.media.frame_index import Index, Packet, index_packets

__all__ = ["MAX_PACKETS", "MAX_PIXELS", "ClipInfo", "check", "probe", "read_frames", "spread"]

MAX_PIXELS: Final = 80_000_000  # of a frame; as of a picture
MAX_PACKETS: Final = 2_000_000  # nine hours at 60 frames a second

# PyAV's VideoFrame, whose annotations leave out what is needed here.
Frame = Any

_REMEDY: Final = "give an MP4, MOV, MKV, WebM, AVI or MPEG-TS file with a video stream"
_BROKEN: Final = "copy or download the clip again"
# Playlists name other files, and rarely used decoders are rarely hardened: clips come from strangers.
_LIMITS: Final = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts",
}
_CODECS: Final = ("av1", "h264", "hevc", "libdav1d", "mjpeg", "mpeg2video", "mpeg4", "vp8", "vp9")
# In AVI packets have no time of their own; in VP8 some packets show nothing. There, frames are counted.
_UNTIMED: Final = ("avi", "vp8")
_SLACK_SECONDS: Final = 0.25  # by which a file may exaggerate its length without being cut

# What brings a frame upright, by the signs of (a, b, c, d) in x' = a x + c y, y' = b x + d y.
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
    """What a clip is: width and height of the upright frame; `rate` in frames a second on average."""

    num_frames: int
    width: int
    height: int
    rate: float


def spread(first: int, last: int, count: int) -> tuple[int, ...]:
    """The centres of `count` equal parts of the frames from `first` to `last`, both included.

    A range that has fewer frames than are asked repeats some of them.
    """
    if last < first or count < 1:
        raise ClipError(f"cannot spread {count} frames over {first} to {last}", hint="give first <= last")
    length = last - first + 1
    return tuple(first + (2 * part + 1) * length // (2 * count) for part in range(count))


def probe(path: Path) -> ClipInfo:
    """How long and large a clip is. Decodes one frame, to see how it is turned; all if they have no times."""
    with _opened(path) as clip:
        frames = clip.decode()
        first = next(frames, None)
        if first is None:
            raise ClipError(f"{path} has no frame that can be decoded", hint=_BROKEN)
        return clip.info(first, len(clip.index.times) if clip.index else 1 + sum(1 for _ in frames))


def read_frames(path: Path, frames: Sequence[int]) -> list[Image.Image]:
    """The pictures of these frames, in this order; a number that is given twice is decoded once."""
    wanted = sorted(set(frames))
    with _opened(path) as clip:
        pictures = _read_timed(clip, clip.index, wanted) if clip.index else _read_counted(clip, wanted)
    return [pictures[number] for number in frames]


def check(path: Path) -> ClipInfo:
    """As `probe`, after decoding everything; ClipError if anything is damaged, or missing at the end."""
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


def _read_timed(clip: _Clip, index: Index, wanted: Sequence[int]) -> dict[int, Image.Image]:
    clip.require(wanted, len(index.times))
    pictures: dict[int, Image.Image] = {}
    for run in index.runs([index.times[number] for number in wanted]):
        pictures |= clip.decode_run(index, run)
    return {number: pictures[index.times[number]] for number in wanted}


def _read_counted(clip: _Clip, wanted: Sequence[int]) -> dict[int, Image.Image]:
    pictures, count = {}, 0
    for count, frame in enumerate(clip.decode(), start=1):
        if count - 1 in wanted:
            pictures[count - 1] = clip.picture(frame)
        if len(pictures) == len(wanted):
            break
    clip.require(wanted, count)
    return pictures


# --- An open clip ------------------------------------------------------------------------------------


class _Clip:
    """An open file, its video stream, and what a pass over the packets told: nothing was decoded for that."""

    def __init__(self, path: Path, container: Any, *, strict: bool) -> None:
        self.path, self._container = path, container
        self._stream = _video_stream(path, container)
        self._codec = self._stream.codec_context
        # A second thread speeds one clip up, a third does not; who checks many checks several at once.
        self._codec.thread_count = 1 if strict else 2
        self._codec.options = {"max_pixels": str(MAX_PIXELS)} | ({"err_detect": "explode"} if strict else {})
        self._end_seconds, self._is_damaged = 0.0, False
        packets = list(self._list_packets())
        self._start = min((packet.dts for packet in packets if packet.dts is not None), default=0)
        self.is_cut = self._is_damaged or self._is_short(len(packets))
        untimed = {container.format.name, self._codec.name} & {*_UNTIMED}
        self.index = None if untimed else index_packets(packets, is_cut=self.is_cut)

    def _list_packets(self) -> Iterator[Packet]:
        for number, packet in enumerate(self._container.demux()):
            if number > MAX_PACKETS:
                raise ClipError(f"{self.path} has more than {MAX_PACKETS:,} packets", hint="cut it first")
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._end_seconds = max(self._end_seconds, float(end))
            if packet.stream_index != self._stream.index or not packet.size:
                continue
            if packet.is_corrupt:  # the file ends within it
                self._is_damaged = True
                return
            key, hidden = packet.is_keyframe, packet.is_discard
            yield Packet(pts=packet.pts, dts=packet.dts, is_key=key, is_hidden=hidden)

    def _is_short(self, num_packets: int) -> bool:
        """True where the file itself says that there is more than was found."""
        if "matroska" in self._container.format.name:
            return (self._container.duration or 0) / 1e6 - self._end_seconds > _SLACK_SECONDS
        return "mp4" in self._container.format.name and len(self._stream.index_entries) > num_packets

    def info(self, frame: Frame, num_frames: int) -> ClipInfo:
        width, height = frame.width, frame.height
        if _turn(frame) in _SIDEWAYS:
            width, height = height, width
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        return ClipInfo(num_frames=num_frames, width=width, height=height, rate=rate)

    def require(self, numbers: Sequence[int], count: int) -> None:
        """ClipError for the first number that is no frame of the clip."""
        outside = [number for number in numbers if not 0 <= number < count]
        if outside:
            cut = " that can be read, for its end is missing" if self.is_cut else ""
            raise ClipError(
                f"{self.path} has {count} frames{cut}, counted from 0: there is no frame {outside[0]}",
                hint=_BROKEN if self.is_cut else f"give numbers from 0 to {count - 1}",
            )

    def decode(self) -> Iterator[Frame]:
        """All frames from the start, in the order of showing."""
        self._container.seek(self._start, stream=self._stream)
        self._codec.skip_frame = "DEFAULT"
        yield from self._container.decode(self._stream)

    def decode_run(self, index: Index, times: Sequence[int]) -> dict[int, Image.Image]:
        """The pictures at these ascending times, from the key frame of the first on."""
        pictures = self._pictures_at(self._decode_from_key(index, times), times)
        if len(pictures) < len(times):
            # Of some key frames only a part is a picture: with intra refresh the rest comes bit by bit.
            pictures = self._pictures_at(self.decode(), times)
        lost = [index.times.index(time) for time in times if time not in pictures]
        if lost:
            raise ClipError(f"frame {lost[0]} of {self.path} cannot be decoded", hint=_BROKEN)
        return pictures

    def _pictures_at(self, frames: Iterator[Frame], times: Sequence[int]) -> dict[int, Image.Image]:
        pictures = {}
        for frame in frames:
            if frame.pts in times:
                pictures[frame.pts] = self.picture(frame)
            if frame.pts is not None and frame.pts >= times[-1]:
                break
        return pictures

    def _decode_from_key(self, index: Index, times: Sequence[int]) -> Iterator[Frame]:
        self._container.seek(key := index.key_for(times[0]), stream=self._stream)
        for number, packet in enumerate(self._container.demux(self._stream)):
            place = index.place.get(packet.pts)
            if number == 0 and (place is None or place > index.place[key]):
                return  # the file's own table is wrong
            if place is None:  # the end, or where the file is cut
                yield from self._codec.decode(None)
                return
            if place >= index.place[key]:
                # Nothing rests on frames that are leaves: those that are not asked for need no decoding.
                self._codec.skip_frame = "DEFAULT" if packet.pts in times else "NONREF"
                yield from packet.decode()

    def picture(self, frame: Frame) -> Image.Image:
        """The frame, upright and RGB."""
        if frame.is_corrupt:
            raise ClipError(f"{self.path}: a frame is damaged", hint=_BROKEN)
        _require_size(self.path, frame.width, frame.height)  # may be more than the file said at first
        image: Image.Image = frame.to_image()
        turn = _turn(frame)
        return image if turn is None else image.transpose(turn)


# --- Files and frames --------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, *, strict: bool = False) -> Iterator[_Clip]:
    import av

    _require_file(path)
    try:
        # As a URL, because a name such as "concat:a" would else be more than a name.
        with av.open(f"file:{path}", options=_LIMITS, metadata_errors="replace") as container:
            yield _Clip(path, container, strict=strict)
    except MienError:
        raise
    except Exception as error:  # hostile bytes raise nearly anything in a decoder; this is the seam
        reason = getattr(error, "strerror", None) or error
        raise ClipError(f"{path} cannot be read as a clip: {reason}", hint=_REMEDY) from error


def _require_file(path: Path) -> None:
    """Refuses what is no ordinary file before it is opened: opening a pipe would wait for ever."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ClipError(f"no clip at {path}", hint="check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise ClipError(f"{path} cannot be read: {error}", hint=_REMEDY) from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not an ordinary file"
        raise ClipError(f"{path} is {kind}", hint=_REMEDY)
    if status.st_size == 0:
        raise ClipError(f"{path} is empty (0 bytes)", hint=_BROKEN)


def _video_stream(path: Path, container: Any) -> Any:
    stream = container.streams.best("video")
    if stream is None or "attached_pic" in (stream.disposition.name or ""):
        raise ClipError(f"{path} has no video stream", hint=_REMEDY)
    codec = stream.codec_context
    if codec.name not in _CODECS:
        raise ClipError(f"{path} is coded as {codec.name}, which is not read", hint=_REMEDY)
    _require_size(path, codec.width, codec.height)
    return stream


def _require_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ClipError(
            f"{path} has frames of {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed",
            hint="make the clip smaller first",
        )


def _turn(frame: Frame) -> Image.Transpose | None:
    """What brings a frame upright, to the nearest quarter turn; None if it is."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return None
    a, b, _, c, d = (int(part) for part in np.frombuffer(bytes(matrix), dtype="=i4", count=5))
    parts = (a, 0, 0, d) if abs(a) + abs(d) >= abs(b) + abs(c) else (0, b, c, 0)
    return _TURNS.get(tuple((part > 0) - (part < 0) for part in parts))
