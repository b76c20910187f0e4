"""Views and variants of a subject in the cache: each once, in a fixed order."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.factories.encoders import ImageEncoder

from mien.features.encode import FeatureCache
from mien.features.feature_views import feature_key
from mien.features.vision_encoder import VisionEncoderSpec, find_vision_encoder
from mien.media.augment import draw_variation
from mien.media.images import Marking
from mien.media.views import prepare_frames
from mien.recipe.features import AugmentKind
from mien.types import Box, ImageRef, Subject

ImageInputs = Callable[[int], list[Path]]
RED, CROP = Marking(), Marking(style="crop")
BOX = Box(left=2, top=3, right=20, bottom=28)
KINDS: tuple[AugmentKind, ...] = ("flip", "crop", "color")


@pytest.fixture
def source(model_folder: Callable[[str], Path]) -> VisionEncoderSpec:
    return find_vision_encoder(model_folder("clip"))


@pytest.fixture
def cache(tmp_path: Path, source: VisionEncoderSpec) -> FeatureCache:
    return FeatureCache(folder=tmp_path / "cache", spec=source, batch_size=3)


def tokens(source: VisionEncoderSpec, subject: Subject, marking: Marking, **options: object) -> torch.Tensor:
    frames = prepare_frames(subject, marking=marking, **options)  # type: ignore[arg-type]
    return torch.cat(list(ImageEncoder(source).encode(frames)))


def assert_close(got: np.ndarray, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(got.astype(np.float32), expected.numpy(), atol=5e-3)  # float16 in the file


def test_the_views_of_a_clip_are_concatenated_frame_by_frame(
    cache: FeatureCache, source: VisionEncoderSpec, images: ImageInputs
) -> None:
    frames = tuple(ImageRef(path=path) for path in images(3))
    clip = Subject(id="clip", images=frames, boxes=(BOX, None, BOX))
    reader = cache.features("train", [clip], (RED, CROP))
    assert (reader.num_views, reader.num_variants) == (2, 1)
    assert reader.num_tokens == 2 * 3 * source.encoder.num_tokens
    expected = torch.cat([tokens(source, clip, RED), tokens(source, clip, CROP)])
    assert_close(reader.read(np.array([0]))[0], expected)


def test_views_share_rows_with_a_cache_of_one_view(cache: FeatureCache, images: ImageInputs) -> None:
    subjects = [Subject.still(str(index), path, BOX) for index, path in enumerate(images(3))]
    marked = cache.features("train", subjects, RED)
    both = cache.features("train", subjects, (RED, CROP))
    cropped = cache.features("train", subjects, CROP)
    rows = np.arange(3)
    joined = np.concatenate((marked.read(rows), cropped.read(rows)), axis=1)
    assert np.array_equal(both.read(rows), joined)
    assert len({marked.digest, both.digest, cropped.digest}) == 3
    assert len(np.load(next(cache.folder.rglob("train.npy")), mmap_mode="r")) == 6


def test_variants_have_varied_images_and_the_first_is_unchanged(
    cache: FeatureCache, source: VisionEncoderSpec, images: ImageInputs
) -> None:
    subjects = [Subject.still(str(index), path, BOX) for index, path in enumerate(images(2))]
    plain = cache.features("train", subjects, RED)
    varied = cache.features("train", subjects, (RED, CROP), augment=KINDS, num_variants=3)
    assert (varied.num_variants, varied.num_views) == (3, 2)
    num_tokens = source.encoder.num_tokens
    rows = np.arange(2)
    assert np.array_equal(varied.read(rows)[:, :num_tokens], plain.read(rows))
    assert np.array_equal(varied.read(rows, np.array([0, 0])), varied.read(rows))
    name = feature_key(subjects[1], Marking(), "variations")
    variation = draw_variation(KINDS, name=name, number=2)
    expected = [tokens(source, subjects[1], marking, variation=variation) for marking in (RED, CROP)]
    got = varied.read(rows, np.array([1, 2]))
    assert_close(got[1], torch.cat(expected))
    assert not np.array_equal(got[0], varied.read(rows)[0])


def test_equal_variants_share_a_row(cache: FeatureCache, images: ImageInputs) -> None:
    subjects = [Subject.still("a", images(1)[0], BOX)]
    reader = cache.features("train", subjects, RED, augment=("flip",), num_variants=8)
    stored = len(np.load(next(cache.folder.rglob("train.npy")), mmap_mode="r"))
    assert (reader.num_variants, stored) == (8, 2)  # unchanged, and mirrored


def test_the_key_depends_on_the_variation(images: ImageInputs) -> None:
    subject = Subject.still("a", images(1)[0], BOX)
    variations = [draw_variation(KINDS, name="a", number=number) for number in range(3)]
    keys = [feature_key(subject, RED, "encoder", variation=variation) for variation in variations]
    assert len(set(keys)) == 3
    assert keys[0] == feature_key(subject, RED, "encoder")
    # A crop never cuts into the box, so the box counts even if it is not drawn.
    none, other = Marking(style="none"), Subject.still("a", images(1)[0])
    assert feature_key(subject, none, "e") == feature_key(other, none, "e")
    changed = [feature_key(one, none, "e", variation=variations[1]) for one in (subject, other)]
    assert changed[0] != changed[1]
