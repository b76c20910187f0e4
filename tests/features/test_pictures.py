"""Pictures for encoders that learn: the same squares as for those that do not, varied without end."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import DataError
from mien.features.pictures import PictureReader, squares_of
from mien.images import Marking, fit
from mien.types import AugmentKind, Box, Subject
from mien.views import prepare_frames

SIDE = 16
MARKED, CROP = Marking(), Marking(style="crop")


def square(image: Image.Image) -> Image.Image:
    return fit(image, SIDE, "letterbox")


def subjects(folder: Path, count: int = 4) -> list[Subject]:
    lots = np.random.default_rng(0)
    found = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.fromarray(lots.integers(256, size=(30, 40, 3), dtype=np.uint8)).save(path)
        found.append(Subject.still(str(number), path, Box(left=5, top=6, right=20, bottom=25)))
    return found


def reader(
    people: list[Subject],
    *,
    markings: tuple[Marking, ...] = (MARKED,),
    augment: tuple[AugmentKind, ...] = (),
    workers: int = 0,
) -> PictureReader:
    return PictureReader(
        people, markings, square, signature="s", num_tokens=4, dim=3, augment=augment, workers=workers
    )


def test_it_gives_what_the_encoder_would_see(tmp_path: Path) -> None:
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
    assert np.array_equal(squares_of(people[0], (MARKED, CROP), square), read[1])


def test_every_number_is_another_variation_and_0_is_none(tmp_path: Path) -> None:
    people = subjects(tmp_path)
    plain, varied = reader(people), reader(people, augment=("flip", "crop", "color"))
    assert varied.num_variants > 10**9
    rows, numbers = np.array([1, 1, 1, 1]), np.array([0, 1, 7, 123_456_789])
    found = varied.read(rows, numbers)
    assert np.array_equal(found[:1], plain.read(rows[:1]))
    assert len({picture.tobytes() for picture in found}) == 4
    assert np.array_equal(
        reader(people, augment=("flip", "crop", "color"), workers=3).read(rows, numbers), found
    )


def test_the_digest_follows_all_that_is_seen(tmp_path: Path) -> None:
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


def test_what_is_missing_is_told_at_once_and_what_is_damaged_by_its_subject(tmp_path: Path) -> None:
    people = subjects(tmp_path)
    (tmp_path / "1.png").unlink()
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:60])
    with pytest.raises(DataError, match="1 of 4 subjects have no picture; 1: no picture at"):
        reader(people)
    with pytest.raises(DataError, match="subject '2': "):
        reader([people[0], people[2]]).read(np.array([0, 1]))
