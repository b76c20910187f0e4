"""From images and descriptions to a trained run, with a tiny real encoder."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from tests.factories.training import train_on_samples

from mien.batches.batch import SplitData
from mien.batches.builder import InputBuilder
from mien.errors import DataError, WeightsError
from mien.features.encode import EncodeProgress
from mien.labels import LabelSet
from mien.model.checkpoint import load_trained
from mien.recipe import Recipe
from mien.types import Box, Description, Sample, Subject, Target

LABELS = LabelSet(name="toy", labels=("light", "dark"), exclusive=False)
SIZE = 16


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny CLIP."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": SIZE, "patch_size": 4,
    }  # fmt: skip
    transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes)).save_pretrained(folder)
    processor = {"size": {"shortest_edge": SIZE}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture
def samples(tmp_path: Path) -> dict[str, list[Sample]]:
    """Light and dark images with two people each."""
    made: dict[str, list[Sample]] = {}
    for split, count in (("train", 24), ("val", 12)):
        made[split] = []
        for index in range(count // 2):
            light = index % 2 == 0
            noise = random.Random(f"{split} {index}").randbytes(SIZE * SIZE * 3)
            image = Image.frombytes("RGB", (SIZE, SIZE), noise)
            path = tmp_path / f"{split}-{index}.png"
            Image.blend(image, Image.new("RGB", image.size, "white" if light else "black"), 0.7).save(path)
            for person in range(2):
                subject = Subject.still(
                    f"{split} {index}.{person}",
                    path,
                    Box(left=1 + 7 * person, top=2, right=8 + 7 * person, bottom=14),
                )
                target = Target(labels={"light": float(light), "dark": float(not light)})
                made[split].append(Sample(subject=subject, target=target, split=split))
    return made


@pytest.fixture
def recipe(encoder: Path, tmp_path: Path) -> Callable[..., Recipe]:
    words = tmp_path / "words.txt"
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "person"]))

    def make(**sections: dict[str, object]) -> Recipe:
        table = {
            "name": "toy",
            "features": {"vision": str(encoder), "tokenizer": str(words), **sections.get("features", {})},
            "model": {"width": 16, "heads": 2, "num_queries": 2, **sections.get("model", {})},
            "train": {"epochs": 4, "batch_size": 4, "lr": 0.003},
        }
        return Recipe.parse(table, where="test")

    return make


def descriptions(samples: dict[str, list[Sample]]) -> dict[str, Description | str]:
    """The same for all subjects, so that the model can only learn from the image."""
    return {sample.subject.id: "a person" for split in samples.values() for sample in split}


def test_images_and_descriptions_become_a_trained_model(
    samples: dict[str, list[Sample]], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    events: list[EncodeProgress] = []
    result = train_on_samples(
        recipe(), samples, LABELS,
        descriptions=descriptions(samples), cache=tmp_path / "cache", out=tmp_path / "run",
        on_encode=events.append,
    )  # fmt: skip
    assert result.best_score == pytest.approx(1.0)
    assert events[-1].total == 12  # one image per person, because each has a box
    trained = load_trained(tmp_path / "run")
    assert trained.vision_signature is not None
    assert trained.label_set == LABELS


def test_trainings_share_the_feature_cache(
    samples: dict[str, list[Sample]], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    events: list[EncodeProgress] = []
    for fusion in ("image_only", "qformer"):
        train_on_samples(
            recipe(model={"fusion": fusion}), samples, LABELS,
            descriptions=descriptions(samples), cache=tmp_path / "cache", out=tmp_path / fusion,
            on_encode=events.append,
        )  # fmt: skip
    assert sum(event.done == event.total for event in events) == 2  # train and val of the first training
    builder = InputBuilder.from_recipe(recipe(), tmp_path / "cache")
    data = builder.build_split("val", samples["val"], LABELS, descriptions=descriptions(samples))
    load_trained(tmp_path / "qformer").check_inputs(data.spec, "val")


def test_one_split_serves_every_fusion(
    samples: dict[str, list[Sample]], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    data = InputBuilder.from_recipe(recipe(), tmp_path / "cache").build_split(
        "train", samples["train"], LABELS, descriptions=descriptions(samples)
    )
    assert isinstance(data, SplitData)
    assert (data.image_dim, data.vocab_size, len(data)) == (16, 7, 24)


def test_text_only_needs_no_encoder_and_image_only_no_description(
    samples: dict[str, list[Sample]], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    no_encoder = recipe(model={"fusion": "text_only"}, features={"vision": "../no/such/encoder"})
    train_on_samples(
        no_encoder, samples, LABELS,
        descriptions=descriptions(samples), cache=tmp_path / "cache", out=tmp_path / "text",
    )  # fmt: skip
    no_words = recipe(model={"fusion": "image_only"}, features={"tokenizer": "../no/such/words"})
    train_on_samples(
        no_words, samples, LABELS, descriptions={}, cache=tmp_path / "cache", out=tmp_path / "image"
    )
    assert not (tmp_path / "cache" / "text").exists()
    with pytest.raises(WeightsError, match="no model at"):
        train_on_samples(
            recipe(features={"vision": "../no/such/encoder"}), samples, LABELS,
            descriptions=descriptions(samples), cache=tmp_path / "cache", out=tmp_path / "both",
        )  # fmt: skip


def test_missing_descriptions_are_an_error_with_their_number_and_the_command(
    samples: dict[str, list[Sample]], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    some = descriptions(samples)
    del some["train 0.0"], some["train 3.1"], some["val 1.0"]
    with pytest.raises(
        DataError, match=r"2 of 24 subjects of split 'train' .* such as 'train 0\.0'"
    ) as caught:
        train_on_samples(
            recipe(), samples, LABELS, descriptions=some, cache=tmp_path / "cache", out=tmp_path / "run"
        )
    assert "mien describe" in caught.value.hint
    assert not (tmp_path / "cache").exists()  # raised before anything was encoded


def test_a_description_and_its_text_are_the_same_input(
    samples: dict[str, list[Sample]], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    builder = InputBuilder.from_recipe(recipe(), tmp_path / "cache")
    texts = descriptions(samples)
    whole: dict[str, Description | str] = {
        name: Description(
            key="k", subject_id=name, text=str(text), prompt_id="paper", engine="fake", finish="stop"
        )
        for name, text in texts.items()
    }
    prints = {
        builder.build_split("val", samples["val"], LABELS, image=False, descriptions=given).fingerprint()
        for given in (texts, whole)
    }
    assert len(prints) == 1
