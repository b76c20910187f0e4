"""Images for trained encoders: the same pixels as for frozen ones, with unlimited variations."""

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.errors import DataError
from mien.features.image_reader import ImageReader, load_pixels
from mien.media.images import LoadedImage, Marking, Square, load_image_file
from mien.media.views import prepare_frames
from mien.recipe.features import AugmentKind
from mien.types import Box, ImageRef, Subject

SIDE = 16
MARKED, CROP = Marking(), Marking(style="crop")


square = Square(SIDE)


def subjects(folder: Path, count: int = 4) -> list[Subject]:
    random = np.random.default_rng(0)
    people = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.fromarray(random.integers(256, size=(30, 40, 3), dtype=np.uint8)).save(path)
        people.append(Subject.still(str(number), path, Box(left=5, top=6, right=20, bottom=25)))
    return people


def reader(
    people: list[Subject],
    *,
    markings: tuple[Marking, ...] = (MARKED,),
    augment: tuple[AugmentKind, ...] = (),
    workers: int = 0,
) -> ImageReader:
    return ImageReader(
        people, markings, square, signature="s", num_tokens=4, dim=3, augment=augment, workers=workers
    )


def test_gives_the_pixels_that_the_encoder_reads(tmp_path: Path) -> None:
    people = subjects(tmp_path)
    found = reader(people, markings=(MARKED, CROP))
    assert (len(found), found.num_views, found.num_variants, found.num_tokens, found.dim) == (4, 2, 1, 4, 3)
    read = found.read(np.array([2, 0]))
    assert read.shape == (2, 2, SIDE, SIDE, 3)
    assert read.dtype == np.uint8
    for row, place in enumerate((2, 0)):
        for view, marking in enumerate((MARKED, CROP)):
            (frame,) = prepare_frames(people[place], marking=marking)
            assert np.array_equal(read[row, view], np.asarray(square(frame)))
    assert np.array_equal(load_pixels(people[0], (MARKED, CROP), square), read[1])


def test_every_number_is_another_variation_and_0_is_unchanged(tmp_path: Path) -> None:
    people = subjects(tmp_path)
    plain, varied = reader(people), reader(people, augment=("flip", "crop", "color"))
    assert varied.num_variants > 10**9
    rows, numbers = np.array([1, 1, 1, 1]), np.array([0, 1, 7, 123_456_789])
    found = varied.read(rows, numbers)
    assert np.array_equal(found[:1], plain.read(rows[:1]))
    assert len({image.tobytes() for image in found}) == 4
    assert np.array_equal(
        reader(people, augment=("flip", "crop", "color"), workers=3).read(rows, numbers), found
    )


def test_the_digest_depends_on_everything_that_is_read(tmp_path: Path) -> None:
    people = subjects(tmp_path)
    (tmp_path / "other").mkdir()
    same_elsewhere = subjects(tmp_path / "other")
    assert reader(people).digest == reader(same_elsewhere, workers=2).digest
    others = [
        reader(people[::-1]),
        reader(people, markings=(CROP,)),
        reader(people, augment=("flip",)),
        reader(people[:3]),
    ]
    assert len({reader(people).digest, *(other.digest for other in others)}) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_reported_at_the_start(tmp_path: Path, workers: int) -> None:
    people = subjects(tmp_path, 5)
    (tmp_path / "1.png").unlink()
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:60])  # its header is intact
    outside = Subject.still("outside", tmp_path / "0.png", Box(left=90, top=90, right=95, bottom=95))
    other = Subject.still("other", tmp_path / "2.png")  # another person in the damaged image
    with pytest.raises(DataError) as caught:
        reader([*people, outside, other], workers=workers)
    message = "4 of 7 subjects have no readable image; 1: no image at"
    assert str(caught.value).startswith(message)
    assert "mien data verify" in caught.value.hint
    with pytest.raises(DataError, match=r"1 of 1 subjects .*; outside: "):
        reader([outside], workers=workers)


def test_a_frame_that_cannot_be_decoded_is_reported_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not a clip")
    frames = (ImageRef(path=path, frame=0), ImageRef(path=path, frame=3))
    with pytest.raises(DataError, match="1 of 1 subjects have no readable image; a: "):
        reader([Subject(id="a", images=frames, boxes=(None, None))])


def test_an_image_damaged_later_is_reported_with_its_subject(tmp_path: Path) -> None:
    found = reader(subjects(tmp_path))
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:60])
    with pytest.raises(DataError, match="subject '2': "):
        found.read(np.array([0, 2]))


def test_people_in_one_image_share_only_its_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = subjects(tmp_path, 2)
    box = Box(left=1, top=1, right=9, bottom=9)
    people = [here[0], here[1], Subject.still("also in 0", tmp_path / "0.png", box)]
    opened: list[Path] = []

    def counted(path: Path, **options: Any) -> LoadedImage:
        opened.append(path)
        return load_image_file(path, **options)

    monkeypatch.setattr("mien.media.views.load_image_file", counted)
    found = reader(people)
    assert sorted(opened) == [tmp_path / "0.png", tmp_path / "1.png"]
    separate = [reader([person]).read(np.array([0]))[0] for person in people]
    assert np.array_equal(found.read(np.arange(3)), np.stack(separate))


def test_the_number_of_threads_is_limited_and_they_end_with_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = subjects(tmp_path, 6)
    lock, now, most = threading.Lock(), 0, 0

    def slow(*arguments: Any, **options: Any) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)  # long enough for other threads to start
        with lock:
            now -= 1
        return load_pixels(*arguments, **options)

    monkeypatch.setattr("mien.features.image_reader.load_pixels", slow)
    before = set(threading.enumerate())
    found = ImageReader(people, (MARKED,), square, signature="s", num_tokens=4, dim=3, workers=2)
    with ThreadPoolExecutor(3) as callers:  # as prefetched batches
        batches = list(callers.map(found.read, [np.arange(6)] * 3))
    assert most == 2
    assert all(np.array_equal(batch, reader(people).read(np.arange(6))) for batch in batches)
    workers = [
        thread for thread in set(threading.enumerate()) - before if thread.name.startswith("mien-images")
    ]
    assert len(workers) == 2
    del found
    gc.collect()
    for thread in workers:
        thread.join(10)
    assert not any(thread.is_alive() for thread in workers)
