"""The rows of each step: seeded, optionally balanced, optionally without descriptions."""

import numpy as np
import pytest
import torch
from tests.factories.training import MakeSplit

from mien.recipe import TrainOptions
from mien.train.sampling import dropped_descriptions, epoch_batches, sampling_probabilities


def test_the_probability_of_a_sample_is_inverse_to_the_count_of_its_rarest_label() -> None:
    targets = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0.4], [0, 0, 0], [0.5, 0, 0]])
    chances = sampling_probabilities(targets)
    assert chances.sum() == pytest.approx(1)
    # The first label holds five times, the second once, the third never: 0.4 does not count.
    assert (chances / chances[0]).tolist() == pytest.approx([1, 1, 5, 1, 1, 1])


def test_without_labels_all_samples_are_equally_likely() -> None:
    assert sampling_probabilities(torch.zeros(4, 3)).tolist() == [0.25] * 4


def test_balancing_makes_exclusive_classes_equally_frequent() -> None:
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    targets = torch.eye(3)[torch.from_numpy(labels)]
    options = TrainOptions(batch_size=20, accumulate=2, sampler="balanced")
    lengths = np.zeros(1000, dtype=np.int64)
    drawn = [np.concatenate(epoch_batches(lengths, targets, options, epoch=epoch)) for epoch in range(2)]
    assert all(len(rows) == 1000 for rows in drawn)
    shares = np.bincount(labels[np.concatenate(drawn)]) / 2000
    assert shares == pytest.approx([1 / 3] * 3, abs=0.05)
    assert not np.array_equal(drawn[0], drawn[1])
    again = np.concatenate(epoch_batches(lengths, targets, options, epoch=1))
    assert np.array_equal(drawn[1], again)


def test_a_step_has_the_rows_of_all_its_micro_batches() -> None:
    options = TrainOptions(batch_size=4, accumulate=3)
    order = epoch_batches(np.zeros(30, dtype=np.int64), torch.zeros(30, 2), options, epoch=0)
    assert sorted(len(rows) for rows in order) == [6, 12, 12]
    larger = TrainOptions(batch_size=12)
    same = epoch_batches(np.zeros(30, dtype=np.int64), torch.zeros(30, 2), larger, epoch=0)
    assert all(np.array_equal(one, other) for one, other in zip(order, same, strict=True))


def test_dropped_descriptions_depend_on_seed_and_step() -> None:
    def drawn(seed: int, step: int) -> list[bool]:
        rows = dropped_descriptions(64, 0.3, seed=seed, step=step)
        assert rows is not None
        return list(rows)

    assert drawn(0, 1) == drawn(0, 1)
    assert len({tuple(drawn(seed, step)) for seed in range(3) for step in range(3)}) == 9
    share = np.mean([drawn(0, step) for step in range(200)])
    assert share == pytest.approx(0.3, abs=0.02)
    assert dropped_descriptions(5, 0.0, seed=0, step=0) is None
    all_rows = dropped_descriptions(5, 1.0, seed=0, step=0)
    assert all_rows is not None
    assert all_rows.all()


def test_rows_without_description_have_no_real_token_and_change_no_other_row(make: MakeSplit) -> None:
    data = make("train", 6)
    rows = np.arange(6)
    whole = data.batch(rows)
    some = data.batch(rows, drop_text=np.array([True, False, False, True, False, False]))
    assert whole.text_mask is not None
    assert some.text_mask is not None
    assert some.text_ids is not None
    assert whole.text_ids is not None
    assert some.text_mask.any(dim=1).tolist() == [False, True, True, False, True, True]
    width = some.text_ids.shape[1]
    assert torch.equal(some.text_mask[1], whole.text_mask[1, :width])
    none = data.batch(rows, drop_text=np.ones(6, dtype=np.bool_))
    assert none.text_ids is not None
    assert none.text_mask is not None
    assert none.text_ids.shape == (6, 1)
    assert not none.text_mask.any()
