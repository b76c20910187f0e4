"""Clips, second views and augmented images, from files to a trained run and back."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.factories.tiny_llava import build_tiny_llava
from tests.factories.training import Interrupted, interrupt_after
from tests.factories.weights import are_bit_equal, read_weights

from mien.batches.batch import SplitData
from mien.batches.builder import InputBuilder
from mien.errors import DataError, RunError
from mien.labels import CAERS
from mien.model.checkpoint import load_trained
from mien.recipe import Recipe
from mien.train.loop import train
from mien.train.sampling import draw_variants
from mien.types import Box, ImageRef, Sample, Subject, Target

BOX = Box(left=4, top=4, right=24, bottom=28)


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llava(tmp_path_factory.mktemp("model") / "llava")


@pytest.fixture
def recipe_of(llava: Path) -> Callable[..., Recipe]:
    def make(**features: Any) -> Recipe:
        table = {
            "name": "tiny",
            "features": {"vision": str(llava), **features},
            "model": {"fusion": "image_only", "width": 16, "heads": 2, "num_queries": 2},
            "train": {"epochs": 3, "batch_size": 4},
        }
        return Recipe.parse(table, where="test")

    return make


def samples(folder: Path, split: str, *, frames: int = 1, count: int = 6) -> list[Sample]:
    made = []
    for index in range(count):
        images = []
        for frame in range(frames):
            path = folder / f"{split} {index} {frame}.png"
            noise = random.Random(str(path.name)).randbytes(40 * 32 * 3)
            Image.frombytes("RGB", (40, 32), noise).save(path)
            images.append(ImageRef(path=path))
        subject = Subject(id=f"{split} {index}", images=tuple(images), boxes=(BOX,) * frames)
        target = Target(labels={CAERS.labels[index % len(CAERS)]: 1.0})
        made.append(Sample(subject=subject, target=target, split=split))
    return made


def splits(folder: Path, recipe: Recipe, frames: tuple[int, int] = (1, 1)) -> tuple[SplitData, SplitData]:
    builder = InputBuilder.from_recipe(recipe, folder / "cache")
    train_split, val = (
        builder.build_split(name, samples(folder, name, frames=count), CAERS)
        for name, count in zip(("train", "val"), frames, strict=True)
    )
    return train_split, val


def test_the_number_of_frames_and_views_reaches_the_trained_model(
    tmp_path: Path, recipe_of: Callable[..., Recipe]
) -> None:
    recipe = recipe_of(views=["marked", "crop"])
    data, val = splits(tmp_path, recipe, (3, 3))
    assert (data.num_frames, data.num_views, data.num_variants) == (3, 2, 1)
    train(recipe, data, val, tmp_path / "run")
    trained = load_trained(tmp_path / "run")
    assert (trained.num_frames, trained.num_views) == (3, 2)
    assert trained.classifier.fusion.frame_embedding is not None
    trained.check_inputs(data.spec, "train")
    others = splits(tmp_path, recipe, (2, 2))  # with the same cache
    with pytest.raises(RunError, match="number of frames 2, and the model was trained with 3"):
        trained.check_inputs(others[1].spec, "val")
    one_view = splits(tmp_path, recipe_of(), (3, 3))
    with pytest.raises(RunError, match="number of views 1, and the model was trained with 2"):
        trained.check_inputs(one_view[1].spec, "val")


def test_train_and_val_with_different_numbers_of_frames_are_refused(
    tmp_path: Path, recipe_of: Callable[..., Recipe]
) -> None:
    recipe = recipe_of()
    data, val = splits(tmp_path, recipe, (4, 2))
    with pytest.raises(DataError, match=r"'train' has 4 frames per subject, and 'val' has 2"):
        train(recipe, data, val, tmp_path / "run")


def test_only_the_training_split_is_augmented(tmp_path: Path, recipe_of: Callable[..., Recipe]) -> None:
    recipe = recipe_of(augment=["flip", "crop", "color"], augment_views=3)
    data, val = splits(tmp_path, recipe)
    plain, plain_val = splits(tmp_path, recipe_of())
    assert (data.num_variants, val.num_variants) == (3, 1)
    rows = np.arange(len(data))
    as_it_is, expected = data.batch(rows).image, plain.batch(rows).image
    varied = data.batch(rows, variants=np.full(len(data), 2)).image
    assert as_it_is is not None
    assert expected is not None
    assert varied is not None
    assert torch.equal(as_it_is, expected)
    assert not torch.equal(varied, as_it_is)
    assert data.fingerprint() != plain.fingerprint()
    assert val.fingerprint() == plain_val.fingerprint()


def test_resuming_a_training_with_augmentation_gives_the_same_bits(
    tmp_path: Path, recipe_of: Callable[..., Recipe]
) -> None:
    recipe = recipe_of(augment=["flip", "crop", "color"], augment_views=3)
    data, val = splits(tmp_path, recipe)
    train(recipe, data, val, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(recipe, data, val, tmp_path / "resumed", on_progress=interrupt_after(3), save_seconds=0)
    train(recipe, data, val, tmp_path / "resumed")
    whole = read_weights(tmp_path / "whole")
    assert are_bit_equal(whole, read_weights(tmp_path / "resumed"))
    # Augmentation changed the training.
    train(recipe_of(), *splits(tmp_path, recipe_of()), tmp_path / "plain")
    assert not are_bit_equal(whole, read_weights(tmp_path / "plain"))


def test_variants_depend_on_seed_and_step_and_all_occur() -> None:
    rows = np.arange(64)
    drawn = draw_variants(rows, 4, seed=1, step=2)
    assert drawn is not None
    assert set(drawn.tolist()) == {0, 1, 2, 3}
    again, later = draw_variants(rows, 4, seed=1, step=2), draw_variants(rows, 4, seed=1, step=3)
    assert again is not None
    assert later is not None
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn, later)
    assert draw_variants(rows, 1, seed=1, step=2) is None
