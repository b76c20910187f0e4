"""How the weights move: optimizer, learning rate schedule, gradient clipping, seeds, and weight averaging."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import DivergedError
from mien.recipe import TrainOptions
from mien.train.parameter_groups import learning_rate_factors, tunable_parameters

__all__ = [
    "WeightAverage",
    "build_optimizer",
    "clip_gradients",
    "learning_rate",
    "seed_step",
    "set_learning_rate",
]


def build_optimizer(model: nn.Module, options: TrainOptions) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) without weight decay for vectors, that is, norms and biases.

    The "factor" of each parameter group scales `train.lr`.
    """
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    factors = learning_rate_factors(tunable_parameters(model), options)
    for is_vector in (False, True):
        for name, weight in named.items():
            if (weight.ndim < 2) == is_vector:
                groups.setdefault((is_vector, factors[name]), []).append(weight)
    tables = [
        {"params": weights, "weight_decay": 0.0 if is_vector else options.weight_decay, "factor": factor}
        for (is_vector, factor), weights in groups.items()
    ]
    # Fused: one pass over the weights instead of a dozen.
    return torch.optim.AdamW(tables, lr=options.lr, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group to `rate` times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def learning_rate(step: int, total: int, options: TrainOptions) -> float:
    """The learning rate of a step (counted from 0): linear warmup, then half a cosine down to nearly 0."""
    warmup = options.warmup * total
    if step < warmup:
        return options.lr * (step + 1) / (math.floor(warmup) + 1)
    return options.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch's random numbers for one step of one process.

    They depend on the seed, the step and the rank alone. A resumed training therefore draws the same dropout
    as an uninterrupted one, and no generator state needs saving.
    """
    source = [seed, step, rank] if rank else [seed, step]
    torch.manual_seed(int(np.random.SeedSequence(source).generate_state(1)[0]))


def clip_gradients(model: nn.Module, limit: float, *, step: int) -> None:
    """Scale the gradients down to the norm `limit`; raises DivergedError if they are not finite."""
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), limit))
    if not math.isfinite(norm):
        raise DivergedError(
            f"training diverged: the gradient of step {step + 1} is {norm}",
            hint="lower train.lr or train.clip; the state saved before this step is intact",
        )


class WeightAverage:
    """The exponential moving average of the trainable weights, which often scores better than the weights.

    mean = decay x mean + (1 - decay) x weights (Polyak and Juditsky 1992; Tarvainen and Valpola 2017). The
    decay rises to its value as (1 + step) / (10 + step); otherwise the random initial weights would dominate
    the mean of a short training.

    `torch.optim.swa_utils.AveragedModel` would also copy and update frozen weights, such as those of a large
    encoder, and its first update replaces the mean instead of including the initial weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self._mean = {name: weight.detach().clone() for name, weight in self._weights()}

    def _weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, weight) for name, weight in self._model.named_parameters() if weight.requires_grad)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the weights after a step (counted from 0)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, weight in self._weights():
            self._mean[name].lerp_(weight, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the model has the averaged weights."""
        current = {name: weight.detach().clone() for name, weight in self._weights()}
        self._copy_to_model(self._mean)
        try:
            yield
        finally:
            self._copy_to_model(current)

    @torch.no_grad()
    def _copy_to_model(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self._weights():
            weight.copy_(values[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The average of each weight, by the weight's name."""
        return dict(self._mean)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from an average that `state_dict` returned."""
        for name, mean in self._mean.items():
            mean.copy_(state[name])
