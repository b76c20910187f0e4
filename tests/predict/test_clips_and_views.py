"""Predicting with a run that was trained on clips, in two views, with halves of long texts."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.factories.training import train_on_samples

from mien.batches.builder import InputBuilder
from mien.describe.fake import FakeEngine, FakeOptions
from mien.errors import DataError
from mien.evaluate.scorer import score_split
from mien.labels import CAERS
from mien.model.checkpoint import load_trained
from mien.predict.predictor import Predictor
from mien.recipe import DescribeOptions, FeatureOptions, ModelOptions, Recipe, TrainOptions
from mien.types import Box, ImageRef, Sample, Subject, Target

FRAMES = 3


def _clips(folder: Path, split: str) -> list[Sample]:
    made = []
    for index in range(6):
        images = []
        for frame in range(FRAMES):
            path = folder / f"{split}{index}{frame}.png"
            noise = random.Random(path.name).randbytes(48 * 32 * 3)
            Image.frombytes("RGB", (48, 32), noise).save(path)
            images.append(ImageRef(path=path))
        box = Box(left=4, top=4, right=24, bottom=28)
        subject = Subject(id=f"{split}/{index}", images=tuple(images), boxes=(box,) * FRAMES)
        target = Target(labels={CAERS.labels[index % len(CAERS)]: 1.0})
        made.append(Sample(subject=subject, target=target, split=split))
    return made


@pytest.fixture(scope="module")
def recipe(llava: Path) -> Recipe:
    return Recipe(
        name="clips",
        describe=DescribeOptions(engine="fake", model="fake"),
        features=FeatureOptions(
            vision=str(llava),
            views=("marked", "crop"),
            tokens="patches",
            augment=("flip", "color"),
            augment_views=2,
            max_text_tokens=8,
            truncate="head_tail",
        ),
        model=ModelOptions(fusion="cross_attention", width=16, heads=2, num_queries=2),
        train=TrainOptions(epochs=2, batch_size=4, lr=0.01),
    )


def test_predicting_equals_evaluating_and_other_clips_are_refused(tmp_path: Path, recipe: Recipe) -> None:
    samples = {split: _clips(tmp_path, split) for split in ("train", "val", "test")}
    engine = FakeEngine(FakeOptions(num_words=40))
    run, cache = tmp_path / "run", tmp_path / "cache"
    texts = {one.subject.id: "any words at all" for split in samples.values() for one in split}
    train_on_samples(recipe, samples, CAERS, descriptions=texts, cache=cache, out=run)
    predictor = Predictor.from_pretrained(run, engine=engine)
    subjects = [sample.subject for sample in samples["test"]]
    predictions = predictor.predict(subjects)
    said = {one.subject_id: one.description.text for one in predictions if one.description}
    data = InputBuilder.from_recipe(recipe, cache).build_split(
        "test", samples["test"], CAERS, descriptions=said
    )
    assert (data.num_frames, data.num_views, data.num_variants) == (FRAMES, 2, 1)
    scores = score_split(load_trained(run).classifier, data).scores
    np.testing.assert_allclose([list(one.scores.values()) for one in predictions], scores, atol=1e-5)
    shorter = replace(subjects[0], images=subjects[0].images[:2], boxes=subjects[0].boxes[:2])
    first, second = predictor.each([shorter, subjects[1]])
    assert isinstance(first, DataError)
    assert "has 2 frames, and the run was trained on 3" in str(first)
    assert not isinstance(second, DataError)
