"""Playhouse in CAER-S's layout: the files are like the release's, and the same each time."""

from pathlib import Path

from PIL import Image

from mien.data import open_dataset
from mien.labels import CAERS
from mien.playhouse.figure import SKIN_RGB
from mien.playhouse.layouts.caers import sample_frames, write
from mien.recipe import DataOptions


def _files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.*")}


def test_the_layout_is_that_of_the_release(tmp_path: Path) -> None:
    write(tmp_path, train=10, val=2, test=4, seed=5)
    assert {path.name for path in tmp_path.iterdir()} == {"train", "test", "faces"}
    for split, count in (("train", 10), ("test", 6)):
        assert sorted(path.name for path in (tmp_path / split).iterdir()) == sorted(CAERS.labels)
        images = list((tmp_path / split).glob("*/*"))
        assert len(images) == count
        assert all(Image.open(path).format == "PNG" for path in images)
        lines = (tmp_path / "faces" / f"{split}.txt").read_text().splitlines()
        assert sorted(line.split(",")[0] for line in lines) == sorted(
            path.relative_to(tmp_path).as_posix() for path in images
        )
        assert all(CAERS.labels[int(line.split(",")[1])] == line.split("/")[1] for line in lines)


def test_names_collide_across_classes(tmp_path: Path) -> None:
    write(tmp_path, train=30, val=0, test=0, seed=5)
    first = list((tmp_path / "train").glob("*/0001.png"))
    assert len(first) > 1


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name, count, seed in (("a", 6, 1), ("b", 6, 1), ("c", 6, 2), ("d", 9, 1)):
        write(tmp_path / name, train=count, val=1, test=1, seed=seed)
    a, b, c, d = (_files(tmp_path / name) for name in "abcd")
    assert a == b
    assert a != c
    images = {name: data for name, data in a.items() if name.endswith(".png")}
    assert images.items() <= d.items()


def test_a_face_is_mostly_skin() -> None:
    for frame in sample_frames("test", 12, 3):
        assert frame.face is not None
        left, top, right, bottom = (round(edge) for edge in frame.face.as_tuple())
        assert (left, top) >= (0, 0)
        assert (right, bottom) <= frame.image.size
        face = frame.image.crop((left, top, right, bottom))
        colors = {color: count for count, color in face.getcolors(10**6) or []}
        assert max(colors.get(skin, 0) for skin in SKIN_RGB.values()) > face.width * face.height / 5


def test_the_reader_of_the_release_reads_it(tmp_path: Path) -> None:
    write(tmp_path, train=6, val=2, test=3, seed=1)
    dataset = open_dataset(
        DataOptions(name="caers", root=tmp_path, options={"faces": "faces"}), cache=tmp_path / "cache"
    )
    assert dataset.problems() == []
    for split, count in (("train", 6), ("test", 5)):
        samples = list(dataset.samples(split))
        assert len(samples) == count
        assert all(sample.subject.boxes[0] is not None for sample in samples)
