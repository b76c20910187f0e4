"""What makes a model faster or smaller while it learns, and changes no answer.

Goes in: a model, `[run]`. Comes out: something to call in its place; names and weights stay the model's.
Knows nothing about: data, losses, optimisers.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mien.recipe import RunOptions

__all__ = ["speed_up"]

log = logging.getLogger(__name__)


def speed_up(model: nn.Module, run: RunOptions) -> Callable[..., Any]:
    """The model as `[run]` wants it called while it learns."""
    if run.checkpoint_activations:
        for layer in _layers(model):
            _recompute(layer)
    if not run.compile:
        return model
    if run.device == "cpu":
        log.warning("run.compile gains nothing on a CPU and takes a minute or more to begin; it pays on GPUs")
    compiled: Callable[..., Any] = torch.compile(model)
    return compiled


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost lists of modules: transformers keep their layers so."""
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _layers(child)


def _recompute(layer: nn.Module) -> None:
    """The layer keeps only what goes in; what it computes on the way is computed again for the gradient.

    The random numbers of dropout are those of the first time, so the bits are the same.
    """
    forward = layer.forward

    def twice(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    layer.forward = twice
