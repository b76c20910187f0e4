"""Near-duplicates: what is found, what is not, and that the search by bands misses none."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from tests.factories.shared_data import shared

from mien.data.audit import fingerprint_cache
from mien.data.audit import near_duplicates as duplicates
from mien.data.audit.fingerprints import Fingerprint, compute_fingerprint, gray_square
from mien.data.audit.image_info import ImageInfo, inspect_image
from mien.data.audit.near_duplicates import (
    MAX_BITS,
    group_exact_duplicates,
    group_near_duplicate_files,
    group_near_duplicates,
)
from mien.playhouse.draw import draw_scene
from mien.playhouse.scene import sample_scene


def _scene(index: int) -> Image.Image:
    return draw_scene(sample_scene(random.Random(f"duplicates {index}"))).image


def _fingerprint(image: Image.Image, path: Path, **options: object) -> Fingerprint:
    image.save(path, **options)  # type: ignore[arg-type]
    found = inspect_image(path)
    assert isinstance(found, ImageInfo), found
    return found.fingerprint


def _copies(image: Image.Image, folder: Path) -> Iterator[Fingerprint]:
    """The image as a PNG, then typical copies of it."""
    width, height = image.size
    yield _fingerprint(image, folder / "a.png", compress_level=1)
    for quality in (30, 60, 95):
        yield _fingerprint(image, folder / "a.jpg", quality=quality)
    yield _fingerprint(image, folder / "a.jpg", quality=80, progressive=True)
    for scale in (0.5, 0.75, 1.5, 2):
        resized = image.resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
        yield _fingerprint(resized, folder / "a.jpg", quality=85)
    for factor in (0.85, 1.15):
        yield _fingerprint(ImageEnhance.Brightness(image).enhance(factor), folder / "a.jpg", quality=85)
    moved = image.crop((round(0.005 * width), 0, width, height))
    yield _fingerprint(moved, folder / "a.jpg", quality=85)


def _check_copies(images: list[Image.Image], folder: Path) -> None:
    """Each copy matches its original directly, and no other image."""
    prints = [list(_copies(image, folder)) for image in images]
    originals = [row[0] for row in prints]
    separate = list(range(len(images)))
    assert group_near_duplicates(originals) == separate
    for number, row in enumerate(prints):
        for copy in row[1:]:
            assert group_near_duplicates([*originals, copy]) == [*separate, number]


def test_copies_of_scenes_are_found_and_scenes_are_distinguished(tmp_path: Path) -> None:
    _check_copies([_scene(index) for index in range(12)], tmp_path)


def test_copies_of_photographs_are_found_and_photographs_are_distinguished(tmp_path: Path) -> None:
    files = sorted(shared("emotic-photos", "images").iterdir())[:12]
    _check_copies([Image.open(path).convert("RGB") for path in files], tmp_path)


def test_different_scenes_do_not_match() -> None:
    prints = [compute_fingerprint(gray_square(_scene(index)), index.to_bytes(32)) for index in range(400)]
    assert group_near_duplicates(prints) == list(range(400))


def test_different_photographs_do_not_match(tmp_path: Path) -> None:
    files = sorted(shared("emotic-photos", "images").iterdir())
    assert group_near_duplicate_files(files, cache=tmp_path) == list(range(len(files)))


def test_plain_surfaces_match_only_if_their_bytes_are_equal(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for path, color in zip(paths, ("red", "blue", "blue", "black"), strict=True):
        Image.new("RGB", (60, 40), color).save(path)
    assert group_near_duplicate_files(paths, cache=tmp_path) == [0, 1, 1, 2]


# --- The search --------------------------------------------------------------------------------------


def _thumbnail(seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, 256, dtype=np.uint8).tobytes()


def _fingerprint_of(index: int, bits: int, thumbnail: bytes) -> Fingerprint:
    return Fingerprint(index.to_bytes(32), bits, thumbnail)


# Two bits in each of four bands, and one in each of the others.
@example(2**63, {0, 1, 11, 12, 22, 23, 33, 34, 44, 54})
@given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=MAX_BITS + 4))
def test_no_pair_within_the_threshold_is_missed(bits: int, flipped: set[int]) -> None:
    other = bits ^ sum(1 << bit for bit in flipped)
    # They differ by one gray level, so that they are compared and not merged as equal.
    first = _thumbnail(0)
    second = bytes([first[0] ^ 1]) + first[1:]
    groups = group_near_duplicates([_fingerprint_of(0, bits, first), _fingerprint_of(1, other, second)])
    assert (groups[0] == groups[1]) == (len(flipped) <= MAX_BITS)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12))
def test_groups_are_connected_components(chosen: list[tuple[int, int]]) -> None:
    hashes, thumbs = (0, 0xFF, 0xFFFF, 2**63), [_thumbnail(seed) for seed in range(3)]
    prints = [_fingerprint_of(index, hashes[a], thumbs[b]) for index, (a, b) in enumerate(chosen)]
    groups = group_near_duplicates(prints)
    # The definition: merge all matching pairs until nothing changes.
    expected = list(range(len(prints)))
    for _ in prints:
        for i, (a, b) in enumerate(chosen):
            for j, (c, d) in enumerate(chosen):
                if b == d and (hashes[a] ^ hashes[c]).bit_count() <= MAX_BITS:
                    expected[i] = expected[j] = min(expected[i], expected[j])
    order = {number: place for place, number in enumerate(dict.fromkeys(expected))}
    assert groups == [order[number] for number in expected]


def test_pairs_are_compared_in_chunks_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    base_hashes = [int(bits) for bits in rng.integers(0, 2**63, 40)]
    prints = [
        _fingerprint_of(index, base_hashes[index % 40] ^ (1 << index % 64), _thumbnail(index % 40))
        for index in range(400)
    ]
    expected = group_near_duplicates(prints)
    assert len(set(expected)) == 40
    monkeypatch.setattr(duplicates, "_PAIRS_AT_ONCE", 64)
    assert group_near_duplicates(prints) == expected


def test_a_broken_file_is_in_a_group_by_itself() -> None:
    same = _fingerprint_of(7, 1, _thumbnail(1))
    assert group_near_duplicates([None, same, None, same]) == [0, 1, 2, 1]
    assert group_exact_duplicates([None, same, None, same]) == [0, 1, 2, 1]
    assert group_near_duplicates([]) == []


# --- The cache ---------------------------------------------------------------------------------------


def test_an_image_is_decoded_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path, index in zip(paths, (1, 2, 1), strict=True):
        _scene(index).save(path, "PNG", compress_level=0)
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    paths += [tmp_path / "broken.jpg", tmp_path / "absent.jpg"]
    opened: list[str] = []

    def counted(path: Path) -> object:
        opened.append(path.name)
        return inspect_image(path)

    monkeypatch.setattr(fingerprint_cache, "inspect_image", counted)
    cache = tmp_path / "cache"
    assert group_near_duplicate_files(paths, cache=cache) == [0, 1, 0, 2, 3]
    assert sorted(opened) == ["0.png", "1.png", "2.png", "broken.jpg"]
    assert group_near_duplicate_files(paths, cache=cache) == [0, 1, 0, 2, 3]
    assert len(opened) == 4
    # The same size as before, so that only the modification time differs.
    _scene(2).save(paths[2], "PNG", compress_level=0)
    assert group_near_duplicate_files(paths, cache=cache) == [0, 1, 1, 2, 3]
    assert opened[4:] == ["2.png"]
    assert not list(cache.rglob("*.tmp"))


def test_a_damaged_cache_is_written_again(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png"]
    _scene(0).save(paths[0])
    cache = tmp_path / "cache"
    group_near_duplicate_files(paths, cache=cache)
    (file,) = cache.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:50])
    assert group_near_duplicate_files(paths, cache=cache) == [0]
    assert group_near_duplicate_files([tmp_path / "absent.png"], cache=cache) == [0]
