"""Which frames a video stream has: the arithmetic of its packets' times, without a decoder.

Goes in: when each packet is decoded and shown, in the stream's own unit of time. Comes out: the times of the
frames in the order in which they are shown, and the shortest way to decode some of them.
Knows nothing about: files, pixels, or the library that reads them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Index", "Packet", "index_packets"]

# In packets. A jump empties the decoder: over a shorter way it does not pay.
_NEAR: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One coded frame: shown at `pts`, decoded at `dts`, where the file says so.

    `is_hidden`: it is decoded because others rest on it, and not shown.
    """

    pts: int | None
    dts: int | None
    is_key: bool
    is_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """`times` of the frames that are shown, in order; `keys`, those of key frames, in order.

    `place` is a time's place in the order of decoding.
    """

    times: tuple[int, ...]
    keys: tuple[int, ...]
    place: dict[int, int]

    def runs(self, wanted: Sequence[int]) -> Iterator[list[int]]:
        """These ascending times, parted where it is shorter to jump to a key frame than to decode on."""
        run: list[int] = []
        for time in wanted:
            if run and self.place[self.key_for(time)] - self.place[run[-1]] > _NEAR:
                yield run
                run = []
            run.append(time)
        if run:
            yield run

    def key_for(self, time: int) -> int:
        """The last key frame shown at or before this time: from there on everything can be decoded."""
        return self.keys[bisect_right(self.keys, time) - 1]

    def place_of(self, time: int | None) -> int:
        """The place in the order of decoding; after all others if no packet has this time."""
        return len(self.place) if time is None else self.place.get(time, len(self.place))


def index_packets(packets: Sequence[Packet], *, is_cut: bool) -> Index | None:
    """The index of packets in the order of decoding; None where their times do not tell frames apart.

    `is_cut`: packets are missing at the end. They were to be decoded after the last one, and so to be shown
    after it: frames that are shown later than that have no certain number and are left out.
    """
    timed = [(packet.pts, packet) for packet in packets if packet.pts is not None]
    place = {time: number for number, (time, _) in enumerate(timed)}
    if not timed or len(place) < len(packets):
        return None
    (first, opening), shown = timed[0], [time for time, packet in timed if not packet.is_hidden]
    # Frames before the first key frame, in either order, rest on something that is not there.
    if not opening.is_key or min(shown, default=first) < first:
        return None
    if is_cut:
        last = max((packet.dts for packet in packets if packet.dts is not None), default=first)
        shown = [time for time in shown if time <= last]
    keys = sorted(time for time, packet in timed if packet.is_key)
    return Index(times=tuple(sorted(shown)), keys=tuple(keys), place=place)
