"""How weights move: the optimiser, the learning rate of each step, the random numbers of each step.

Goes in: a model, `[train]`, the number of a step. Comes out: an optimiser, a rate, a seed.
Knows nothing about: data, losses, files.
"""

import math

import numpy as np
import torch
from torch import nn

from mien.errors import DivergedError
from mien.recipe import TrainOptions
from mien.train.parameter_groups import lr_factors, rated

__all__ = ["clip_gradients", "learning_rate", "make_optimizer", "seed_step", "set_rate"]


def make_optimizer(model: nn.Module, options: TrainOptions) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); vectors, that is norms and biases, do not decay.

    Each group's "factor" says how its rate follows `[train] lr`.
    """
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    factors = lr_factors(rated(model), options)
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


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step, times each group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def learning_rate(step: int, total: int, options: TrainOptions) -> float:
    """The rate of a step (counted from 0): up in a line, then down along half a cosine, to nearly 0."""
    warmup = options.warmup * total
    if step < warmup:
        return options.lr * (step + 1) / (math.floor(warmup) + 1)
    return options.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Sets torch's random numbers for one step, on one of the processes that share it.

    They follow from the seed and the step alone, so a training that continues drops out what an
    uninterrupted one would have, and no generator's state need be kept.
    """
    source = [seed, step, rank] if rank else [seed, step]
    torch.manual_seed(int(np.random.SeedSequence(source).generate_state(1)[0]))


def clip_gradients(model: nn.Module, limit: float, *, step: int) -> None:
    """Scales the gradients down to the limit; DivergedError if they are not finite."""
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), limit))
    if not math.isfinite(norm):
        raise DivergedError(
            f"training diverged: the gradient of step {step + 1} is {norm}",
            hint="lower train.lr, or train.clip; what was kept before this step is untouched",
        )
