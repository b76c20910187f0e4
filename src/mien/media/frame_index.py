"""The frames of a video stream, derived from the times of its packets without decoding."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["FrameIndex", "Packet", "index_packets"]

# In packets. Seeking empties the decoder, so it does not pay over a shorter distance.
_NEAR: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One encoded frame; times are in the stream's own unit, None if the file does not state them.

    Attributes:
        pts: When the frame is shown.
        dts: When the frame is decoded.
        is_key: Whether the frame can be decoded on its own.
        is_hidden: Whether the frame is decoded only because others depend on it.
    """

    pts: int | None
    dts: int | None
    is_key: bool
    is_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameIndex:
    """The frames of a stream, identified by their times.

    Attributes:
        times: Times of the frames that are shown, ascending.
        keys: Times of the key frames, ascending.
        decode_rank: Position of each time in decoding order.
    """

    times: tuple[int, ...]
    keys: tuple[int, ...]
    decode_rank: dict[int, int]

    def decode_runs(self, times: Sequence[int]) -> Iterator[list[int]]:
        """Splits these ascending times where seeking to a key frame is shorter than decoding on."""
        run: list[int] = []
        for time in times:
            if run and self.decode_rank[self.key_for(time)] - self.decode_rank[run[-1]] > _NEAR:
                yield run
                run = []
            run.append(time)
        if run:
            yield run

    def key_for(self, time: int) -> int:
        """The last key frame shown at or before this time; decoding can start there."""
        return self.keys[bisect_right(self.keys, time) - 1]


def index_packets(packets: Sequence[Packet], *, is_cut: bool) -> FrameIndex | None:
    """Builds the index of a stream; None if the times of its packets do not identify frames.

    Args:
        packets: The packets in decoding order.
        is_cut: Packets are missing at the end. They would be decoded, and hence shown, after the last one:
            frames that are shown later than that have no certain number and are left out.
    """
    timed = [(packet.pts, packet) for packet in packets if packet.pts is not None]
    decode_rank = {time: number for number, (time, _) in enumerate(timed)}
    if not timed or len(decode_rank) < len(packets):
        return None
    (first, opening), shown = timed[0], [time for time, packet in timed if not packet.is_hidden]
    # Frames before the first key frame, in either order, depend on missing ones.
    if not opening.is_key or min(shown, default=first) < first:
        return None
    if is_cut:
        last = max((packet.dts for packet in packets if packet.dts is not None), default=first)
        shown = [time for time in shown if time <= last]
    keys = sorted(time for time, packet in timed if packet.is_key)
    return FrameIndex(times=tuple(sorted(shown)), keys=tuple(keys), decode_rank=decode_rank)
