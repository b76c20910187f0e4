"""The index of packets: the frames of a stream, and the key frame from which each is decoded."""

from hypothesis import given
from hypothesis import strategies as st

from mien.media.frame_index import FrameIndex, Packet, index_packets


def packet(pts: int | None, dts: int | None = None, *, key: bool = False, hidden: bool = False) -> Packet:
    return Packet(pts=pts, dts=dts, is_key=key, is_hidden=hidden)


# An open GOP: the frames at 3 and 4 are decoded after the key frame at 5, and shown before it.
OPEN = [
    packet(0, -1, key=True),
    packet(2, 0),
    packet(1, 1),
    packet(5, 2, key=True),
    packet(4, 3),
    packet(3, 4),
]


def index(packets: list[Packet], *, is_cut: bool = False) -> FrameIndex:
    made = index_packets(packets, is_cut=is_cut)
    assert made is not None
    return made


def test_frames_are_numbered_in_display_order() -> None:
    assert index(OPEN).times == (0, 1, 2, 3, 4, 5)


def test_leading_frames_of_an_open_gop_need_the_previous_key_frame() -> None:
    assert [index(OPEN).key_for(time) for time in range(6)] == [0, 0, 0, 0, 0, 5]


def test_hidden_frames_have_no_number() -> None:
    hidden = index([packet(-2, key=True, hidden=True), packet(-1, hidden=True), packet(0), packet(1)])
    assert hidden.times == (0, 1)
    assert hidden.key_for(0) == -2


def test_frames_of_a_cut_clip_count_up_to_the_first_possible_gap() -> None:
    assert index(OPEN[:4], is_cut=True).times == (0, 1, 2)
    assert index(OPEN[:4]).times == (0, 1, 2, 5)


def test_there_is_no_index_if_times_do_not_identify_frames() -> None:
    first = packet(0, key=True)
    assert index_packets([], is_cut=False) is None
    assert index_packets([first, packet(None)], is_cut=False) is None
    assert index_packets([first, packet(0)], is_cut=False) is None


def test_there_is_no_index_if_frames_depend_on_missing_ones() -> None:
    assert index_packets([packet(0), packet(1, key=True)], is_cut=False) is None
    assert index_packets([packet(2, key=True), packet(1), packet(3)], is_cut=False) is None


@given(
    num_frames=st.integers(1, 200),
    gop=st.integers(1, 60),
    requested=st.sets(st.integers(0, 199), max_size=12),
)
def test_runs_cover_the_requested_frames_and_decode_little(
    num_frames: int, gop: int, requested: set[int]
) -> None:
    made = index([packet(number, key=number % gop == 0) for number in range(num_frames)])
    times = sorted(number for number in requested if number < num_frames)
    runs = list(made.decode_runs(times))
    assert [time for run in runs for time in run] == times
    decoded = sum(run[-1] - made.key_for(run[0]) + 1 for run in runs)
    through = {number for run in runs for number in range(made.key_for(run[0]), run[-1] + 1)}
    assert decoded == len(through)  # nothing is decoded twice
    needed = {number for time in times for number in range(made.key_for(time), time + 1)}
    assert needed <= through
    assert len(through) - len(needed) <= 4 * len(times)  # seeking does not pay over a short distance
