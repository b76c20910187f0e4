"""People are found in photos and followed through videos: each is read every few seconds."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.factories.color_people import ColorDetector, crossing, damage_frame, draw_people, film_people

from mien.errors import ClipError, DataError, ImageError, MienError
from mien.media.views import load_image
from mien.predict.base import SubjectPredictor
from mien.predict.results import Results
from mien.predict.sources.open import SourceOptions, open_sources
from mien.predict.track.tracker import TrackOptions
from mien.prefetch import batched
from mien.types import Prediction, Subject


class ShareOfRed(SubjectPredictor):
    """Predicts how red a person is."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.images: list[weakref.ref[Image.Image]] = []
        self.most_images = 0
        self.colors = self.detector = ColorDetector()
        self.tracking = TrackOptions(describe_every=1.0, time_constant=0.5)

    def each(
        self, subjects: Iterable[Subject], *, batch_size: int | None = None
    ) -> Iterator[Prediction | MienError]:
        for subject in subjects:
            self.subjects.append(subject.id)
            pixels = subject.images[0].pixels
            if pixels is not None:
                self.images.append(weakref.ref(pixels))
            alive = sum(image() is not None for image in self.images)
            self.most_images = max(self.most_images, alive)
            try:
                image, box = load_image(subject.images[0]).image, subject.boxes[0]
                crop = image if box is None else image.crop(box.clip(*image.size).as_tuple())
            except DataError as error:
                yield error
                continue
            red = crop.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))[0] / 255  # type: ignore[index]
            scores = {"red": red, "other": 1 - red}
            yield Prediction(
                subject_id=subject.id, label_set="own", scores=scores, thresholds=dict.fromkeys(scores, 0.5)
            )


class InBatches(ShareOfRed):
    """Answers in batches of four people."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def each(
        self, subjects: Iterable[Subject], *, batch_size: int | None = None
    ) -> Iterator[Prediction | MienError]:
        for batch in batched(subjects, batch_size or 4):
            self.sizes.append(len(batch))
            yield from super().each(batch)


@pytest.fixture
def predictor() -> ShareOfRed:
    return ShareOfRed()


def test_people_are_found_in_photos_and_no_one_is_a_result(predictor: ShareOfRed, tmp_path: Path) -> None:
    draw_people([(10, 10, 50, 100), (90, 10, 150, 100)]).save(tmp_path / "two.png")
    draw_people([]).save(tmp_path / "none.png")
    found = predictor(tmp_path / "two.png")
    assert [(person.box_source, person.box_score, person.track) for person in found] == [
        ("detected", 0.9, None)
    ] * 2
    assert [round(person.scores["red"]) for person in found] == [1, 0]
    no_one = predictor(tmp_path / "none.png")
    assert (len(no_one), no_one.status, no_one.errors) == (0, "no person", ())
    (row,) = no_one.rows()
    assert (row["status"], row["error"]) == ("no person", None)
    given = predictor(tmp_path / "two.png", boxes=[(0, 0, 9, 9)])
    assert [person.box_source for person in given] == ["given"]
    assert predictor.colors.num_images == 2


@pytest.mark.parametrize(("batch_size", "sizes"), [(None, [4, 4, 1]), (2, [2, 2, 2, 2, 1]), (9, [9])])
def test_batches_are_of_people_and_not_of_photos(
    tmp_path: Path, batch_size: int | None, sizes: list[int]
) -> None:
    counts = [3, 0, 2, 3, 1, 0]
    for number, count in enumerate(counts):
        draw_people([(20 + 80 * n, 10, 60 + 80 * n, 100) for n in range(count)]).save(
            tmp_path / f"{number}.png"
        )
    (tmp_path / "7.png").write_bytes(b"no image")
    predictor = InBatches()
    results = list(predictor.stream(tmp_path, batch_size=batch_size))
    assert predictor.sizes == sizes
    assert [Path(item.source).stem for item in results] == [*"012345", "7"]
    assert [len(item) for item in results] == [*counts, 0]
    assert [item.status for item in results[-2:]] == ["no person", "failed"]
    reds = [[round(person.scores["red"]) for person in item] for item in results]
    assert reds == [[1, 0, 0], [], [1, 0], [1, 0, 0], [1], [], []]


def test_a_person_does_not_wait_for_a_batch_that_never_fills(tmp_path: Path) -> None:
    draw_people([(10, 10, 50, 100)]).save(tmp_path / "one.png")
    draw_people([]).save(tmp_path / "none.png")
    taken = 0

    def photos() -> Iterator[Path]:
        nonlocal taken
        for name in ("none", "none", "one", *["none"] * 500):
            taken += 1
            yield tmp_path / f"{name}.png"

    stream = InBatches().stream(photos())
    assert [len(next(stream)) for _ in range(2)] == [0, 0]
    assert taken <= 12  # a batch of the detector, and what is decoded ahead
    assert len(next(stream)) == 1
    assert taken <= 80


def test_sixty_people_and_one_of_three_pixels(predictor: ShareOfRed, tmp_path: Path) -> None:
    places = [
        (20 * (n % 15) + 4, 40 * (n // 15) + 2, 20 * (n % 15) + 16, 40 * (n // 15) + 36) for n in range(60)
    ]
    draw_people(places).save(tmp_path / "crowd.png")
    crowd = predictor(tmp_path / "crowd.png")
    assert (len(crowd), crowd.status) == (60, "ok")
    draw_people([(100, 100, 103, 103)]).save(tmp_path / "tiny.png")
    (tiny,) = predictor(tmp_path / "tiny.png")
    assert tiny.box is not None
    assert (tiny.box.width, tiny.status) == (3, "ok")


def test_a_bad_photo_is_reported_in_its_place(predictor: ShareOfRed, tmp_path: Path) -> None:
    draw_people([(10, 10, 50, 100)]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:80])
    draw_people([(10, 10, 50, 100)]).save(tmp_path / "c.png")
    results = list(predictor.stream([tmp_path, (tmp_path / "a.png", [(900, 900, 950, 950)])]))
    assert [item.status for item in results] == ["ok", "failed", "ok", "failed"]
    assert isinstance(results[1].error, ImageError)


def test_people_who_cross_keep_their_numbers_and_are_read_every_second(
    predictor: ShareOfRed, tmp_path: Path
) -> None:
    video = film_people(tmp_path / "crossing.mp4", crossing(4))
    predictor.detector = ColorDetector(one_per_color=True)
    results = list(predictor.stream(video, fps=5))
    assert [item.frame for item in results] == list(range(0, 100, 5))
    assert [item.time for item in results] == pytest.approx([n / 5 for n in range(20)])
    places = crossing(4)
    for item in results:
        assert item.frame is not None
        for person in item:
            assert person.track in {0, 1}
            left, _, right, _ = places[item.frame][person.track or 0]
            assert person.box is not None
            # One can hide half of the other.
            assert abs(person.box.left + person.box.right - left - right) / 2 < 21
    assert len(predictor.subjects) == pytest.approx(8, abs=1)
    # Every frame has a row per person, with what was read last.
    assert sum(map(len, results)) > 30


def test_scores_are_smoothed_over_time(predictor: ShareOfRed, tmp_path: Path) -> None:
    red, blue = [(100, 20, 140, 140)], [(0, 0, 1, 1), (100, 20, 140, 140)]
    video = film_people(tmp_path / "change.mp4", [red] * 25 + [blue] * 50)
    results = list(predictor.stream(video, fps=5))
    scores = [item[0].scores["red"] for item in results]
    assert scores[0] == scores[4] > 0.8
    # One second is two time constants: exp(-2) of the past is left.
    assert scores[5] == pytest.approx(scores[0] * 0.135, abs=0.03)
    assert scores[10] < scores[5]
    assert results[0][0].above == ("red",)
    assert results[-1][0].above == ("other",)


def test_two_videos_in_a_row_and_a_photo_between_have_numbers_of_their_own(
    predictor: ShareOfRed, tmp_path: Path
) -> None:
    video = film_people(tmp_path / "one.mp4", [[(100, 20, 140, 140)]] * 5)
    draw_people([(10, 10, 50, 100)]).save(tmp_path / "a.png")
    results = list(predictor.stream([video, video, tmp_path / "a.png", video], every=4))
    assert [item[0].track for item in results] == [0, 0, 0, 0, None, 0, 0]
    assert len(predictor.subjects) == 4


def test_without_a_detector_a_video_is_one_person_throughout(predictor: ShareOfRed, tmp_path: Path) -> None:
    predictor.detector = None
    video = film_people(tmp_path / "one.mp4", [[(100, 20, 140, 140)]] * 50)
    results = list(predictor.stream(video, fps=5))
    assert [(item[0].track, item[0].box_source) for item in results] == [(0, "whole")] * 10
    assert len(predictor.subjects) == 2


def test_a_damaged_frame_is_an_error_in_its_place(predictor: ShareOfRed, tmp_path: Path) -> None:
    video = film_people(tmp_path / "bad.mp4", [[(100, 20, 140, 140)]] * 10, options={"g": "1"})
    damage_frame(video, 4)
    results = list(predictor.stream(video, every=2))
    assert [(item.frame, item.status) for item in results] == [
        (0, "ok"),
        (2, "ok"),
        (4, "failed"),
        (6, "ok"),
        (8, "ok"),
    ]
    assert isinstance(results[2].error, ClipError)
    assert {person.track for item in results for person in item} == {0}


def test_memory_does_not_grow_with_the_length_of_a_video(predictor: ShareOfRed, tmp_path: Path) -> None:
    predictor.tracking = TrackOptions(describe_every=0)
    video = film_people(tmp_path / "long.mp4", [[(100, 20, 140, 140)]] * 80)
    kept = list(predictor.stream(video, every=1, batch_size=4))
    assert len(predictor.images) == 80
    # A batch, the batch of the detector, and what is decoded ahead.
    assert predictor.most_images <= 20
    assert all(item.image.pixels is None for item in kept)
    assert kept[77].annotate().size == kept[0].annotate().size


@pytest.mark.parametrize("num_done", [0, 1, 7, 12, 20])
def test_a_run_that_goes_on_gives_the_same_results(
    predictor: ShareOfRed, tmp_path: Path, num_done: int
) -> None:
    video = film_people(tmp_path / "crossing.mp4", crossing(4))
    predictor.detector = ColorDetector(one_per_color=True)

    def run(done: list[Results]) -> list[Results]:
        sources = open_sources(video, SourceOptions(fps=5))
        return [found.results for found in predictor.run(sources, done=done)]

    whole = run([])
    predictor.subjects.clear()
    again = run(whole[:num_done])
    assert [item.rows() for item in again] == [item.rows() for item in whole]
    if num_done:
        assert len(predictor.subjects) < 9
    with pytest.raises(DataError, match="no longer among the sources"):
        list(predictor.run([], done=whole[:1]))
    with pytest.raises(DataError, match="is in the place where"):
        list(predictor.run(open_sources([tmp_path / "a.png"]), done=whole[:1]))
