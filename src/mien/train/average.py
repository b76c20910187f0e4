"""A running mean of the weights, which often judges better than the weights themselves.

Goes in: a model after each step. Comes out: the mean, also in the model's place for a while.
Knows nothing about: optimisers, scores, files.

Exponential: mean = decay x mean + (1 - decay) x weights (Polyak and Juditsky 1992; Tarvainen and Valpola
2017). The decay starts low and rises to its value, as (1 + step) / (10 + step), or the first, random weights
would stay in the mean for as many steps as a short training has.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """The mean of the weights that learn; the others are as they are."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self._mean = {name: weight.detach().clone() for name, weight in self._weights()}

    def _weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, weight) for name, weight in self._model.named_parameters() if weight.requires_grad)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after a step, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, weight in self._weights():
            self._mean[name].lerp_(weight, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the mean for weights, until the end of the block."""
        own = {name: weight.detach().clone() for name, weight in self._weights()}
        self._put(self._mean)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self._weights():
            weight.copy_(values[name])

    def state(self) -> dict[str, Tensor]:
        """The mean by the names of the weights."""
        return dict(self._mean)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a mean that `state` gave."""
        for name, mean in self._mean.items():
            mean.copy_(state[name])
