"""In which precision products are computed, and what that asks of the backward pass.

Goes in: `train.precision`, a device. Comes out: a context for the forward pass, gradients, a step.
Knows nothing about: models, losses, data. Weights, gradients and the optimiser are float32 throughout.

float16 cannot hold small gradients, so the loss is scaled up and a step whose gradients overflow is left
out, with half the scale from then on (Micikevicius et al. 2018). bfloat16 has float32's range: no scale.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor

from mien.train.divergence import diverged

__all__ = ["Precision"]

_LOWEST_SCALE: Final = 2.0**-10


class Precision:
    """One precision on one kind of device."""

    def __init__(self, name: str, device: torch.device) -> None:
        self._type = getattr(torch, name)
        self._device = device.type
        self._scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")

    def forward(self) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        if self._type is torch.float32:
            return nullcontext()
        return torch.autocast(self._device, dtype=self._type)

    def backward(self, loss: Tensor) -> None:
        """Adds to the gradients, scaled where the precision needs it."""
        torch.autograd.backward(self._scaler.scale(loss))

    def step(self, optimizer: torch.optim.Optimizer, clip: Callable[[], None], *, step: int) -> None:
        """Clips and takes the step; without gradients that can be held, leaves the step out."""
        if not self._scaler.is_enabled():
            clip()
            optimizer.step()
            return
        self._scaler.unscale_(optimizer)
        gradients = (weight.grad for group in optimizer.param_groups for weight in group["params"])
        if all(bool(one.isfinite().all()) for one in gradients if one is not None):
            clip()
        self._scaler.step(optimizer)
        self._scaler.update()
        if self._scaler.get_scale() < _LOWEST_SCALE:
            raise diverged(f"at step {step + 1} float16 still cannot hold the gradients")

    def state(self) -> dict[str, Any]:
        """What must be kept to continue."""
        return dict(self._scaler.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave."""
        if state:
            self._scaler.load_state_dict(state)
