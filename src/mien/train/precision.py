"""The forward and backward pass: mixed precision, compilation and activation checkpointing.

Weights, gradients and optimizer state are float32 throughout.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mien.recipe import RunOptions
from mien.train.divergence import divergence_error
from mien.weights.dtypes import resolve_dtype

__all__ = ["MixedPrecision", "prepare_forward"]

log = logging.getLogger(__name__)

_MIN_SCALE: Final = 2.0**-10


class MixedPrecision:
    """Autocast and loss scaling for `train.precision` on one device.

    float16 underflows for small gradients. The loss is therefore scaled up, and a step whose gradients
    overflow is skipped and halves the scale (Micikevicius et al. 2018). bfloat16 has the range of float32
    and needs no scale.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._type = getattr(torch, resolve_dtype(name, device.type))
        self._device = device.type
        self._scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")

    def autocast(self) -> AbstractContextManager[Any]:
        """The context for a forward pass."""
        if self._type is torch.float32:
            return nullcontext()
        return torch.autocast(self._device, dtype=self._type)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a loss, scaled if the precision needs it."""
        torch.autograd.backward(self._scaler.scale(loss))

    def step(self, optimizer: torch.optim.Optimizer, clip: Callable[[], None], *, step: int) -> None:
        """Clip the gradients and take the optimizer's step, or skip it if float16 gradients overflowed.

        Raises:
            DivergedError: The gradients overflow even at the lowest scale.
        """
        if not self._scaler.is_enabled():
            clip()
            optimizer.step()
            return
        self._scaler.unscale_(optimizer)
        gradients = (weight.grad for group in optimizer.param_groups for weight in group["params"])
        if all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None):
            clip()
        self._scaler.step(optimizer)
        self._scaler.update()
        if self._scaler.get_scale() < _MIN_SCALE:
            raise divergence_error(f"float16 gradients still overflow at step {step + 1}")

    def state_dict(self) -> dict[str, Any]:
        """The state of the loss scale; empty unless the precision is float16."""
        return dict(self._scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        if state:
            self._scaler.load_state_dict(state)


def prepare_forward(model: nn.Module, run: RunOptions) -> Callable[..., Any]:
    """The callable for training's forward passes, compiled or with activation checkpointing as `[run]` says.

    Neither changes results, and the model keeps its parameter names.
    """
    if run.checkpoint_activations:
        for layer in _layers(model):
            _checkpoint_activations(layer)
    if not run.compile:
        return model
    if run.device == "cpu":
        log.warning("run.compile gains nothing on a CPU and takes a minute or more to start; use it on GPUs")
    compiled: Callable[..., Any] = torch.compile(model)
    return compiled


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost module lists, which is where transformers keep their layers."""
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _layers(child)


def _checkpoint_activations(layer: nn.Module) -> None:
    """Make the layer store only its input and recompute its activations in the backward pass.

    Recomputing replays the random numbers of dropout, so results are bit-identical.
    """
    forward = layer.forward

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    layer.forward = checkpointed
