"""Finds the people in sources, and follows them through videos.

Images are opened and decoded in a thread, a few ahead, and detected in batches. No more than these are in
memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

from PIL import Image

from mien.errors import DataError, MienError
from mien.media.memory import image_bytes
from mien.media.views import load_image
from mien.predict.results import BoxSource, Results
from mien.predict.sources.image import Source
from mien.predict.track.tracker import Tracker, TrackOptions
from mien.prefetch import prefetch, thread_pool
from mien.types import Box

if TYPE_CHECKING:
    from mien.predict.detect.detector import Detection, Detector

__all__ = ["FoundPeople", "FoundPerson", "find_people"]

_AHEAD: Final = 4  # images that are decoded ahead of the detector
_BATCH: Final = 8  # images per call of the detector
_BATCH_BYTES: Final = 200_000_000  # of the images of a call

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPerson:
    """A person in an image.

    Attributes:
        box: None if the whole image is the subject.
        box_source: Where the box comes from.
        box_score: The detector's confidence; None for other boxes.
        track: The number of the person in the video; None in images.
        is_due: Whether the person is to be read now. In a video, most frames repeat the last reading.
    """

    box: Box | None
    box_source: BoxSource
    box_score: float | None = None
    track: int | None = None
    is_due: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPeople:
    """A source and the people in it, or why there are none.

    Attributes:
        source: The source.
        people: The people; none if no one is found.
        error: Why the source cannot be used.
        tracks: The people of the video who may be seen again.
        done: The results of this source, if they exist already.
    """

    source: Source
    people: tuple[FoundPerson, ...] = ()
    error: MienError | None = None
    tracks: frozenset[int] = frozenset()
    done: Results | None = None


def find_people(
    sources: Iterable[Source],
    *,
    detector: Detector | None,
    options: TrackOptions,
    done: Iterable[Results] = (),
) -> Iterator[FoundPeople]:
    """The people in each source, in order.

    Args:
        sources: Images, frames and errors.
        detector: Finds the people where no boxes are given; None for the whole image.
        options: How people are followed.
        done: Results of the first sources, from an earlier run: they are taken as they are.

    Raises:
        DataError: The results are of other sources.
    """
    follower = _Follower(options)
    paired = _pair(sources, done)
    if detector is None:
        found = (
            _without_detector(source) if earlier is None else _again(source, earlier)
            for source, earlier in paired
        )
        yield from map(follower.follow, found)
        return
    with thread_pool(1) as pool:
        assert pool is not None
        loaded = _read_ahead(map(_load, paired), pool)
        for batch in _batches(loaded):
            yield from map(follower.follow, _detect(batch, detector))


def _pair(sources: Iterable[Source], done: Iterable[Results]) -> Iterator[tuple[Source, Results | None]]:
    """Each source with its results of an earlier run; only as many sources are read as are asked for."""
    earlier = iter(done)
    for source in sources:
        results = next(earlier, None)
        if results is not None and (results.source, results.frame) != (source.name, source.frame):
            raise DataError(
                f"{source.name} is in the place where {results.source} was before",
                hint="restore the sources, or start anew with another output file",
            )
        yield source, results
    left = next(earlier, None)
    if left is not None:
        raise DataError(
            f"{left.source} is no longer among the sources",
            hint="restore it, or start anew with another output file",
        )


# --- Loading and detecting -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """A source, with its pixels if they go to the detector."""

    source: Source
    pixels: Image.Image | None = field(default=None, repr=False)
    found: FoundPeople | None = None

    @property
    def num_bytes(self) -> int:
        return 0 if self.pixels is None else image_bytes("RGB", *self.pixels.size)


def _load(pair: tuple[Source, Results | None]) -> _Loaded:
    source, done = pair
    if done is not None:
        return _Loaded(source=source, found=_again(source, done))
    if source.error is not None or source.boxes:
        return _Loaded(source=source, found=_without_detector(source))
    try:
        return _Loaded(source=source, pixels=load_image(source.image).image)
    except DataError as error:
        return _Loaded(source=source, found=FoundPeople(source=source, error=error))


def _read_ahead(items: Iterator[_Item], pool: ThreadPoolExecutor) -> Iterator[_Item]:
    """The items, computed one after another in the thread of the pool."""
    end = object()
    ahead: Iterator[object] = prefetch(
        lambda _: next(items, end), itertools.repeat(None), pool=pool, window=_AHEAD
    )
    for item in ahead:
        if item is end:
            return
        yield item  # type: ignore[misc]  # not the end


def _batches(loaded: Iterable[_Loaded]) -> Iterator[list[_Loaded]]:
    batch: list[_Loaded] = []
    for item in loaded:
        batch.append(item)
        if len(batch) == _BATCH or sum(earlier.num_bytes for earlier in batch) > _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _detect(batch: Sequence[_Loaded], detector: Detector) -> Iterator[FoundPeople]:
    images = [item.pixels for item in batch if item.pixels is not None]
    detected = iter(detector.detect(images) if images else ())
    for item in batch:
        if item.pixels is None:
            assert item.found is not None, "what is not detected is known"
            yield item.found
        else:
            yield _from_detections(item.source, next(detected), detector.box_source)


def _from_detections(
    source: Source, detected: Sequence[Detection] | MienError, box_source: BoxSource
) -> FoundPeople:
    if isinstance(detected, MienError):
        return FoundPeople(source=source, error=detected)
    people = tuple(
        FoundPerson(box=item.box, box_source=box_source, box_score=item.score) for item in detected
    )
    return FoundPeople(source=source, people=people)


def _without_detector(source: Source) -> FoundPeople:
    if source.error is not None:
        return FoundPeople(source=source, error=source.error)
    given = tuple(FoundPerson(box=box, box_source="given") for box in source.boxes)
    return FoundPeople(source=source, people=given or (FoundPerson(box=None, box_source="whole"),))


def _again(source: Source, done: Results) -> FoundPeople:
    people = tuple(
        FoundPerson(box=person.box, box_source=person.box_source, box_score=person.box_score)
        for person in done
    )
    return FoundPeople(source=source, people=people, error=done.error, done=done)


# --- Following -----------------------------------------------------------------------------------------


class _Follower:
    """Numbers the people of videos, and says when each is to be read."""

    def __init__(self, options: TrackOptions) -> None:
        self._options = options
        self._video: int | None = None
        self._tracker = Tracker(options.max_gap)
        self._last_readings: dict[int, float] = {}

    def follow(self, found: FoundPeople) -> FoundPeople:
        source = found.source
        if source.video is None or source.time is None or found.error is not None:
            return found
        if source.video != self._video:
            self._video, self._tracker, self._last_readings = source.video, Tracker(self._options.max_gap), {}
        numbers, alive = self._number(found.people, source.time)
        people = tuple(
            replace(person, track=number, is_due=self._is_due(number, source.time))
            for person, number in zip(found.people, numbers, strict=True)
        )
        self._last_readings = {track: time for track, time in self._last_readings.items() if track in alive}
        return replace(found, people=people, tracks=alive)

    def _number(self, people: Sequence[FoundPerson], time: float) -> tuple[list[int], frozenset[int]]:
        """Given boxes, and the whole frame, are the same people in each frame."""
        boxes = [person.box for person in people if person.box is not None and person.box_source != "given"]
        if people and len(boxes) < len(people):
            numbers = list(range(len(people)))
            return numbers, frozenset(numbers)
        numbers = self._tracker.update(time, boxes)
        return numbers, self._tracker.tracks

    def _is_due(self, track: int, time: float) -> bool:
        last = self._last_readings.get(track)
        # Rounded times may come early.
        if last is not None and time - last < self._options.describe_every - 1e-6:
            return False
        self._last_readings[track] = time
        return True
