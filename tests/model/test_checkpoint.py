"""Trained models on disk are loaded unchanged, or not at all."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mien.batches.batch import SplitData
from mien.errors import RunError
from mien.model.checkpoint import MODEL_FILE, RESUME_FILE, load_trained, read_tensors, write_tensors
from mien.recipe import Recipe
from mien.train.loop import train

MakeSplit = Callable[..., SplitData]
MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def run(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> Path:
    """The run directory of a finished training."""
    train(recipe(train={"epochs": 1}), make("train", 20), make("val", 10, seed=1), tmp_path / "run")
    return tmp_path / "run"


def test_a_loaded_model_is_frozen_and_knows_its_inputs(
    run: Path, make: MakeSplit, recipe: MakeRecipe
) -> None:
    data = make("train", 20)
    trained = load_trained(run)
    assert trained.recipe == recipe(train={"epochs": 1})
    assert trained.label_set == data.label_set
    assert (trained.image_dim, trained.vocab_size) == (data.image_dim, data.vocab_size)
    assert data.texts is not None
    assert (trained.vision_signature, trained.tokenizer_signature) == ("encoder", data.texts.signature)
    assert trained.result.best_epoch == 1
    assert not trained.classifier.training
    assert not any(parameter.requires_grad for parameter in trained.classifier.parameters())
    batch = data.batch(torch.arange(4).numpy())
    first, second = (
        load_trained(run).classifier(batch.image, batch.text_ids, batch.text_mask).logits for _ in range(2)
    )
    assert torch.equal(first, second)


def test_loading_does_not_change_the_random_state(run: Path) -> None:
    before = torch.get_rng_state()
    load_trained(run)
    assert torch.equal(torch.get_rng_state(), before)


def test_inputs_of_another_encoder_or_label_set_are_refused_if_used(run: Path, make: MakeSplit) -> None:
    trained = load_trained(run)
    trained.check_inputs(make("test", 10, seed=5).spec, "test")
    for other, what in (
        (make("test", 10, signature="another"), "the image features another, .* with encoder"),
        (make("test", 10, image=False), "no image features"),
        (make("test", 10, text=False), "no tokenizer"),
        (make("test", 10, exclusive=True), "the label set 'one_of', .* 'toy'"),
    ):
        with pytest.raises(RunError, match=what):
            trained.check_inputs(other.spec, "test")


def test_a_model_without_text_needs_no_tokenizer(make: MakeSplit, recipe: MakeRecipe, tmp_path: Path) -> None:
    data, val = make("train", 20), make("val", 10, seed=1)
    train(recipe({"fusion": "image_only"}, {"epochs": 1}), data, val, tmp_path / "run")
    trained = load_trained(tmp_path / "run")
    assert (trained.vocab_size, trained.tokenizer_signature) == (None, None)
    trained.check_inputs(make("test", 10, text=False).spec, "test")


def test_a_missing_model_and_an_unfinished_training_are_distinguished(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no trained model"):
        load_trained(tmp_path)
    (tmp_path / RESUME_FILE).touch()
    with pytest.raises(RunError, match="unfinished") as caught:
        load_trained(tmp_path)
    assert "again to resume it" in caught.value.hint


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def flip_recipe(data: bytes) -> bytes:
    return data.replace(b'\\"toy\\"', b'\\"tox\\"', 1)


def empty(data: bytes) -> bytes:
    return b""


def other_header(data: bytes) -> bytes:
    header = b'{"__metadata__":{"format":"pt"}}'
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize("spoil", [cut, flip_last, flip_recipe, empty, other_header])
def test_a_damaged_file_is_an_error(run: Path, spoil: Callable[[bytes], bytes]) -> None:
    file = run / MODEL_FILE
    before = file.read_bytes()
    file.write_bytes(spoil(before))
    assert file.read_bytes() != before
    with pytest.raises(RunError, match="damaged") as caught:
        load_trained(run)
    assert caught.value.hint


def test_a_newer_file_and_an_inconsistent_one_are_errors(run: Path) -> None:
    tensors, about = read_tensors(run / MODEL_FILE)
    write_tensors(run / MODEL_FILE, tensors, about | {"schema": 3})
    with pytest.raises(RunError, match="schema 3, not 2"):
        load_trained(run)
    write_tensors(run / MODEL_FILE, tensors, about | {"vocab_size": 3})
    with pytest.raises(RunError, match="does not hold what its header says"):
        load_trained(run)
    del about["recipe"]
    write_tensors(run / MODEL_FILE, tensors, about)
    with pytest.raises(RunError, match="does not hold what its header says"):
        load_trained(run)
