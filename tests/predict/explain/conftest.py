"""A run whose descriptions can name labels, and a person it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.factories.training import train_on_samples

from mien.describe.fake import FakeEngine
from mien.labels import CAERS
from mien.predict.predictor import Predictor
from mien.recipe import DescribeOptions, FeatureOptions, ModelOptions, Recipe, RunOptions, TrainOptions
from mien.types import Sample, Subject

_WORDS = (
    *(
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        ".",
        ",",
        "they",
        "feel",
        "and",
        "perhaps",
        "not",
        "words",
        "about",
    ),
    *("calm", "tense", "weary", "alone", "friends", "smiling", "person", "near", "others", "away"),
    *(label.lower() for label in CAERS.labels),
)


@pytest.fixture(scope="session")
def naming_run(
    tmp_path_factory: pytest.TempPathFactory, llava: Path, samples: dict[str, list[Sample]]
) -> Path:
    """A Q-Former with one query per label, and a bonus for labels that are named."""
    folder = tmp_path_factory.mktemp("naming")
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(_WORDS))
    recipe = Recipe(
        name="naming",
        describe=DescribeOptions(engine="fake", model=str(llava)),
        features=FeatureOptions(vision=str(llava), tokenizer=str(vocabulary), max_text_tokens=24),
        model=ModelOptions(
            fusion="qformer",
            width=16,
            layers=2,
            heads=2,
            num_queries=len(CAERS),
            label_names=True,
            options={"pooling": "class"},
        ),
        train=TrainOptions(epochs=2, batch_size=4, lr=0.01),
        run=RunOptions(batch_size=3),
    )
    texts = {
        sample.subject.id: f"They feel {label}."
        for split in samples.values()
        for sample in split
        for label in (sample.target.labels if sample.target else ())
    }
    train_on_samples(recipe, samples, CAERS, descriptions=texts, cache=folder / "cache", out=folder / "run")
    return folder / "run"


@pytest.fixture
def naming_predictor(naming_run: Path) -> Predictor:
    return Predictor.from_pretrained(naming_run, engine=FakeEngine())


@pytest.fixture
def subject(samples: dict[str, list[Sample]]) -> Subject:
    """In a photo of 48 x 32 pixels."""
    return samples["test"][0].subject
