"""Which requests share a batch, and how clips are shown."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.factories.engines import RecordingEngine

from mien.describe.engine import Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.errors import EngineError
from mien.types import Subject

Make = Callable[..., list[Subject]]


def recording(**options: Any) -> RecordingEngine:
    return RecordingEngine(FakeEngine(FakeOptions(**options)))


class ConcurrentEngine(RecordingEngine):
    """Replies once this many calls wait at the same time."""

    def __init__(self, calls: int) -> None:
        super().__init__(FakeEngine())
        self.barrier = threading.Barrier(calls, timeout=20)

    @property
    def calls_at_once(self) -> int:
        return self.barrier.parties

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        self.barrier.wait()
        return super().describe(requests)


def test_calls_run_concurrently_if_the_engine_allows_it(
    subjects: Make, tmp_path: Path, request_options: dict[str, Any]
) -> None:
    people, found = subjects(12), []
    for name, engine in (("one", recording()), ("three", ConcurrentEngine(3))):
        with Store(tmp_path / name) as store:
            assert (
                describe(people, RequestBuilder(engine=engine, **request_options), store, batch_size=2).done
                == 12
            )
            found.append(list(store))
    assert found[0] == found[1]


class ChoosingEngine(RecordingEngine):
    """Chooses the sizes of its batches."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(FakeEngine())
        self.sizes = list(sizes)

    def best_batch_size(self, request: Request) -> int | None:
        return self.sizes.pop(0) if self.sizes else None


def test_an_engine_chooses_the_size_of_each_batch_unless_one_is_given(
    subjects: Make, tmp_path: Path, request_options: dict[str, Any]
) -> None:
    people = subjects(20)
    people[2].images[0].path.write_bytes(b"no image")  # it is in a batch, but not in a call
    for size, expected, last in ((None, [1, 4, 2, 8, 4], 8), (6, [5, 6, 6, 2], 6)):
        engine = ChoosingEngine(1, 4, 2)
        with Store(tmp_path / str(size)) as store:
            builder = RequestBuilder(engine=engine, **request_options)
            summary = describe(people, builder, store, batch_size=size)
        assert [len(call) for call in engine.calls] == expected
        assert (summary.done, summary.failed, summary.batch_size) == (19, 1, last)


def test_images_of_similar_size_share_a_batch(
    paint: Callable[..., Path], store: Store, request_options: dict[str, Any]
) -> None:
    """A model that takes images of any shape pads a batch to its largest."""
    sides = (40, 20, 41, 21, 42, 22, 43, 23)
    people = [
        Subject.still(f"s{n}", paint(f"{n}.png", size=(side, side), color=(n, 0, 0)))
        for n, side in enumerate(sides)
    ]
    engine = recording()
    describe(people, RequestBuilder(engine=engine, **request_options), store, batch_size=4)
    assert engine.calls == [["s1", "s3", "s5", "s7"], ["s0", "s2", "s4", "s6"]]
    assert len(store) == 8


def test_a_clip_shown_differently_is_another_request(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    """Frames as separate images, as a contact sheet, or only the middle one: three descriptions."""
    stills = subjects(3)
    images = tuple(image for one in stills for image in one.images)
    clip = Subject(id="clip", images=images, boxes=tuple(box for one in stills for box in one.boxes))
    shown: list[int] = []
    for view in ("frames", "contact_sheet", "middle_frame"):
        engine = recording()
        assert describe([clip], RequestBuilder(engine=engine, clip=view, **request_options), store).done == 1
        shown.append(engine.num_images[0])
    assert shown == [3, 1, 1]
    assert len(store) == 3
