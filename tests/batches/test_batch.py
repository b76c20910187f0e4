"""Splits and batches: every sample once, each with its own image, description and targets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mien.batches.batch import SplitData, build_split, shuffled_batches
from mien.errors import DataError
from mien.labels import CAERS, EMOTIC
from mien.types import Sample, Subject, Target

MakeSplit = Callable[..., SplitData]


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=300),
    st.integers(1, 20),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_an_epoch_has_every_sample_once_in_a_seeded_order(
    lengths: list[int], size: int, seed: int, epoch: int
) -> None:
    array = np.array(lengths)
    batches = shuffled_batches(array, size, seed=seed, epoch=epoch)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    again = shuffled_batches(array, size, seed=seed, epoch=epoch)
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))


def test_seed_and_epoch_change_the_order() -> None:
    lengths = np.zeros(64, dtype=np.int64)
    orders = {
        tuple(np.concatenate(shuffled_batches(lengths, 8, seed=seed, epoch=epoch)))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_batches_hold_texts_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1024)
    padded = sum(len(rows) * lengths[rows].max() for rows in shuffled_batches(lengths, 16, seed=0, epoch=0))
    assert padded < 1.15 * lengths.sum()


def test_a_batch_holds_the_given_rows_with_minimal_padding(make: MakeSplit) -> None:
    data = make("train", 30)
    assert data.images is not None
    assert data.texts is not None
    rows = np.array([7, 3, 21])
    batch = data.batch(rows)
    assert batch.image is not None
    assert batch.text_ids is not None
    assert batch.text_mask is not None
    assert torch.equal(batch.image[1], torch.from_numpy(data.images.reader.read(np.array([3]))[0]).float())
    assert batch.text_ids.shape[1] == data.lengths[rows].max()
    assert batch.text_mask.sum(dim=1).tolist() == data.lengths[rows].tolist()
    assert torch.equal(batch.targets, data.targets[torch.tensor([7, 3, 21])])
    assert batch.dimensions[:, 0].isnan().tolist() == [False, True, True]


def test_unused_inputs_are_not_read(make: MakeSplit) -> None:
    batch = make("train", 10).batch(np.arange(3), image=False, text=False)
    assert (batch.image, batch.text_ids, batch.text_mask) == (None, None, None)
    bare = make("train", 10, image=False, text=False)
    assert (bare.image_dim, bare.vocab_size, bare.lengths.tolist()) == (None, None, [0] * 10)
    assert bare.batch(np.arange(2)).image is None


def test_people_in_one_image_share_a_group(make: MakeSplit) -> None:
    assert make("train", 5).groups == ("0.png", "0.png", "1.png", "1.png", "2.png")


def test_the_fingerprint_changes_with_everything_that_training_depends_on(make: MakeSplit) -> None:
    data = make("train", 10)
    assert data.fingerprint() == make("train", 10).fingerprint()
    others = [
        make("val", 10),
        make("train", 11),
        make("train", 10, seed=1),
        make("train", 10, signature="another"),
        make("train", 10, image=False),
        make("train", 10, text=False),
    ]
    assert len({data.fingerprint(), *(other.fingerprint() for other in others)}) == 7


def sample(name: str, target: Target | None) -> Sample:
    return Sample(subject=Subject.still(name, Path("a.png")), target=target, split="train")


def test_targets_are_in_the_order_of_the_label_set() -> None:
    target = Target(labels={"Anger": 0.5, "Yearning": 1.0})
    data = build_split("train", [sample("a", target)], EMOTIC, images=None, texts=None)
    assert data.targets[0].nonzero().flatten().tolist() == [1, 25]
    assert data.targets[0, 1].item() == 0.5


JOY, SAD = Target(labels={"Happy": 1.0}), Target(labels={"Sad": 1.0, "Anger": 1.0})


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "empty"),
        (
            [sample("a", JOY), sample("b", None), sample("c", None)],
            "2 of 3 samples .* no labels, such as 'b'",
        ),
        ([sample("a", JOY), sample("a", JOY)], "two subjects 'a'"),
        ([sample("a", JOY), sample("b", SAD)], "'b' has labels that sum to 2"),
    ],
)
def test_samples_that_cannot_be_learned_from_are_an_error(samples: list[Sample], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        build_split("train", samples, CAERS, images=None, texts=None)
    assert caught.value.hint
