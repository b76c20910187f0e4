"""How weights move: the optimiser, the learning rate of each step, the random numbers of each step.

Goes in: a model, `[train]`, the number of a step. Comes out: an optimiser, a rate, a seed.
Knows nothing about: data, losses, files.
"""

import math

import numpy as np
import torch
from torch import nn

from mien.errors import ConfigError
from mien.recipe import TrainOptions

__all__ = ["clip_gradients", "learning_rate", "make_optimizer", "seed_step"]


def make_optimizer(model: nn.Module, options: TrainOptions) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); vectors, that is norms and biases, do not decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    # Fused: one pass over the weights instead of a dozen.
    return torch.optim.AdamW(groups, lr=options.lr, fused=True)


def learning_rate(step: int, total: int, options: TrainOptions) -> float:
    """The rate of a step (counted from 0): up in a line, then down along half a cosine, to nearly 0."""
    warmup = options.warmup * total
    if step < warmup:
        return options.lr * (step + 1) / (math.floor(warmup) + 1)
    return options.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


def seed_step(seed: int, step: int) -> None:
    """Sets torch's random numbers for one step.

    They follow from the seed and the step alone, so a training that continues drops out what an
    uninterrupted one would have, and no generator's state need be kept.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))


def clip_gradients(model: nn.Module, limit: float, *, step: int) -> None:
    """Scales the gradients down to the limit; ConfigError if they, and so the loss, are not finite."""
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), limit))
    if not math.isfinite(norm):
        raise ConfigError(
            f"training diverged: the gradient of step {step + 1} is {norm}",
            hint="lower train.lr, or train.clip; what was kept before this step is untouched",
        )
