"""The learning rate schedule, parameter groups, seeds and clipping."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from mien.errors import ConfigError
from mien.recipe import TrainOptions
from mien.train.optimizer import build_optimizer, clip_gradients, learning_rate, seed_step


def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    options = TrainOptions(lr=1.0, warmup=0.2)
    rates = [learning_rate(step, 100, options) for step in range(100)]
    rises = [later - earlier for earlier, later in pairwise(rates[:20])]
    assert rises == pytest.approx([rises[0]] * 19)
    assert max(rates) == rates[20] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert all(later < earlier for earlier, later in pairwise(rates[20:]))
    assert 0 < rates[-1] < 1e-3


@pytest.mark.parametrize("warmup", [0.0, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7])
def test_the_learning_rate_is_positive_and_bounded_for_extreme_warmups(warmup: float, total: int) -> None:
    options = TrainOptions(lr=0.5, warmup=warmup)
    assert all(0 < learning_rate(step, total, options) <= 0.5 for step in range(total))


def test_norms_and_biases_do_not_decay() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    optimizer = build_optimizer(model, TrainOptions(lr=0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
        nn.init.ones_(parameter)
    optimizer.step()
    # Without a gradient only weight decay changes a weight, by lr x weight_decay of its value.
    assert [sorted(set(parameter.flatten().tolist())) for parameter in model.parameters()] == [
        [pytest.approx(0.95)], [1.0], [1.0], [1.0]
    ]  # fmt: skip


def test_the_random_numbers_of_a_step_depend_on_seed_and_step() -> None:
    def draw(seed: int, step: int) -> float:
        seed_step(seed, step)
        return torch.rand(()).item()

    state = torch.get_rng_state()
    assert draw(1, 2) == draw(1, 2)
    assert len({draw(seed, step) for seed in range(3) for step in range(3)}) == 9
    torch.set_rng_state(state)


def test_gradients_are_clipped_to_the_limit() -> None:
    model = nn.Linear(3, 1, bias=False)
    model.weight.grad = torch.full((1, 3), 4.0)
    clip_gradients(model, 0.5, step=0)
    assert model.weight.grad.norm().item() == pytest.approx(0.5, abs=1e-5)
    clip_gradients(model, 2.0, step=0)
    assert model.weight.grad.norm().item() == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_an_error_with_a_hint(number: float) -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.grad = torch.tensor([[number]])
    with pytest.raises(ConfigError, match="diverged: the gradient of step 8") as caught:
        clip_gradients(model, 1.0, step=7)
    assert "train.lr" in caught.value.hint
