"""Encoding into the cache: each image once, found by its content."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.factories.encoders import ImageEncoder

from mien.errors import DataError
from mien.features.encode import EncodeProgress, FeatureCache
from mien.features.feature_views import feature_key
from mien.features.vision_encoder import VisionEncoderSpec, find_vision_encoder
from mien.media.images import Marking
from mien.media.views import prepare_image
from mien.types import Box, ImageRef, Subject

ImageInputs = Callable[[int], list[Path]]
RED, NONE = Marking(), Marking(style="none")
BOX, OTHER_BOX = Box(left=2, top=3, right=20, bottom=28), Box(left=5, top=3, right=20, bottom=28)


class Counted:
    """An encoder that counts the images that it encodes."""

    def __init__(self, spec: VisionEncoderSpec) -> None:
        self.spec = spec
        self.num_encoded = 0
        self._encode = spec.encoder.encode
        spec.encoder.encode = self._count  # type: ignore[method-assign]

    def _count(self, pixels: np.ndarray) -> torch.Tensor:
        self.num_encoded += pixels.shape[0] * pixels.shape[1]
        return self._encode(pixels)

    def encode(self, images: Sequence[Image.Image]) -> torch.Tensor:
        return ImageEncoder(self.spec).encode(images)


@pytest.fixture
def counted(model_folder: Callable[[str], Path]) -> Counted:
    return Counted(find_vision_encoder(model_folder("clip")))


def cache(folder: Path, counted: Counted, *, batch_size: int = 8, workers: int = 0) -> FeatureCache:
    return FeatureCache(folder=folder / "cache", spec=counted.spec, batch_size=batch_size, workers=workers)


def stills(paths: list[Path], box: Box | None = BOX) -> list[Subject]:
    return [Subject.still(f"person {index}", path, box) for index, path in enumerate(paths)]


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (2, 0), (8, 0), (2, 2), (1, 3)])
def test_gives_the_tokens_of_the_marked_image(
    tmp_path: Path, counted: Counted, images: ImageInputs, batch_size: int, workers: int
) -> None:
    subjects = stills(images(5))
    reader = cache(tmp_path, counted, batch_size=batch_size, workers=workers).features("train", subjects, RED)
    expected = torch.cat([counted.encode([prepare_image(subject, marking=RED)]) for subject in subjects])
    # float16 has 11 bits; tokens are normed to about 1.
    np.testing.assert_allclose(reader.read(np.arange(5)), expected.numpy(), atol=5e-3)


def test_encodes_each_image_once(tmp_path: Path, counted: Counted, images: ImageInputs) -> None:
    paths = images(4)
    first, all_subjects = stills(paths[:3]), stills(paths)
    events: list[EncodeProgress] = []
    cache(tmp_path, counted).features("train", [*first, *first], RED)
    assert counted.num_encoded == 3
    cache(tmp_path, counted).features("train", all_subjects, RED, events.append)
    assert counted.num_encoded == 4
    assert [(event.done, event.total, event.cached) for event in events] == [(1, 1, 3)]
    cache(tmp_path, counted).features("train", all_subjects, RED)
    assert counted.num_encoded == 4


def test_the_encoder_is_not_built_if_nothing_is_missing(
    tmp_path: Path, model_folder: Callable[[str], Path], counted: Counted, images: ImageInputs
) -> None:
    subjects = stills(images(2))
    cache(tmp_path, counted).features("train", subjects, RED)
    source = find_vision_encoder(model_folder("clip"))
    FeatureCache(folder=tmp_path / "cache", spec=source).features("train", subjects, RED)
    assert "encoder" not in vars(source)  # a cached property is stored there


def test_resumes_after_an_interruption(tmp_path: Path, counted: Counted, images: ImageInputs) -> None:
    subjects = stills(images(5))

    def stop(event: EncodeProgress) -> None:
        if event.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache(tmp_path, counted, batch_size=1).features("train", subjects, RED, stop)
    reader = cache(tmp_path, counted).features("train", subjects, RED)
    assert counted.num_encoded == 5
    fresh = cache(tmp_path / "elsewhere", counted).features("train", subjects, RED)
    assert np.array_equal(reader.read(np.arange(5)), fresh.read(np.arange(5)))


def test_two_people_in_one_image_have_different_features_if_marked(
    tmp_path: Path, counted: Counted, images: ImageInputs
) -> None:
    (path,) = images(1)
    pair = [Subject.still("left", path, BOX), Subject.still("right", path, OTHER_BOX)]
    marked = cache(tmp_path, counted).features("train", pair, RED).read(np.arange(2))
    assert not np.array_equal(marked[0], marked[1])
    before = counted.num_encoded
    plain = cache(tmp_path, counted).features("train", pair, NONE).read(np.arange(2))
    assert np.array_equal(plain[0], plain[1])
    assert counted.num_encoded == before + 1


def test_the_key_depends_on_the_content(images: ImageInputs, tmp_path: Path) -> None:
    path, other = images(2)
    key = feature_key(Subject.still("a", path, BOX), RED, "encoder")
    moved = Path(shutil.copy(path, tmp_path / "elsewhere.png"))
    assert feature_key(Subject.still("b", moved, BOX), RED, "encoder") == key
    whole = Box(left=2.0, top=3.0, right=20.0, bottom=28.0)
    assert feature_key(Subject.still("a", path, whole), RED, "encoder") == key
    different = {
        feature_key(Subject.still("a", other, BOX), RED, "encoder"),
        feature_key(Subject.still("a", path, OTHER_BOX), RED, "encoder"),
        feature_key(Subject.still("a", path, None), RED, "encoder"),
        feature_key(Subject.still("a", path, BOX), NONE, "encoder"),
        feature_key(Subject.still("a", path, BOX), Marking(width=0.02), "encoder"),
        feature_key(Subject.still("a", path, BOX), RED, "another encoder"),
    }
    assert len(different | {key}) == 7


def test_unreadable_images_are_reported_after_the_others_are_encoded(
    tmp_path: Path, counted: Counted, images: ImageInputs
) -> None:
    paths = images(3)
    paths[0].write_bytes(b"not an image")
    subjects = [*stills(paths), Subject.still("missing", tmp_path / "nowhere.png")]
    subjects.append(Subject.still("outside", paths[1], Box(left=90, top=90, right=99, bottom=99)))
    with pytest.raises(DataError, match="3 of 5 subjects have no features") as caught:
        cache(tmp_path, counted).features("train", subjects, RED)
    assert "others are done" in caught.value.hint
    assert counted.num_encoded == 2
    cache(tmp_path, counted).features("train", subjects[1:3], RED)
    assert counted.num_encoded == 2


def _clip(paths: list[Path], count: int) -> Subject:
    """A subject in several images, as in the frames of a clip."""
    images = tuple(ImageRef(path=path) for path in paths[:count])
    return Subject(id=str(count), images=images, boxes=(BOX,) * count)


def test_the_tokens_of_frames_are_concatenated(tmp_path: Path, counted: Counted, images: ImageInputs) -> None:
    paths = images(6)
    clips = [_clip(paths[:3], 3), _clip(paths[3:], 3)]
    reader = cache(tmp_path, counted).features("train", clips, RED)
    frames = [
        prepare_image(Subject.still("x", image.path, BOX), marking=RED)
        for one in clips
        for image in one.images
    ]
    expected = counted.encode(frames)
    assert reader.num_tokens == 3 * expected.shape[1]
    np.testing.assert_allclose(
        reader.read(np.arange(2)), expected.reshape(2, -1, expected.shape[2]).numpy(), atol=5e-3
    )


def test_clips_of_different_lengths_share_a_folder_but_not_a_split(
    tmp_path: Path, counted: Counted, images: ImageInputs
) -> None:
    paths = images(3)
    for count in (1, 2, 3, 2, 1):
        assert len(cache(tmp_path, counted).features("train", [_clip(paths, count)], RED)) == 1
    assert counted.num_encoded == 1 + 2 + 3
    with pytest.raises(DataError, match="1 frames and '3' has 3"):
        cache(tmp_path, counted).features("train", [_clip(paths, 1), _clip(paths, 3)], RED)
